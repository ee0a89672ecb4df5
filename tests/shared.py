"""One process, two, and one that works in parts: `python tests/shared.py STAGE,STAGE…` trains the brief recipe in each
way, and prints how far losses and weights are apart. Run by test_shared.py."""
import csv, json, math, os, shutil, sys, tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
import torch, torch.distributed as dist
from brief import BRIEF, fork, get_ready
from fastai.callback.core import Callback
from sound_video.core.callbacks import read_checkpoint
from sound_video.data.clips import Stills
from sound_video.hearing.encoder import EncoderConfig
from sound_video.core.processes import rank
from sound_video.app.plan import jobs
from sound_video.app.recipes import PRESETS
from sound_video.app.training import STAGES, train

LONG = os.environ.get('SOUND_VIDEO_PROCESSES') == 'all' # fifty steps of every kind
def epochs(few, many): return many if LONG else few

# batches that two can share evenly
SHARED = replace(
    BRIEF,
    images=epochs(BRIEF.images, (800, 800)),
    image_classifier_epochs=epochs(1, 25),
    clip=replace(BRIEF.clip, epochs=epochs(2, 25)),
    hearing=replace(
        BRIEF.hearing, encoder=EncoderConfig(width=4, hidden=16, seconds=2.), batch=8, epochs=epochs(2, 25)),
    inversion=replace(BRIEF.inversion, batch=8, epochs=epochs(2, 25), image_epochs=epochs(2, 6)),
    trajectory=replace(BRIEF.trajectory, clips=8, epochs=epochs(2, 25), video_classifier_epochs=epochs(2, 50)),
)

def name_of(learn):
    net = getattr(learn.model, 'G', learn.model)
    return f"{type(net).__name__}{getattr(getattr(net, 'cfg', None), 'img_resolution', '')}"

class Keep(Callback):
    """Keeps the loss of each step, and the gradients of a Learner's first batch, which no optimiser has had a chance to
    magnify the rounding of."""
    order = 9 # when those of all processes have been exchanged
    def __init__(self, folder): self.folder, self.losses = folder, {}
    def after_batch(self):
        if self.training: self.losses.setdefault(name_of(self.learn), []).append(float(self.loss))
    def before_step(self):
        if self.epoch or self.iter: return
        turn = getattr(self, 'turn', '')
        name = f"{name_of(self.learn)}{turn and '-' + turn}"
        torch.save(
            torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None]),
            self.folder / f'{name}-{rank()}.grad',
        )

class Count(Callback):
    "Counts the rows that a loader gives while its epoch lasts, and the pictures that are read for that."
    order = -5 # before batches are shared out
    def __init__(self): self.rows, self.pictures = {}, {}
    def _name(self):
        return f"{type(self.model).__name__}{getattr(getattr(self.model, 'cfg', None), 'img_resolution', '')}"
    def before_train(self):
        data = self.dl.dataset
        if not isinstance(data, Stills): return
        def counted(i):
            self.pictures[name] = self.pictures.get(name, 0) + len(i)
            return type(data).images_at(data, i)
        name, data.images_at = self._name(), counted
    def after_train(self): vars(self.dl.dataset).pop('images_at', None)
    def before_batch(self):
        if self.training: self.rows[self._name()] = self.rows.get(self._name(), 0) + len(self.xb[0])

def one_of(i, n, parts, out, stages, store, double):
    if n > 1:
        os.environ |= {k: str(v) for k, v in dict(RANK=i, LOCAL_RANK=i, WORLD_SIZE=n, LOCAL_WORLD_SIZE=n).items()}
        dist.init_process_group('gloo', rank=i, world_size=n, init_method=f'file://{store}')
    count, keep = Count(), Keep(out.parent)
    if double: in_double()
    train(out, 'brief', stages, cbs=[keep, count], precision='float32', accumulate=parts)
    (out.parent/f'read-{i}.json').write_text(json.dumps([count.rows, count.pictures]))
    (out.parent/f'losses-{i}.json').write_text(json.dumps(keep.losses))
    if n > 1: dist.destroy_process_group()

FLOAT = torch.Tensor.float

class Afterwards(Callback):
    "Calls a function when the training has ended."
    order = 1000
    def __init__(self, do): self.do = do
    def after_fit(self): self.do()

def cast(held, nets, dtype):
    "Give what objects hold, networks, and what is made from now on another precision."
    torch.set_default_dtype(dtype)
    torch.Tensor.float = FLOAT if dtype is torch.float32 else torch.Tensor.double
    for x in held:
        for k, v in vars(x).items():
            if torch.is_tensor(v) and v.is_floating_point(): vars(x)[k] = v.to(dtype)
    for net in nets: net.to(dtype)

def doubled(make):
    "A function that makes a Learner, made to compute in 64 bits, with what it is given, until its training ends."
    def made(dls, *args, **kwargs):
        data = (dls.train.dataset, dls.valid.dataset)
        held = [x for d in data for x in (d, *vars(d).values()) if hasattr(x, '__dict__') and not torch.is_tensor(x)]
        cells = [c.cell_contents for a in args for c in getattr(a, '__closure__', None) or ()]
        given = (*args, *kwargs.values(), getattr(dls.train, 'clip', None), *cells)
        nets = [x for x in given if isinstance(x, torch.nn.Module)]
        cast(held, nets, torch.float64)
        learn = make(dls, *args, **kwargs)
        nets.append(learn.model.double())
        learn.add_cb(Afterwards(lambda: cast(held, nets, torch.float32)))
        return learn
    return made

