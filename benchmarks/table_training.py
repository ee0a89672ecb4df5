"""What does training cost? Seconds, memory and arithmetic of each stage, measured over a few real steps and multiplied
by the recipe's number of them.

    python benchmarks/table_training.py [--presets tiny,mini64] [--stages image classifier,clip] [--json FILE]
    python benchmarks/table_training.py --preset landscape256     # on a GPU

Each stage runs in a process of its own, with the recipe's networks and batch, on noise in place of data, which takes as
long. The terms of a loss that come every fourth or sixteenth step are averaged over whole
cycles of sixteen. Without a GPU no step of landscape256 is run at its size: its arithmetic is counted on a few rows of
a batch, and extrapolated.
"""
import argparse, json, os, statistics, sys, tempfile, time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
import torch, torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from torch.utils.flop_counter import FlopCounterMode
from sound_video.hearing.clip_training import CaptionLoader, clip_learner
from sound_video.hearing.captions import small_clip
from sound_video.core.devices import default_device, seed_all
from sound_video.data.clips import StillLoader, Stills
from sound_video.hearing.encoder import AudioEncoder
from sound_video.hearing.alignment import AugmentedViews, AugmentedViewsLoader, hearing_learner
from sound_video.motion.inversion import (
    Inverter, InverterConfig, ImageEncoder, ImageEncoderConfig, latent_statistics)
from sound_video.motion.inversion_training import SoundVectors, inversion_learner, image_learner, vector_dls
from sound_video.motion.trajectory import N_CURVES, TrajectoryConfig, TrajectoryGenerator, latent_axes
from sound_video.world.score import KIND_NAMES, SCENES
from sound_video.app.model import as_seen
from sound_video.app.recipes import PRESETS, new_generator
from sound_video.stylegan.autoencoder import Autoencoder, with_decoder
from sound_video.app.training import (
    Run,
    Watched,
    train_image_classifier,
    train_resolution,
    train_trajectory,
    train_video_classifier,
)
from sound_video.motion.reactive import layer_groups
from sound_video.motion.trajectory_training import Videos, sound_anchors

CYCLE, LONG = 16, 1000 # steps in which all terms of a loss come; batches in an epoch, more than are run

# What each stage is trained on: noise in the shape of data

def unit(*size): return F.normalize(torch.randn(*size), dim=-1)

def loaders(kind, data, bs, **kwargs):
    load = partial(kind, data, bs=bs, n=bs * LONG, shuffle=True, drop_last=True, **kwargs)
    return DataLoaders(load(), load(), device=default_device())

def still_noise(size, bs, kind=StillLoader, channels=3, **kwargs):
    data = Stills(
        torch.randint(0, 256, (2 * len(KIND_NAMES), channels, size, size), dtype=torch.uint8).numpy(),
        torch.arange(2 * len(KIND_NAMES)).numpy() % len(KIND_NAMES),
        KIND_NAMES,
    )
    dls = loaders(kind, data, bs, **kwargs)
    dls.vocab = data.vocab
    return dls

