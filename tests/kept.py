"""Sounds and pictures of the world are made once in a run of the tests: what another test, notebook or process asks for
again is read from the folder that `SOUND_VIDEO_KEPT` names. Imported before anything that imports the world."""
import hashlib, os
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
import numpy as np, torch
from sound_video.world import soundscape

FOLDER = os.environ.get('SOUND_VIDEO_KEPT')

def said(x):
    "What tells arguments apart, as bytes."
    if torch.is_tensor(x): x = x.numpy()
    if isinstance(x, np.ndarray): return f'{x.dtype}{x.shape}'.encode() + x.tobytes()
    if is_dataclass(x): return b''.join(said(getattr(x, f.name)) for f in fields(x))
    return repr(x).encode()

def kept(make): # a function of arguments -> array
    "The same function, with what it has made in the folder."
    @wraps(make)
    def read(*args, **kwargs):
        try: name = hashlib.sha1(b'|'.join(map(said, (make.__name__, *args, *sorted(kwargs.items()))))).hexdigest()
        except Exception: return make(*args, **kwargs) # which says what is wrong with them
        path = Path(FOLDER)/f'{name}.npy'
        if not path.exists():
            x = make(*args, **kwargs)
            tmp = path.with_suffix(f'.{os.getpid()}')
            with open(tmp, 'wb') as f: np.save(f, x)
            tmp.replace(path)
            return x
        return np.load(path)
    return read

def frames_kept(make): # a function that yields arrays
    whole = kept(wraps(make)(lambda *args, **kwargs: np.concatenate([*make(*args, **kwargs)])))
    @wraps(make)
    def read(scene, seed, score, times, *args, **kwargs):
        args = scene, seed, score, times, *args
        if len(times) < 500 and 'batch' not in kwargs: yield whole(*args, **kwargs)
        else: yield from make(*args, **kwargs) # some at a time, or by whom the time is taken
    return read

if FOLDER:
    soundscape.synthesise = kept(soundscape.synthesise)
    from sound_video.world import clips # which takes what is kept
    clips.render_frames = frames_kept(clips.render_frames)