def in_double():
    "From now on, every Learner computes in 64 bits."
    from sound_video.app import training
    from sound_video.hearing import alignment, clip_training
    # what measures has classifiers and films of 32 bits
    training.VideoGrid.after_train = lambda self: setattr(self, 'follows', 0.)
    training.Measure.after_train = lambda self: setattr(self, 'found', defaultdict(float))
    for module, names in {
        training: ('Learner', 'stylegan_learner', 'inversion_learner', 'image_learner', 'trajectory_learner'),
        alignment: ('hearing_learner',),
        clip_training: ('clip_learner',),
    }.items():
        for name in names: setattr(module, name, doubled(getattr(module, name)))

def run(n, out, stages, parts=1, double=False):
    pids = [
        fork(one_of, i, n, parts, out, stages, out.parent / 'store', double, log=out.parent / f'log-{i}.txt')
        for i in range(n)
    ]
    if any([os.waitpid(pid, 0)[1] for pid in pids]):
        raise SystemExit('\n'.join(p.read_text()[-3000:] for p in out.parent.glob('log*')))

def table(file): # without epochs and times
    names, *rows = csv.reader(file.read_text().splitlines())
    return {k: [float(r[i]) for r in rows] for i, k in enumerate(names) if k not in ('epoch', 'time')}

def apart(a, b): # of two tables, the largest relative difference of each column
    return {
        k: max(abs(x - y) / (abs(x) + 1e-3) for x, y in zip(a[k], b[k]) if not (math.isnan(x) and math.isnan(y)))
        for k in a
    }

def moved(a, b): # of two checkpoints: how far all weights differ, in parts of their size
    pairs = [(x, y) for x, y in zip(a['nets'].values(), b['nets'].values()) if x.is_floating_point()]
    return math.sqrt(
        sum(float((x - y).square().sum()) for x, y in pairs) / sum(float(x.square().sum()) for x, _ in pairs)
    )

def gradients(one, other): # folders
    "How far the first gradients differ, in parts of their size; in all processes they must be the same."
    for p in sorted(one.glob('*-0.grad')):
        a, b, *rest = map(torch.load, (p, other/p.name, *other.glob(p.name.replace('-0.', '-1.'))))
        assert all(torch.equal(b, c) for c in rest), p
        yield p.name[:-7], float((a - b).norm() / a.norm())

def steps_apart(one, two): # folders
    """How far the losses of two trainings are apart at most, for each network, and after how many steps; those above 1
    in parts of their size."""
    a, b = (json.loads((folder/'losses-0.json').read_text()) for folder in (one, two))
    assert {k: len(v) for k, v in a.items()} == {k: len(v) for k, v in b.items()}
    return {k: (max(abs(x - y) / max(1, abs(x)) for x, y in zip(a[k], b[k])), len(a[k])) for k in a}

def begin(base, folder):
    "A place for a training that begins as others do."
    folder.mkdir(parents=True)
    for name in ('pack', 'pack.training'):
        if (base/name).exists(): shutil.copytree(base/name, folder/name)
    for p in folder.glob('*/*.csv'): p.unlink()
    return folder/'pack'

def both(base, stages, d):
    "The same stages in one process, in two, and in one by parts, from the same beginning."
    ways = dict(one=dict(n=1), processes=dict(n=2), parts=dict(n=1, parts=2))
    for way, how in ways.items():
        run(out=begin(base, d/way), stages=stages, **how)
        for data in ('stills', 'sounds'): # what is rendered is the same for all
            if (made := d / 'one' / 'pack.training' / data).exists():
                shutil.copytree(made, base / 'pack.training' / data, dirs_exist_ok=True)
    one, two = d/'one', d/'processes'
    for p in sorted(one.glob('pack.training/metrics-*.csv')):
        name = p.stem.removeprefix('metrics-')
        w = [read_checkpoint(x/f'pack.training/{name}.pt') for x in (one, two)]
        yield name, dict(
            losses=apart(table(p), table(two / 'pack.training' / p.name)),
            weights=moved(*w),
            parts=apart(table(p), table(d / 'parts' / 'pack.training' / p.name)),
        )
    yield f'gradients of {" and ".join(stages)}', dict(gradients(one, two))
    yield f'gradients in parts of {" and ".join(stages)}', dict(gradients(one, d/'parts'))
    yield f'steps of {" and ".join(stages)}', steps_apart(one, two)
    yield f'read by {" and ".join(stages)}', [
        json.loads(p.read_text()) for p in (one / 'read-0.json', two / 'read-0.json', two / 'read-1.json')
    ]
    if not LONG: return
    for way, how in ways.items(): run(out=begin(base, d/f'{way}-double'), stages=stages, double=True, **how)
    alone = d/'one-double'
    yield f'steps in 64 bits of {stages[0]}', steps_apart(alone, d/'processes-double')
    for way in ('processes', 'parts'):
        yield f'gradients in 64 bits, {way}, of {stages[0]}', dict(gradients(alone, d/f'{way}-double'))

if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as d:
        d, found = Path(d), dict(planned={job.name: job.steps for job in jobs(SHARED)})
        groups = [g.split(',') for g in sys.argv[1:]] or [
            ['image_classifier', 'stylegan'],
            ['clip'],
            ['audio'],
            ['inversion'],
            ['trajectory'],
        ]
        (d/'base').mkdir()
        get_ready()
        PRESETS['brief'] = BRIEF
        if set(sum(groups, [])) & {'audio', 'inversion', 'trajectory'}: run(1, d/'base'/'pack', STAGES)
        PRESETS['brief'] = SHARED
        for stages in groups: found |= both(d/'base', stages, d/stages[0])
        print(json.dumps(found))
