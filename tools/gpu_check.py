"""Check on a GPU, in minutes, what the tests cannot check without one: into one JSON and one Markdown file.

    python tools/gpu_check.py [--out out/gpu_check] [--device cuda] [--minutes 8] [--peer DIR] [--only PART …]

Parts: operators against their definitions (values, gradients, precisions), generators against plain PyTorch on the CPU
with the same weights, `--peer` (a clone of NVIDIA's stylegan3) likewise, CUDA graphs, memory, a short training in two
precisions, and speed. On a machine without a GPU the CPU is checked, and what needs a GPU is named as skipped. Parts
that no longer fit into the minutes are named, too. Exit status 1 if a part failed.
"""
import argparse, importlib, itertools, json, math, platform, statistics, sys, time
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).parents[1]))
from sound_video.stylegan import kernels
from sound_video.stylegan.adversarial import stylegan_learner
from sound_video.stylegan.stylegan2 import Generator, StyleGAN2Config
from sound_video.stylegan.stylegan3 import StyleGAN3, StyleGAN3Config

class Skipped(Exception): "Why a part was not run."

def require(condition, words):
    if not condition: raise AssertionError(words)

def distance(a, b): # -> the largest difference, as a part of the largest value
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))

def wait(device):
    if device == 'cuda': torch.cuda.synchronize()

def seconds(f, device, repeats=5):
    "Median time of a call, the first two not counted."
    took = []
    for _ in range(repeats + 2):
        wait(device); start = time.perf_counter(); f(); wait(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[2:])

# --- operators

def calls(up, down): # yields name, f(x, b, impl)
    f = (torch.hann_window(4 * max(up, down) + 2, periodic=False)[1:-1] * up / (2 * max(up, down))).double()
    on = lambda x: f.to(x.device, torch.promote_types(x.dtype, torch.float32))
    pad = 2 * max(up, down)
    yield 'upfirdn2d', lambda x, b, impl: kernels.upfirdn2d(x, on(x), up=up, down=down, padding=pad, impl=impl)
    yield 'filtered_lrelu', lambda x, b, impl: kernels.filtered_lrelu_cuda(
        x, on(x), on(x), b, up, down, 4 * pad, clamp=4., impl=impl)
    if up == down == 1: yield 'bias_act', lambda x, b, impl: kernels.bias_act_cuda(x, b, clamp=4., impl=impl)

def value_and_gradients(f, x, b, impl):
    x, b = x.detach().requires_grad_(), b.detach().requires_grad_()
    y = f(x, b, impl)
    probe = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape).to(y)
    loss = (y.double() * probe.double()).sum() / y.numel()**.5
    return [t for t in (y, *torch.autograd.grad(loss, (x, b), allow_unused=True)) if t is not None]

