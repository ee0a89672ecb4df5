"The tiny recipe made shorter still, and processes that are forked from one that has imported everything."
import importlib.util, os, sys, traceback
from dataclasses import replace
import torch
from sound_video.hearing.encoder import EncoderConfig
from sound_video.app.recipes import PRESETS, ClipRecipe, HearingRecipe, InversionRecipe, TrajectoryRecipe

BRIEF = replace(
    PRESETS['tiny'],
    images=(64, 64),
    stills=45,
    valid=18,
    image_classifier_epochs=1,
    precision='float32',  # the same numbers on every machine
    clip=ClipRecipe(36, 18, 2, 18),
    hearing=HearingRecipe(EncoderConfig(width=4, hidden=16, seconds=2.), 18, 9, 2, 2, 9),
    inversion=InversionRecipe(18, 2, 2, 18, 2, 16, 9),
    trajectory=TrajectoryRecipe(9, 4, 2, 2, 1.0, 10.0, 4, 8, 4),
)

def get_ready():
    "Import and make once what every process that is forked from this one would need."
    import sound_video.hearing.clip_training, sound_video.hearing.alignment # noqa: F401 (with all that they import)
    from sound_video.data.clips import still_dls
    if importlib.util.find_spec('tensorboard'): import torch.utils.tensorboard # noqa: F401
    for size in (BRIEF.resolutions[-1], 64): still_dls('world', size, n=9, n_valid=9) # textures, and what names a cache

def fork(f, *args, log=os.devnull):
    "Run f in a process of its own, with its words in a file; gives the process's number."
    if pid := os.fork(): return pid
    status = 1
    try:
        torch.set_num_threads(1)
        with open(log, 'a', buffering=1) as sys.stderr:
            try: f(*args); status = 0
            except BaseException: traceback.print_exc()
    finally: os._exit(status)
