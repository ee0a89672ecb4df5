"Many files: the same results here, on several processes and with Ray; workers that are killed; what is told at once."
import os, signal, subprocess, sys, threading, time
from functools import partial
from pathlib import Path
import numpy as np, pytest, soundfile
from sound_video.app import cli
from sound_video.core.bulk import Crashed, check_ray, ray_at, work_on
from sound_video.core.errors import UserError
from sound_video.data.curation import curate
from test_curation import ASK, contents, film

EVALUATE = partial(eval, 'eval') # called in each process, gives `eval`
SELF = '__import__("os").kill(__import__("os").getpid(), 9)'

@pytest.fixture(scope='module')
def ray():
    pytest.importorskip('ray')
    with ray_at('local', 2): yield 'local' # once for all tests: work_on takes what is there

@pytest.fixture(params=['processes', 'ray'])
def way(request): # how work is shared out -> options of `work_on`
    return dict(n=2) if request.param == 'processes' else dict(n=2, ray=request.getfixturevalue('ray'))

def once(marker): return f'{SELF} if not __import__("os").path.exists({marker!r}) and open({marker!r}, "w") else 7'

def test_a_killed_worker_costs_only_time_and_a_killer_is_named(way, tmp_path):
    items = ['1', SELF, once(str(tmp_path/'was here')), '2', '3']
    found = [x for _, x in work_on(items, EVALUATE, **way)]
    assert isinstance(found.pop(1), Crashed) and found == [1, 7, 2, 3]

def test_each_worker_gets_ready_once(way, tmp_path):
    make = partial(eval, f'open({str(tmp_path/"ready")!r}, "a").write("x") and eval')
    items = ['__import__("os").environ["OMP_NUM_THREADS"]'] * 12
    assert {x for _, x in work_on(items, make, **way)} == {'1'}
    assert 1 <= len((tmp_path/'ready').read_text()) <= 4 # Ray may take a new worker

def test_mistakes_are_results_and_bugs_are_raised(way):
    with pytest.raises(ZeroDivisionError): list(work_on(['1', '1/0'], EVALUATE, **way))
    made = list(work_on(['1', f'({check_ray.__module__!r}, )'], EVALUATE, **way))
    assert [x for _, x in made] == [1, ('sound_video.core.bulk',)]

def test_what_is_running_is_given_up_with_the_work(tmp_path):
    endless = f"""exec(\'\'\'
from sound_video.core.errors import atomic
with atomic({str(tmp_path/"never")!r}) as tmp:
    tmp.write_text('half')
    __import__('time').sleep(600)
\'\'\')"""
    found = work_on(['1', endless], EVALUATE, 2)
    assert next(found)[1] == 1
    while not any(tmp_path.iterdir()): time.sleep(.05)
    found.close()
    assert not any(tmp_path.iterdir())

@pytest.fixture(scope='module')
def cut(tmp_path_factory):
    "Films, and their clips as one process makes them."
    d = tmp_path_factory.mktemp('cut')
    for i in range(6): film(d/'films'/('raining', 'thunder')[i % 2]/f'film {i}.mp4', i)
    curate(d/'films', d/'one', **ASK)
    return d/'films', contents(d/'one')

def test_curate_gives_the_same_bytes_on_ray(cut, ray, tmp_path): # in processes: below, with one that is killed
    curate(cut[0], tmp_path/'out', **ASK, workers=2, ray=ray)
    assert contents(tmp_path/'out') == cut[1]

def children(): # process ids
    text = subprocess.run(['ps', '-o', 'pid=,args=', '--ppid', str(os.getpid())], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in text.splitlines() if 'multiprocessing' in line and 'tracker' not in line]

def test_a_worker_of_curate_is_killed(cut, tmp_path):
    out, killed = tmp_path/'out', []
    def kill():
        while not any(out.rglob('*.mp4')): time.sleep(.01)
        for pid in children()[:1]: os.kill(pid, signal.SIGKILL); killed.append(pid)
    thread = threading.Thread(target=kill)
    thread.start()
    curate(cut[0], out, **ASK, workers=2)
    thread.join()
    assert killed and contents(out) == cut[1]

@pytest.fixture(scope='module')
def sounds(tmp_path_factory):
    d, rng = tmp_path_factory.mktemp('many')/'sounds', np.random.default_rng(0)
    d.mkdir()
    for n in ('a.wav', 'b.wav', 'c.wav'): soundfile.write(d/n, .3 * rng.normal(size=16000), 16000)
    (d/'d.wav').write_bytes((d/'a.wav').read_bytes()[:20]) # no sound
    return d

FILM = ['--pack', 'world', '--size', '64x64', '--fps', '3', '--class', 'raining']

def made(words, folder, monkeypatch, capsys): # -> exit status, what is printed and said, files
    folder.mkdir()
    monkeypatch.chdir(folder)
    return cli.main(words), *capsys.readouterr(), contents(folder)

def test_generate_and_name_give_the_same_bytes(sounds, tmp_path, monkeypatch, capsys, ray):
    few = sorted(map(str, sounds.glob('*')))
    for k, words in enumerate((['generate', *few, '-o', 'videos', *FILM], ['name', *few, '--json'])):
        here, there, on_ray = (made([*words, *more], tmp_path/f'{k}{i}', monkeypatch, capsys)
            for i, more in enumerate(([], ['--workers', '2'], ['--ray', 'local', '--workers', '2'])))
        assert here == there == on_ray and here[0] == 2 and 'd.wav' in here[2]
        assert len(here[3]) == (3 if words[0] == 'generate' else 0)

@pytest.mark.parametrize('words, tells', [
    (['generate', 'a.wav', '--workers', '2'], '--workers is for many sounds'),
    (['name', 'a.wav', '--ray', 'local'], '--ray is for many sounds'),
    (['name', 'a.wav', 'b.wav', '--workers', '0'], 'workers must be'),
    (['generate', 'a.wav', 'b.wav', '--ray', '10.0.0.1:6379', '--workers', '2'], '--workers is about this machine'),
    (['generate', 'a.wav', 'b.wav', '--ray', '127.0.0.1:9'], "no Ray cluster at '127.0.0.1:9'"),
    (['data', 'curate', 'films', 'out', '--ray', 'nowhere'], "no Ray cluster at 'nowhere'"),
])
def test_what_cannot_be_is_told_at_once(words, tells, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'films').mkdir()
    monkeypatch.setitem(sys.modules, 'ray', type('Ray', (), dict(is_initialized=staticmethod(lambda: False))))
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert tells in said and len(said.splitlines()) == 1 and not Path('out').exists()

def test_without_ray_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(UserError, match=r"pip install 'sound-video\[ray\]'"): check_ray('local')
    assert cli.main(['name', 'a.wav', 'b.wav', '--ray', 'local']) == 2
    assert capsys.readouterr().err.count('\n') == 1