def check_operators(device, args):
    "Values and gradients, against the definitions in double precision on the CPU."
    impl = 'cuda' if device == 'cuda' else 'auto'
    limits = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
    x = torch.randn(1, 4, 19, 21, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b, rows = torch.randn(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64), []
    for (up, down), (dtype, limit) in itertools.product(itertools.product((1, 2, 4), (1, 2, 4)), limits.items()):
        for name, f in calls(up, down):
            near = x.to(dtype).double(), b.to(dtype).double() # what the lower precision can hold
            want = value_and_gradients(f, *near, 'ref')
            got = value_and_gradients(f, x.to(device, dtype), b.to(device, dtype), impl)
            worst = max(map(distance, got, want))
            rows.append(dict(operator=name, up=up, down=down, dtype=str(dtype).split('.')[1], difference=worst))
            require(worst <= limit, f'{rows[-1]} is more than {limit:g}')
    worst = lambda dtype: max(r['difference'] for r in rows if r['dtype'] == dtype)
    return dict(cases=len(rows), worst={d: worst(d) for d in ('float32', 'float16', 'bfloat16')})

# --- generators

def settings(kind, resolution, small):
    "Arguments as in the published networks; small ones for a CPU."
    d = dict(z_dim=512, c_dim=0, w_dim=512, img_resolution=resolution, img_channels=3,
        mapping_kwargs=dict(num_layers=8 if kind == 'StyleGAN2' else 2))
    if kind == 'StyleGAN3-R': d |= dict(conv_kernel=1, use_radial_filters=True, channel_base=65536, channel_max=1024)
    return d | dict(channel_base=2048, channel_max=32) if small else d

KINDS = 'StyleGAN2', 'StyleGAN3-T', 'StyleGAN3-R'

def network(kind, d):
    torch.manual_seed(0)
    made = Generator(StyleGAN2Config.from_dict(d)) if kind == 'StyleGAN2' else StyleGAN3(StyleGAN3Config.from_dict(d))
    return made.eval().requires_grad_(False)

def picture(net, z, dtype=torch.float32):
    with torch.autocast(z.device.type, dtype, enabled=dtype != torch.float32): return net(z)

def check_generators(device, args):
    "The device against plain PyTorch on the CPU."
    out, z = {}, torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    for kind in KINDS:
        net = network(kind, settings(kind, 64, True)).requires_grad_(True) # with gradients, definitions are computed
        want = net(z)
        net = net.requires_grad_(False).to(device)
        out[kind] = {str(t).split('.')[1]: distance(picture(net, z.to(device), t), want)
            for t in (torch.float32, torch.bfloat16)}
        require(out[kind]['float32'] <= 1e-4, f'{kind}: {out[kind]}')
    return out

def check_peer(device, args):
    "The reference implementation with the same weights, at full width."
    if not args.peer: raise Skipped('no --peer')
    sys.path.insert(0, str(args.peer))
    def peer(kind): return importlib.import_module(f'training.networks_stylegan{kind[8]}').Generator
    out, z = {}, torch.randn(2, 512, generator=torch.Generator().manual_seed(0)).to(device)
    for kind in KINDS:
        d = settings(kind, 256, device == 'cpu')
        theirs = peer(kind)(**d).eval().to(device)
        ours = network(kind, d).to(device)
        ours.load_state_dict(theirs.state_dict())
        exact = dict(force_fp32=True) | (dict(noise_mode='const') if kind == 'StyleGAN2' else {})
        run = {'ours': lambda: ours(z), 'peer': lambda: theirs(z, None, **exact)}
        with torch.no_grad():
            out[kind] = dict(difference=distance(ours(z), theirs(z, None, **exact)),
                **{f'ms {k}': 1000 * seconds(f, device) for k, f in run.items()})
        require(out[kind]['difference'] <= 1e-3, f'{kind}: {out[kind]}')
    return out

def check_graphs(device, args):
    "A CUDA graph of the synthesis gives what the synthesis gives, and how much faster it does."
    if device != 'cuda': raise Skipped('CUDA graphs need a GPU')
    net = network('StyleGAN2', settings('StyleGAN2', 256, False)).cuda()
    w = net.mapping(torch.randn(1, 512, device='cuda')).contiguous() # it is written to
    with torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side): [net.synthesis(w) for _ in range(3)]
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): out = net.synthesis(w)
        w.copy_(net.mapping(torch.randn(1, 512, device='cuda')))
        graph.replay()
        found = distance(out, net.synthesis(w))
        require(found <= 1e-5, f'a replayed graph differs by {found:g}')
        return dict(difference=found, ms_graph=1000 * seconds(graph.replay, device),
            ms_plain=1000 * seconds(lambda: net.synthesis(w), device))

def check_memory(device, args):
    "What a batch of frames needs, beside the network."
    if device != 'cuda': raise Skipped('memory is measured on a GPU')
    out = {}
    for kind in KINDS:
        net = network(kind, settings(kind, 256, False)).cuda()
        z = torch.randn(16, 512, device='cuda')
        torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.no_grad(): net(z)
        more = torch.cuda.max_memory_allocated() - before
        out[kind] = dict(megabytes_network=before / 2**20, megabytes_frame=more / 16 / 2**20)
    return out

# --- training and speed

