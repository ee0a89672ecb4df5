"Nothing is lost: kill -9 at random moments, full disks, losses that are no numbers."
import json, os, resource, subprocess, sys
from contextlib import contextmanager
from pathlib import Path
import pytest, torch
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner
from fastai.data.core import DataLoaders
from fastai.metrics import mae
from torch import nn
from brief import BRIEF
from sound_video.core.callbacks import ComputeIn, TrainingState, keeping, read_checkpoint, versions
from sound_video.core.errors import UserError
from sound_video.data.clips import SeededLoader, still_dls
from sound_video.app.recipes import PRESETS
from sound_video.app.training import train

here = Path(__file__).parent
KILLS = os.environ.get('SOUND_VIDEO_KILLS') # 50, for example: all stages, some minutes

def test_killed_at_random_moments():
    env = os.environ | dict(PYTHONPATH=f'{here.parent}{os.pathsep}{here}')
    said = subprocess.run(
        [
            sys.executable,
            here / 'kill.py',
            *([KILLS, '0'] if KILLS else ['3', '0', 'image_classifier', 'stylegan']),
        ],
        env=env,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found['equal'] and found['kills'] >= int(KILLS or 3), found

class Line:
    "Points of a line."
    epoch = 0
    def __len__(self): return 40
    def __getitem__(self, i): return torch.tensor([i / 20 - 1]), torch.tensor([i / 10])

def line_learner(cbs, width=400):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
    load = lambda shuffle: SeededLoader(Line(), bs=10, shuffle=shuffle)
    return Learner(
        DataLoaders(load(True), load(False), device=torch.device('cpu')),
        net,
        nn.functional.mse_loss,
        metrics=mae,
        lr=0.01,
        cbs=cbs,
    )

@contextmanager
def small_disk(folder):
    "A disk of 256 KB that gets full."
    folder.mkdir()
    if (
        os.getuid()
        or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder], capture_output=True).returncode
    ):
        pytest.skip('cannot mount a small disk')
    free = lambda: (disk := os.statvfs(folder)).f_bavail * disk.f_frsize
    try: yield lambda: (folder/'filler').write_bytes(bytes(free() - 8192)), lambda: (folder/'filler').unlink()
    finally: subprocess.run(['umount', folder])

@contextmanager
def small_files(folder):
    "Files must not grow beyond 1000 bytes, which needs no rights."
    folder.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = lambda n: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n, before[1]))
    try: yield limit(1000), limit(before[0])
    finally: limit(before[0])()

class After(Callback):
    "Does something after the second epoch."
    order = 99
    def __init__(self, f): self.f = f
    def after_epoch(self):
        if self.epoch == 1: self.f()

@pytest.mark.parametrize('disk', [small_disk, small_files])
def test_full_disk(tmp_path, disk):
    (whole := line_learner(keeping(tmp_path, 'line'))).fit(5)
    with disk(tmp_path/'disk') as (fill, free):
        work = tmp_path/'disk'
        with pytest.raises(UserError) as e: line_learner([*keeping(work, 'line'), After(fill)]).fit(5)
        assert 'cannot write' in str(e.value) and 'line.pt' in str(e.value) and '\n' not in str(e.value)
        assert read_checkpoint(work/'line.pt')['place'] == (2, 0)
        assert not list(work.glob('.*'))
        free()
        (again := line_learner(keeping(work, 'line', resume=True))).fit(5)
    for a, b in zip(whole.model.parameters(), again.model.parameters()): assert torch.equal(a, b)

def test_full_disk_while_pictures_are_made(tmp_path):
    with small_disk(tmp_path/'disk'):
        with pytest.raises(UserError, match='no space'):
            still_dls('world', 64, 4, n=90, n_valid=9, cache=tmp_path / 'disk')
        assert not [p for p in (tmp_path/'disk').rglob('*') if p.is_file()]

class Overflow(Callback):
    "Makes some gradients infinite, as float16 does; stops in the third epoch if it is told to."
    order = 7.3 # when they have been added, and before they are looked at
    def __init__(self, stop=False): self.stop = stop
    def before_step(self):
        if (self.epoch, self.iter) in ((0, 2), (1, 0), (3, 1)): next(self.model.parameters()).grad.fill_(torch.inf)
    def after_epoch(self):
        if self.stop and self.epoch == 2: raise KeyboardInterrupt

def test_float16_leaves_out_what_overflows_and_resumes(tmp_path, capsys):
    def half(name, stop=False, **kwargs): # -> Learner, and what it counts
        state = TrainingState()
        cbs = keeping(tmp_path, name, state=state, **kwargs)
        return line_learner([*cbs, ComputeIn('float16'), Overflow(stop)]), state
    whole, counted = half('whole')
    whole.fit(5)
    with pytest.raises(KeyboardInterrupt): half('cut', stop=True)[0].fit(5)
    again, counted_again = half('cut', resume=True)
    again.fit(5)
    n = counted.skipped # the three, and what 2^16 is too much for
    assert counted_again.skipped == n >= 3
    assert counted_again.scaler == counted.scaler and counted.scaler['scale'] == 2.**(16 - n)
    for a, b in zip(whole.model.parameters(), again.model.parameters()):
        assert torch.equal(a, b) and a.isfinite().all() and a.dtype == torch.float32
    assert f'{n} steps overflowed in float16 and were left out' in capsys.readouterr().err

class Explosion(Callback):
    "Breaks a gradient in the second batch."
    def after_backward(self):
        if self.iter == 1: next(p.grad for p in self.model.parameters() if p.grad is not None).view(-1)[0] = torch.nan

@pytest.mark.parametrize('stage,where', [('image_classifier', 'image_classifier'), ('stylegan', 'stylegan-16')])
def test_no_numbers(tmp_path, monkeypatch, stage, where):
    monkeypatch.setitem(PRESETS, 'tiny', BRIEF)
    if stage == 'stylegan': train(tmp_path/'pack', 'tiny', ['image_classifier'])
    with pytest.raises(UserError) as e: train(tmp_path/'pack', 'tiny', [stage], cbs=Explosion())
    assert (
        f'training of {where} stopped in epoch 1 of' in str(e.value)
        and 'gradients not finite' in str(e.value)
        and '\n' not in str(e.value)
    )
    report = (tmp_path/f'pack.training/stopped-{where}.txt').read_text()
    assert 'batch 2 of' in report and ('turn of' in report) == (stage == 'stylegan')

def test_a_damaged_checkpoint_has_one_before_it(tmp_path, capsys):
    (whole := line_learner(keeping(tmp_path, 'line'))).fit(4)
    line_learner(keeping(tmp_path, 'half')).fit(3)
    new, before = versions(tmp_path/'half.pt')
    new.write_bytes(new.read_bytes()[:5000])
    (again := line_learner(keeping(tmp_path, 'half', resume=True))).fit(4)
    assert 'is damaged: going on from' in capsys.readouterr().err
    for a, b in zip(whole.model.parameters(), again.model.parameters()): assert torch.equal(a, b)
