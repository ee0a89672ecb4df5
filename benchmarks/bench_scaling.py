"""A training step of the preset mini64's StyleGAN in one process, in one with two threads, and in two.

    python benchmarks/bench_scaling.py [--rounds 5] [--steps 5] [--resolution 64] [--batch 16]

Rounds take turns; medians, ratios to the one process of the same round, and the bytes of gradients that a step
exchanges.
"""
import argparse, json, os, statistics, tempfile, time
from pathlib import Path
os.environ |= dict(OMP_WAIT_POLICY='PASSIVE', TORCH_CPP_LOG_LEVEL='ERROR') # as the command line does
import torch, torch.distributed as dist
from fastai.callback.core import Callback
from sound_video.core.callbacks import keeping
from sound_video.app.recipes import PRESETS
from sound_video.stylegan.adversarial import stylegan_learner

WAYS = {'one process': (1, 1), 'one process, two threads': (1, 2), 'two processes': (2, 1)} # processes, threads of each

class Times(Callback):
    "Seconds of each step after the first, in which memory is found."
    order = -30
    def before_fit(self): self.seconds = []
    def before_batch(self): self.begun = time.perf_counter()
    def after_batch(self): self.seconds.append(time.perf_counter() - self.begun)

def steps(n, resolution, batch, work): # -> seconds of each, bytes of gradients
    recipe = PRESETS['mini64']
    g = torch.Generator().manual_seed(0)
    data = [(torch.randn(batch, 3, resolution, resolution, generator=g), torch.zeros(batch, dtype=torch.long))] * n
    times = Times()
    learn = stylegan_learner(data, recipe.at(resolution), gamma=recipe.gamma, mixing=recipe.mixing, cbs=times)
    learn.state.steps = 1 # R1 is due in the 16th
    learn.add_cbs(keeping(work, 'bench', state=learn.state))
    learn.recorder.train_metrics = False
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    return times.seconds[1:], sum(p.numel() * 4 for group in learn.opt.param_lists for p in group)

def one_of(i, n, threads, a, folder):
    torch.set_num_threads(threads)
    if n > 1:
        os.environ |= {k: str(v) for k, v in dict(RANK=i, LOCAL_RANK=i, WORLD_SIZE=n, LOCAL_WORLD_SIZE=n).items()}
        dist.init_process_group('gloo', rank=i, world_size=n, init_method=f'file://{folder}/store')
    found = steps(a.steps, a.resolution, a.batch, folder)
    if i == 0: (folder/'found.json').write_text(json.dumps(found))
    if n > 1: dist.destroy_process_group()

def run(n, threads, a): # -> seconds of each step, bytes of gradients
    with tempfile.TemporaryDirectory() as d:
        pids = []
        for i in range(n):
            if not (pid := os.fork()):
                try: one_of(i, n, threads, a, Path(d)); os._exit(0)
                finally: os._exit(1)
            pids.append(pid)
        assert not any([os.waitpid(pid, 0)[1] for pid in pids])
        return json.loads((Path(d)/'found.json').read_text())

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--steps', type=int, default=5, help='of each round; the first is not counted')
    p.add_argument('--resolution', type=int, default=64)
    p.add_argument('--batch', type=int, default=16)
    a = p.parse_args()
    found, sent = {way: [] for way in WAYS}, 0
    for _ in range(a.rounds):
        for way, (n, threads) in WAYS.items():
            seconds, sent = run(n, threads, a)
            found[way].append(statistics.median(seconds))
    load = os.getloadavg()[0]
    print(f'{os.cpu_count()} cores, load {load:.1f}; {a.rounds} rounds in turns, {a.steps - 1} steps each')
    print(f'StyleGAN of mini64, {a.resolution} pixels, batch {a.batch}; gradients {sent / 1e6:.1f} MB a step')
    print('\n| | seconds a step | times as fast |\n|---|---|---|')
    one = found['one process']
    for way, x in found.items():
        ratio = statistics.median(b / y for b, y in zip(one, x))
        print(f'| {way} | {statistics.median(x):.2f} | {ratio:.2f} |')

if __name__ == '__main__': main()