def check_training(device, args):
    "Two short trainings: steps a second, and losses that stay numbers."
    full, out = device == 'cuda', {}
    cfg = StyleGAN2Config(img_resolution=256 if full else 32, channel_base=16384 if full else 512,
        channel_max=512 if full else 16, z_dim=512 if full else 16, w_dim=512 if full else 16, num_layers=2)
    bs, steps = (32, 40) if full else (4, 6)
    torch.manual_seed(0)
    x = torch.rand(bs, 3, cfg.img_resolution, cfg.img_resolution, device=device) * 2 - 1
    for dtype in (torch.float32, torch.bfloat16):
        learn = stylegan_learner([(x,)] * steps, cfg, precision=dtype, seed=0)
        learn.model.to(device)
        wait(device); start = time.perf_counter()
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
        wait(device)
        losses = {k: float(v) for k, v in learn.term_values.items()}
        require(losses and all(map(math.isfinite, losses.values())), f'losses in {dtype}: {losses}')
        out[str(dtype).split('.')[1]] = dict(images_a_second=bs * steps / (time.perf_counter() - start), **losses)
    return out

def check_speed(device, args):
    "Frames a second."
    out, batch = {}, 16 if device == 'cuda' else 1
    for kind in KINDS:
        net = network(kind, settings(kind, 256, device == 'cpu')).to(device)
        z = torch.randn(batch, 512, device=device)
        with torch.no_grad():
            out[kind] = {str(t).split('.')[1]: batch / seconds(lambda t=t: picture(net, z, t), device)
                for t in ((torch.float32, torch.float16) if device == 'cuda' else (torch.float32,))}
    return out

PARTS = dict(operators=check_operators, generators=check_generators, training=check_training, speed=check_speed,
    graphs=check_graphs, memory=check_memory, peer=check_peer)

# --- the report

def about(device):
    name = torch.cuda.get_device_name() if device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    return dict(device=name, torch=torch.__version__, cuda=torch.version.cuda, python=platform.python_version(),
        kernels=kernels.kernel_line())

def run_part(name, device, args, left):
    if left <= 0: return dict(part=name, state='skipped', why='its minutes were used up')
    start = time.perf_counter()
    try: found = dict(state='passed', found=PARTS[name](device, args))
    except Skipped as e: found = dict(state='skipped', why=str(e))
    except Exception as e: found = dict(state='failed', why=f'{type(e).__name__}: {e}'[:2000])
    return dict(part=name, **found, seconds=round(time.perf_counter() - start, 2))

def short(v):
    if isinstance(v, dict): return ', '.join(f'{k} {short(x)}' for k, x in v.items())
    return f'{v:.3g}' if isinstance(v, float) else str(v)

def markdown(report):
    head = '\n'.join(f'- {k}: {v}' for k, v in report['about'].items())
    lines = [f"| {p['part']} | {p['state']} | {p.get('seconds', 0):.1f} | "
        f"{'<br>'.join(f'{k}: {short(v)}' for k, v in p['found'].items()) if 'found' in p else p['why']} |"
        for p in report['parts']]
    table = ['\n| part | state | s | found |', '|---|---|---|---|', *lines, '']
    return '\n'.join([f"# Check of {report['about']['device']}\n", head, *table])

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', type=Path, default=Path('out/gpu_check'), help='without ending: .json and .md are written')
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cuda', 'cpu'])
    p.add_argument('--minutes', type=float, default=8, help='no part is begun after so many (default: 8)')
    p.add_argument('--peer', type=Path, help="a clone of NVIDIA's stylegan3")
    p.add_argument('--only', nargs='+', choices=PARTS, metavar='PART', help=f"of {', '.join(PARTS)}")
    args = p.parse_args()
    end, report = time.perf_counter() + 60 * args.minutes, dict(about=about(args.device), parts=[])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name in args.only or PARTS:
        report['parts'].append(run_part(name, args.device, args, end - time.perf_counter()))
        done = report['parts'][-1]
        print(f"{name}: {done['state']}, {done.get('seconds', 0):.1f} s {done.get('why', '')}", flush=True)
        args.out.with_suffix('.json').write_text(json.dumps(report, indent=1) + '\n') # also if the next part hangs
        args.out.with_suffix('.md').write_text(markdown(report))
    sys.exit(any(d['state'] == 'failed' for d in report['parts']))

if __name__ == '__main__': main()
