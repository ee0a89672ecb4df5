"""Adds to a pack the classifier of its audio encoder, trained on recordings, and says what it makes of people whose
recordings it was not trained on. Needs espeak-ng. Run by hand:
`python training/sound_classifier.py PACK RECORDINGS CACHE`."""
import argparse, json
from dataclasses import replace
from pathlib import Path
from safetensors.torch import save_file
from sound_video.app.edit import SoundVideo
from sound_video.app.packs import halved
from sound_video.app.pack_config import read_config
from sound_video.data.recordings import recordings
from sound_video.hearing.alignment import WorldSounds, _made
from sound_video.hearing.classifier import add_classifier
from sound_video.hearing.others import can_speak
from sound_video.world.score import KIND_NAMES, SCENES

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('pack', type=Path)
    p.add_argument('recordings', type=Path)
    p.add_argument('cache', type=Path, help='folder for augmented views')
    p.add_argument('--n', type=int, default=900, help='passages of recordings; half as many of the world, and others')
    p.add_argument('--takes', type=int, default=2, help='augmented views of each')
    a = p.parse_args()
    if not can_speak(): p.error('espeak-ng is not installed')
    encoder = SoundVideo.load(a.pack, 'cpu').encoder
    c = encoder.cfg
    world = WorldSounds('train', a.n // 2, c.seconds + 1, c.mel.rate)
    scenes = [SCENES.index(name.split(':')[0]) for name in KIND_NAMES]
    mels = _made(world, 'world', c, a.takes, 0, a.cache)['mels']
    of = world.labels.new_tensor(scenes)[world.labels]
    encoder, found = add_classifier(encoder, recordings(a.recordings, split='train'), (mels, of), a.n, a.takes, a.cache)
    print(json.dumps(found))
    save_file({k: v.contiguous() for k, v in halved(encoder.state_dict()).items()}, a.pack/'audio.safetensors')
    config = read_config(a.pack)
    replace(config, hearing=config.hearing | dict(encoder=encoder.cfg.to_dict())).save(a.pack/'config.json')

if __name__ == '__main__': main()
