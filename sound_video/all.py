"Everything that a notebook wants at hand: `from sound_video.all import *`."
from .core import *
from .media import *
from .pictures import *
from .score import *
from .soundscape import synthesise
from .world import *
from .recordings import Recording, recordings
from .dataset import *
from .curation import curate
from .audio import *
from .encoder import AudioEncoder, EncoderConfig, embed_stream
from .stylegan import *
from .ada import augment
from .adversarial import *
from .inversion import *
from .stylegan3 import StyleGAN3, StyleGAN3Config, eq_r, eq_t
from .snapshots import read_snapshot
from .trajectory import *
from .recurrent import *
from .editing import *
from .metrics import *
from .video_metrics import *
from .pipeline import * # clip and hearing take seconds to import: `SoundVideo.hearing` does so when it is asked for
from .training import *
from .evaluation import *