def film_noise(recipe, size, n):
    r = recipe.trajectory
    one = torch.randint(0, 256, (4, T := round(r.seconds * r.rate), 3, size, size), dtype=torch.uint8)
    rows = lambda x: x.repeat(-(-n // len(x)), *[1]*(x.dim() - 1))[:n]
    frames = one[:1].expand(n, -1, -1, -1, -1) # seen often, kept once
    return Videos(
        frames,
        torch.rand(n, T, N_CURVES),
        unit(n, 128),
        rows(torch.arange(9)),
        list(SCENES),
        (torch.randn(4, 22050 * round(r.seconds)), 22050),
    )

# The stages: each trains until `cbs` have seen enough

def image_classifier(recipe, bs, cbs, work):
    train_image_classifier(still_noise(recipe.generator.img_resolution, bs), 1, cbs)

def stylegan(res, recipe, bs, cbs, work):
    images = [bs * LONG] * len(recipe.resolutions)
    recipe = replace(recipe.with_stylegan(c_dim=len(KIND_NAMES)), batch=bs, images=images)
    dls = still_noise(recipe.stylegan.img_resolution, bs, channels=recipe.stylegan.img_channels)
    train_resolution(dls, recipe, res, None, {}, Run(work, cbs=cbs))

def clip(recipe, bs, cbs, work):
    net = small_clip()
    clip_learner(still_noise(net.size, bs, CaptionLoader, tokenize=net.tokenize), net, cbs=cbs).fit_one_cycle(
        1, recipe.clip.lr
    )

def audio(recipe, bs, cbs, work):
    net, cfg = small_clip().freeze().to(default_device()), recipe.hearing.encoder
    mels = torch.randint(
        0, 256, (2, 2 * bs, cfg.mel.bands, 1 + int(cfg.seconds * cfg.mel.rate) // cfg.mel.hop), dtype=torch.uint8
    )
    data = AugmentedViews(mels, unit(2*bs, 4, net.dim), torch.arange(2*bs) % len(KIND_NAMES), KIND_NAMES)
    hearing_learner(
        loaders(AugmentedViewsLoader, data, bs, clip=net), AudioEncoder(replace(cfg, dim=net.dim)), cbs=cbs
    ).fit_one_cycle(1, recipe.hearing.lr)

def frozen(recipe): # a generator and what hears, untrained
    G, net = new_generator(recipe.with_stylegan(c_dim=len(KIND_NAMES)).stylegan), small_clip()
    if recipe.of_latents: G = as_seen(with_decoder(G, Autoencoder(recipe.generator.autoencoder)), net)
    G = G.to(default_device()).eval().requires_grad_(False)
    return G, net.freeze().to(default_device()), (G.synthesis.num_ws, G.cfg.w_dim)

def inversion(recipe, bs, cbs, work):
    G, net, shape = frozen(recipe)
    E = Inverter(InverterConfig(net.dim, *shape, hidden=recipe.inversion.hidden), *latent_statistics(G, 512)).to(
        default_device()
    )
    data = SoundVectors(
        unit(1, bs * LONG, net.dim),
        unit(len(KIND_NAMES), net.dim),
        torch.arange(bs * LONG) % len(KIND_NAMES),
        KIND_NAMES,
    )
    inversion_learner(vector_dls(data, bs), E, G, net, cbs=cbs).fit(1)

def pictures(recipe, bs, cbs, work):
    G, net, shape = frozen(recipe)
    P = ImageEncoder(
        ImageEncoderConfig(*shape, min(64, G.cfg.img_resolution), hidden=recipe.inversion.hidden),
        *latent_statistics(G, 512)
    ).to(default_device())
    image_learner(still_noise(G.cfg.img_resolution, bs), P, G, net, cbs=cbs).fit(1)

def video_classifier(recipe, bs, cbs, work):
    size = frozen(recipe)[0].cfg.img_resolution
    films = film_noise(recipe, size, 18)
    train_video_classifier(
        replace(recipe.trajectory, video_classifier_epochs=LONG),
        Watched(films, 'train', recipe.trajectory.rate),
        Watched(film_noise(recipe, size, 4), 'valid', recipe.trajectory.rate),
        Run(work, cbs=cbs),
    )

def trajectory(recipe, bs, cbs, work):
    G, net, shape = frozen(recipe)
    films, E, groups = (
        film_noise(recipe, G.cfg.img_resolution, 40 * bs),
        Inverter(InverterConfig(128, *shape, hidden=64), *latent_statistics(G, 512)).to(default_device()),
        layer_groups(shape[0]),
    )
    cfg = TrajectoryConfig(groups, *shape, hidden=recipe.trajectory.hidden, rate=recipe.trajectory.rate)
    M = TrajectoryGenerator(cfg, latent_axes(E, films.vectors[:64].to(default_device()), groups, cfg.axes))
    both, fixed = (films, film_noise(recipe, G.cfg.img_resolution, 2)), (G, net, sound_anchors(E))
    train_trajectory(replace(recipe.trajectory, batch=bs), M, both, fixed, Run(work, cbs=cbs))

def stages(recipe): # name -> function, rows of a batch, steps in all; as `training.train` counts them
    r, epoch = recipe, min(max(min(recipe.stills, 10_000), sum(recipe.images) // 250), *recipe.images)
    grown = {
        f'stylegan-{s}': (
            partial(stylegan, s),
            r.batch,
            max(1, round(n / (epoch // r.batch * r.batch))) * (epoch // r.batch),
        )
        for s, n in zip(r.resolutions, r.images)
    }
    i, t = r.inversion, r.trajectory
    return {
        'image_classifier': (image_classifier, r.batch, r.image_classifier_epochs * (epoch // r.batch)),
        **grown,
        'clip': (clip, r.clip.batch, r.clip.epochs * (r.clip.stills // r.clip.batch)),
        'audio': (audio, r.hearing.batch, r.hearing.epochs * (r.hearing.sounds // r.hearing.batch)),
        'inversion': (inversion, i.batch, i.epochs * (i.sounds // i.batch)),
        'pictures': (pictures, i.batch // 4, i.image_epochs * (i.stills // (i.batch // 4))),
        'video_classifier': (
            video_classifier,
            min(18, t.clips),
            t.video_classifier_epochs * (t.clips // min(18, t.clips)),
        ),
        'trajectory': (trajectory, t.batch, t.epochs * (t.clips // t.batch)),
    }

# Measuring

class Enough(BaseException): pass

class Flat(nullcontext):
    "In place of a counter's record of modules, whose hooks do not go with slopes of slopes."
    parents = {'Global'}

class Silent(Callback):
    "No bar."
    def before_fit(self):
        if hasattr(self.learn, 'progress'): self.learn.progress.run = False

class Watch(Callback):
    "Counts the arithmetic of some steps, then times others; counted ones are given as numbers in a cycle."
    order = 100
    def __init__(self, n): self.n, self.times, self.flops = n, [], {}
    def before_batch(self):
        if not hasattr(self, 'plan'):
            self.plan = (
                [0, 1, 4] if getattr(self.learn, 'turns', [''])[0] else [1]
            )  # all terms, none, those of every fourth step
        self.counter = FlopCounterMode(display=False) if self.plan else None
        if not self.counter: return
        if hasattr(self.learn, 'terms'): self.learn.state.steps = self.plan[0]
        self.counter.mod_tracker = Flat()
        self.counter.__enter__()
    def after_batch(self):
        if self.counter:
            self.counter.__exit__(None, None, None)
            self.flops[self.plan.pop(0)] = self.counter.get_total_flops()
            self.params = sum(p.numel() for p in getattr(self.model, 'G', self.model).parameters()) + sum(
                p.numel() for p in getattr(self.model, 'D', torch.nn.Module()).parameters()
            )
            if not self.plan and hasattr(self.learn, 'terms'):
                self.learn.state.steps = CYCLE - 1  # one more to warm up, then a cycle
        elif torch.cuda.is_available(): torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        if not self.plan and len(self.times) >= len(self.flops) + self.n: raise Enough

def measure(
    preset, name, steps, few=None
):  # few: rows of a smaller batch, of which the arithmetic is counted and nothing is timed
    "One stage in this process."
    seed_all(0)
    recipe = PRESETS[preset]
    f, batch, _ = stages(recipe)[name]
    watch = Watch(0 if few else steps + 1)
    with tempfile.TemporaryDirectory() as d:
        try: f(recipe, few or batch, [watch, Silent()], Path(d))
        except Enough: pass
    seconds = [b - a for a, b in zip(watch.times[len(watch.flops):], watch.times[len(watch.flops) + 1:])]
    return dict(
        params=watch.params,
        flops=per_step(watch.flops, name, batch, few or batch),
        seconds=seconds,
        cuda=torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0,
    )

def per_step(flops, name, batch, rows):
    "Arithmetic of a step on average over a cycle, of `batch` rows, from some steps of `rows`."
    plain, scale = flops[1], batch / rows
    if 0 not in flops: return plain * scale
    fourth, all_ = flops[4] - plain, flops[0] - flops[4]
    shown = min(32, batch) / min(32, rows) if name == 'inversion' else scale # the inverter's term is of 32 pictures
    return plain * scale + fourth * shown / 4 + all_ * scale / CYCLE

def in_a_process(f, *args):
    "What `f` gives in a process of its own, and the peak of its memory in GiB."
    with tempfile.NamedTemporaryFile('r') as told:
        if not (pid := os.fork()):
            status = 1
            try:
                sys.stderr = open(os.devnull, 'w')
                Path(told.name).write_text(json.dumps(f(*args)))
                status = 0
            except BaseException as e: print(f'{args}: {type(e).__name__} {e}', flush=True)
            finally: os._exit(status)
        _, status, used = os.wait4(pid, 0)
        if status: raise SystemExit(f'{args} failed')
        return json.load(told), used.ru_maxrss / 2**20

@dataclass
class Row:
    "What a stage costs; hours of all its steps."

    preset: str
    stage: str
    params: int
    batch: int
    steps: int
    flops: float
    median: float = None
    hours: float = None
    memory: float = None

def row_of(preset, name, few=None):
    _, batch, steps = stages(PRESETS[preset])[name]
    found, rss = in_a_process(
        measure, preset, name, CYCLE if name.startswith(('stylegan', 'inversion', 'trajectory')) else 6, few
    )
    row = Row(preset, name, found['params'], batch, steps, found['flops'])
    if s := found['seconds']:
        row.median, row.hours, row.memory = (
            statistics.median(s),
            statistics.mean(s) * steps / 3600,
            found['cuda'] or rss,
        )
    print(f'{preset} {name}: ' + (f'{row.median:.2f} s' if row.median else 'counted'), file=sys.stderr, flush=True)
    return row

# Telling

def table(rows):
    yield (
        '| stage | parameters, million | batch | steps | GFLOP a step | seconds a step | GFLOP a second | memory, GiB |'
        ' hours |\n|---|---|---|---|---|---|---|---|---|'
    )
    for r in rows:
        timed = (
            [
                f'{r.median:.2f}',
                f'{r.flops / (r.hours * 3600 / r.steps) / 1e9:.0f}',
                f'{r.memory:.1f}',
                f'{r.hours:.3g}',
            ]
            if r.median
            else ['', '', '', '']
        )
        yield (
            f"| {r.stage} | {r.params / 1e6:.2f} | {r.batch} | {r.steps:,} | {r.flops / 1e9:,.1f} |"
            f" {' | '.join(timed)} |"
        )
    total = sum(r.hours for r in rows if r.hours)
    yield f"| all | | | {sum(r.steps for r in rows):,} | | | | | {f'{total:.3g}' if total else ''} |"

def argument(large, measured):
    "How long the paper's size takes, from what it computes."
    total, here = sum(r.flops * r.steps for r in large), sum(r.flops * r.steps for r in measured)
    hours = sum(r.hours for r in measured)
    rate = here / hours / 3600
    guess = {
        p: sum(r.flops * r.steps for r in measured if r.preset == p) / rate / 3600
        for p in dict.fromkeys(r.preset for r in measured)
    }
    real = {p: sum(r.hours for r in measured if r.preset == p) for p in guess}
    said = '; '.join(f'{p} would take {guess[p]:.3g} hours at that rate and takes {real[p]:.3g}' for p in guess)
    yield (
        f"The recipe landscape256 is {total:.1e} operations, {total / here:,.0f} times those of {' and '.join(guess)}."
        f" The measured stages ran at {rate / 1e9:.0f} GFLOP a second over all ({said}, so arithmetic tells time within"
        f" the factor between these), at which landscape256 would take {total / rate / 86400:,.0f} days here: it is"
        " work for a GPU. What a GPU sustains is not measured here, so for three rates:\n"
    )
    yield '| sustained, TFLOP a second | ' + ' | '.join(f'{t}' for t in (10, 30, 100)) + ' |\n|---|---|---|---|'
    yield '| days of one GPU | ' + ' | '.join(f'{total / t / 1e12 / 86400:.1f}' for t in (10, 30, 100)) + ' |\n'
    top = max(large, key=lambda r: r.flops * r.steps)
    yield (
        f"{top.flops * top.steps / total:.0%} of it is {top.stage}, which sees {top.batch * top.steps:,} pictures. The"
        " time is proportional to pictures and to arithmetic for each; memory is not extrapolated, since it depends on"
        " what a GPU's libraries keep: `--accumulate` divides what grows with the batch."
    )

FEW = dict(
    image_classifier=8, clip=8, audio=8, inversion=4, pictures=2, video_classifier=2, trajectory=1
)  # rows on which landscape256 is counted; StyleGAN: a group of 4

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--presets', '--preset', default='tiny,mini64', help='which to measure (default: tiny,mini64)')
    p.add_argument('--stages', help='only these (default: all)')
    p.add_argument('--json', help='file for the numbers')
    a = p.parse_args()
    chosen = lambda preset: [s for s in stages(PRESETS[preset]) if not a.stages or s in a.stages.split(',')]
    measured = [row_of(p, s) for p in a.presets.split(',') for s in chosen(p)]
    large = (
        []
        if 'landscape256' in a.presets
        else [row_of('landscape256', s, FEW.get(s, 4)) for s in chosen('landscape256')]
    )
    for preset in dict.fromkeys(r.preset for r in measured):
        print(f'**{preset}**\n', *table([r for r in measured if r.preset == preset]), '', sep='\n')
    if large: print('**landscape256**, counted\n', *table(large), '', *argument(large, measured), sep='\n')
    if a.json:
        Path(a.json).write_text(
            json.dumps(
                dict(
                    torch=torch.__version__,
                    device=(
                        torch.cuda.get_device_name()
                        if os.environ.get('CUDA_VISIBLE_DEVICES') != '' and torch.cuda.is_available()
                        else 'cpu'
                    ),
                    threads=torch.get_num_threads(),
                    rows=[asdict(r) for r in measured + large],
                ),
                indent=1,
            )
        )

if __name__ == '__main__': main()
