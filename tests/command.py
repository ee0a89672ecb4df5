"`sound-video …` in a process of its own: forked from one that has imported everything, so that this is paid for once."
import multiprocessing.process, os, runpy, subprocess, sys, tempfile
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from unittest.mock import patch

PRELOADED = [
    'sound_video.app.edit',
    'sound_video.hearing.naming',
    'sound_video.hearing.clip_training',
    'sound_video.data.curation',
    'sound_video.stylegan.snapshots',
    'soundfile',
    'warm',
]

def _become(words, cwd, env, out, err):
    "What `python -m sound_video` does, with its output in files."
    os.environ.update(env)
    if cwd: os.chdir(cwd)
    for n, path in ((1, out), (2, err)):
        fd = os.open(path, os.O_WRONLY)
        os.dup2(fd, n); os.close(fd)
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', errors='backslashreplace', closefd=False)
    sys.argv = ['sound-video', *words]
    runpy.run_module('sound_video', run_name='__main__')

def _server():
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get('PYTHONPATH')])])
    with patch.dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=path):
        multiprocessing.forkserver.ensure_running()  # threads do not survive a fork
    return context

_starting = Lock()

def _start(process):
    """Start a process that only the thread which waits for it asks for its end: `start` asks all that are known, and of
    two threads that ask at the same time one is told 255."""
    with _starting:
        process.start()
        multiprocessing.process._children.discard(process)

@contextmanager
def begun(*words, cwd=None, **env):
    "`sound-video` while it runs: the process, and what gives a `CompletedProcess` with what it said so far."
    words = list(map(str, words))
    with tempfile.TemporaryDirectory() as d:
        out, err = Path(d) / 'out', Path(d) / 'err'
        out.touch()
        err.touch()
        p = _server().Process(target=_become, args=(words, cwd and str(cwd), env, str(out), str(err)))
        _start(p)
        read = lambda path: path.read_text(errors='replace')
        try: yield p, lambda: subprocess.CompletedProcess(words, p.exitcode, read(out), read(err))
        finally: p.kill() # if it has not ended

def run(*words, cwd=None, timeout=300, **env):
    "Run `sound-video` to its end: a `CompletedProcess` with what it said."
    words = list(map(str, words))
    if 'forkserver' not in multiprocessing.get_all_start_methods(): # Windows
        return subprocess.run(
            [sys.executable, '-m', 'sound_video', *words],
            cwd=cwd,
            capture_output=True,
            text=True,
            env=os.environ | dict(OMP_NUM_THREADS='1') | env,
            timeout=timeout,
        )
    with begun(*words, cwd=cwd, **env) as (p, said):
        p.join(timeout)
        if p.exitcode is None: raise subprocess.TimeoutExpired(words, timeout)
        return said()
