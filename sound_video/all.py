"Everything that a user calls, and the plots of the notebooks: `from sound_video.all import *`."
from sound_video.core.display import as_frames, show_grid, show_mel, show_strip, show_w, show_wave
from sound_video.core.errors import UserError
from sound_video.core.arrays import to_float, to_uint8
from sound_video.core.config import Config
from sound_video.core.devices import default_device, seed_all
from sound_video.media.videos import Video, play, probe, read_frames, write_video
from sound_video.media.timing import frame_times, n_frames
from sound_video.media.images import read_image, write_image
from sound_video.media.sounds import read_sound
from sound_video.world.score import KINDS, SCENES, compose
from sound_video.world.soundscape import synthesise
from sound_video.world.clips import render, stills
from sound_video.hearing.features import Features, features
from sound_video.hearing.sound import Sound
from sound_video.stylegan.snapshots import read_snapshot
from sound_video.app.pack_config import PackConfig
from sound_video.app.packs import load_pack, save_pack
from sound_video.app.edit import SoundVideo
from sound_video.app.world import WorldVideo

__all__ = [
    'Config', 'Features', 'KINDS', 'PackConfig', 'SCENES', 'Sound', 'SoundVideo', 'UserError', 'Video',
    'WorldVideo', 'as_frames', 'compose', 'default_device', 'features', 'frame_times', 'load_pack', 'n_frames',
    'play', 'probe', 'read_frames', 'read_image', 'read_snapshot', 'read_sound', 'render', 'save_pack',
    'seed_all', 'show_grid', 'show_mel', 'show_strip', 'show_w', 'show_wave', 'stills', 'synthesise',
    'to_float', 'to_uint8', 'write_image', 'write_video']
