"One process and two: `python tests/shared.py STAGE,STAGE…` trains the brief recipe both ways, and prints how far losses and weights are apart. Run by test_shared.py."
import csv, json, math, os, shutil, sys, tempfile
from dataclasses import replace
from pathlib import Path
import torch, torch.distributed as dist
from brief import BRIEF, fork
import sound_video.clip, sound_video.hearing # with all that they import
from fastai.callback.core import Callback
from sound_video.callbacks import read_checkpoint
from sound_video.encoder import EncoderConfig
from sound_video.processes import rank
from sound_video.training import PRESETS, STAGES, train

# batches that two can share evenly, no dropout
PRESETS['brief'] = replace(BRIEF, hearing=replace(BRIEF.hearing, encoder=EncoderConfig(width=4, hidden=16, dropout=0.), batch=8),
                           inversion=replace(BRIEF.inversion, batch=8), trajectory=replace(BRIEF.trajectory, clips=8))

class Keep(Callback):
    "Keeps the gradients of a Learner's first batch, which no optimiser has had a chance to magnify the rounding of."
    order = 9 # when those of all processes have been added
    def __init__(self, folder): self.folder = folder
    def before_step(self):
        if self.epoch or self.iter: return
        net, turn = getattr(self.model, 'G', self.model), getattr(self, 'turn', '')
        name = f"{type(net).__name__}{getattr(getattr(net, 'cfg', None), 'img_resolution', '')}{turn and '-' + turn}"
        torch.save(torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None]), self.folder/f'{name}-{rank()}.grad')

def one_of(i, n, out, stages, store):
    if n > 1: dist.init_process_group('gloo', rank=i, world_size=n, init_method=f'file://{store}')
    train(out, 'brief', stages, cbs=Keep(out.parent), precision='float32')
    if n > 1: dist.destroy_process_group()

def run(n, out, stages):
    pids = [fork(one_of, i, n, out, stages, out.parent/'store', log=out.parent/f'log-{i}.txt') for i in range(n)]
    if any([os.waitpid(pid, 0)[1] for pid in pids]): raise SystemExit('\n'.join(p.read_text()[-3000:] for p in out.parent.glob('log*')))

def table(file): # without epochs and times
    names, *rows = csv.reader(file.open())
    return {k: [float(r[i]) for r in rows] for i, k in enumerate(names) if k not in ('epoch', 'time')}

def apart(a, b): # of two tables, the largest relative difference of each column
    return {k: max(abs(x - y) / (abs(x) + 1e-3) for x, y in zip(a[k], b[k]) if not (math.isnan(x) and math.isnan(y))) for k in a}

def moved(a, b): # of two checkpoints: how far all weights differ, in parts of their size
    pairs = [(x, y) for x, y in zip(a['nets'].values(), b['nets'].values()) if x.is_floating_point()]
    return math.sqrt(sum(float((x - y).square().sum()) for x, y in pairs) / sum(float(x.square().sum()) for x, _ in pairs))

def gradients(one, two): # folders
    "How far the first gradients differ, in parts of their size; in both processes they must be the same."
    for p in sorted(one.glob('*-0.grad')):
        a, b, c = map(torch.load, (p, two/p.name, two/p.name.replace('-0.', '-1.')))
        assert torch.equal(b, c), p
        yield p.name[:-7], float((a - b).norm() / a.norm())

def both(base, stages, d):
    "The same stages in one process and in two, from the same beginning."
    for n in (1, 2):
        (d/str(n)).mkdir(parents=True)
        for folder in ('pack', 'pack.training'):
            if (base/folder).exists(): shutil.copytree(base/folder, d/str(n)/folder)
        for p in (d/str(n)).glob('*/*.csv'): p.unlink()
        run(n, d/str(n)/'pack', stages)
    one, two = d/'1', d/'2'
    for p in sorted(one.glob('pack.training/metrics-*.csv')):
        name = p.stem.removeprefix('metrics-')
        w = [read_checkpoint(x/f'pack.training/{name}.pt') for x in (one, two)]
        yield name, dict(losses=apart(table(p), table(two/'pack.training'/p.name)), weights=moved(*w))
    yield f'gradients of {" and ".join(stages)}', dict(gradients(one, two))

if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as d:
        d, found = Path(d), {}
        groups = [g.split(',') for g in sys.argv[1:]] or [['judge', 'stylegan'], ['clip'], ['audio'], ['inversion'], ['trajectory']]
        (d/'base').mkdir()
        if set(sum(groups, [])) & {'audio', 'inversion', 'trajectory'}: run(1, d/'base'/'pack', STAGES)
        for stages in groups: found |= both(d/'base', stages, d/stages[0])
        print(json.dumps(found))
