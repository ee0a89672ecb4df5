"""How fast the generators are on a CPU: StyleGAN2, StyleGAN3-T and StyleGAN3-R, one way of computing against another.

    python benchmarks/bench_generators.py [--peer DIR] [--kinds 2 t r] [--batches 1 8] [--resolution 256] [--ways
        torch native] [--repeats 3] [--threads 1] [--json]

`torch` is plain PyTorch, and `native` the C++ that is compiled for this CPU when there is a compiler; both keep no
gradients. `whole` is how the same network is computed where gradients are wanted.
With --peer, `peer` is the reference implementation in DIR, a clone of NVIDIA's stylegan3, with the same weights. All
ways take turns in one process, so that other work on the machine hits them alike;
times are medians of processor seconds for a batch, and with --wall of seconds by the clock, which only tell something
on an idle machine. The column `ratio` says how many times as fast as the first the last way is.
Memory is the most that a process of its own needs, torch and the network included. Where the reference would not fit
into this machine's memory, which one frame and an empty network tell, it is left out of that row.
"""
import argparse, json, os, resource, statistics, subprocess, sys, time
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).parents[1]))
from sound_video.stylegan.stylegan2 import Generator, StyleGAN2Config
from sound_video.stylegan.stylegan3 import StyleGAN3, StyleGAN3Config

NAMES = {'2': 'StyleGAN2', 't': 'StyleGAN3-T', 'r': 'StyleGAN3-R'}

def settings(kind, resolution):
    "Arguments as in the published networks."
    d = dict(
        z_dim=512,
        c_dim=0,
        w_dim=512,
        img_resolution=resolution,
        img_channels=3,
        mapping_kwargs=dict(num_layers=8 if kind == '2' else 2),
    )
    return d | (
        dict(conv_kernel=1, use_radial_filters=True, channel_base=65536, channel_max=1024) if kind == 'r' else {}
    )

def ours(d, kind):
    return (Generator(StyleGAN2Config.from_dict(d)) if kind == '2' else StyleGAN3(StyleGAN3Config.from_dict(d))).eval()

def theirs(d, kind, folder):
    "The reference implementation."
    sys.path.insert(0, folder)
    from training import networks_stylegan2, networks_stylegan3
    return (networks_stylegan2 if kind == '2' else networks_stylegan3).Generator(**d).eval()

def way(name, net, kind): # -> w -> pictures
    "One of the ways to compute."
    kw = (dict(force_fp32=True) | (dict(noise_mode='const') if kind == '2' else {})) if name == 'peer' else {}
    def f(w):
        os.environ['SOUND_VIDEO_IMPL'] = name if name in ('torch', 'native') else 'auto'
        with torch.inference_mode(name != 'whole'): return net.synthesis(w, **kw).detach()
    return f

def codes(kind, resolution, batch):
    torch.manual_seed(0)
    return torch.randn(batch, 1, 512).repeat(1, 2*(resolution.bit_length() - 2) if kind == '2' else 16, 1)

def seconds(f, w, clock):
    start = clock(); f(w)
    return clock() - start

def compare(kind, a, batch):
    "Medians, and how much the pictures differ at most, as a part of their range."
    d = settings(kind, a.resolution)
    G,P = ours(d, kind),theirs(d, kind, a.peer) if a.peer and (batch == 1 or fits(kind, a, batch)) else None
    if P is not None: G.load_state_dict(P.state_dict())
    fs, w = {k: way(k, P if k == 'peer' else G, kind) for k in (['peer'] if P is not None else []) + a.ways}, codes(
        kind, a.resolution, batch
    )
    first = {k: f(w) for k,f in fs.items()} # also warms up
    times = {k: [] for k in fs}
    for _ in range(a.repeats):
        for k,f in fs.items(): times[k].append(seconds(f, w, time.perf_counter if a.wall else time.process_time))
    base,*others = first.values()
    return dict(
        kind=NAMES[kind],
        batch=batch,
        seconds={k: statistics.median(t) for k, t in times.items()},
        difference=max([0.0] + [float((x - base).abs().max() / (base.max() - base.min())) for x in others]),
    )

def memory(name, kind, a, batch): # -> MB
    "In a process of its own; without frames, of torch and the network alone."
    words = [
        sys.executable,
        __file__,
        '--one',
        name,
        kind,
        str(batch),
        '--resolution',
        str(a.resolution),
        '--threads',
        str(a.threads),
        *(['--peer', a.peer] if a.peer else []),
    ]
    return float(subprocess.check_output(words, text=True, stderr=subprocess.DEVNULL).split()[-1])

def peak(): # -> MB
    "Of this process; Linux's `ru_maxrss` counts the parent's too."
    status = Path('/proc/self/status')
    if status.exists(): return int(status.read_text().split('VmHWM:')[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == 'darwin' else 1e3)

def one(name, kind, batch, a):
    "The process for `memory`."
    d = settings(kind, a.resolution)
    f = way(name, theirs(d, kind, a.peer) if name == 'peer' else ours(d, kind), kind)
    if batch: f(codes(kind, a.resolution, batch))
    print(peak())

def available(): # -> MB
    info = Path('/proc/meminfo')
    return int(info.read_text().split('MemAvailable:')[1].split()[0]) / 1e3 if info.exists() else float('inf')

def fits(kind, a, batch):
    "Is there memory for the reference, and a tenth to spare?"
    empty,frame = (memory('peer', kind, a, n) for n in (0, 1))
    need,free = empty + batch*(frame - empty),available()
    if need * 1.1 > free:
        print(
            f'{NAMES[kind]}, {batch} frames: the reference is left out, as it would need about {need/1e3:.1f} GB, and'
            f' {free/1e3:.1f} GB are free',
            file=sys.stderr,
        )
    return need*1.1 <= free

def row(r, ways): # -> a line of the table
    s = r['seconds']
    told = [f"{s[k]:.2f} s, {r['memory'][k]:.0f} MB" if k in s else 'does not fit' for k in ways]
    return (
        f"| {r['kind']} | {r['batch']} | {' | '.join(told)} |"
        f" {f'{s[ways[0]] / s[ways[-1]]:.2f}' if ways[0] in s else '–'} | {r['difference']:.1e} |"
    )

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--peer', metavar='DIR')
    p.add_argument('--kinds', nargs='+', default=list(NAMES), choices=list(NAMES))
    p.add_argument('--batches', type=int, nargs='+', default=[1, 8])
    p.add_argument('--ways', nargs='+', default=['torch', 'native'], choices=['whole', 'torch', 'native'])
    p.add_argument('--resolution', type=int, default=256)
    p.add_argument('--repeats', type=int, default=3)
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--json', action='store_true')
    p.add_argument('--wall', action='store_true')
    p.add_argument('--one', nargs=3, help=argparse.SUPPRESS)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.one:
        return one(a.one[0], a.one[1], int(a.one[2]), a)
    results, ways = [], (['peer'] if a.peer else []) + a.ways
    for kind in a.kinds:
        for batch in a.batches:
            r = compare(kind, a, batch)
            results.append(r | dict(memory={k: memory(k, kind, a, batch) for k in r['seconds']}))
            if not a.json and len(results) == 1:
                print(f"| network | batch | {' | '.join(ways)} | ratio | difference |\n|{'---|'*(4 + len(ways))}")
            if not a.json:
                print(row(results[-1], ways), flush=True)
    if a.json:
        print(json.dumps(results))

if __name__ == '__main__': main()
