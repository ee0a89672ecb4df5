"""How fast the operators are, implementation against implementation.

    python benchmarks/bench_ops.py [--device cpu|cuda] [--batch N] [--dtype float32|float16|bfloat16] [--repeats 5]
        [--json]

Implementations take turns within one process; times are medians, and ratios are to the definition (`ref`) of the same
row. 'forward' is without gradients, 'both' is forward and backward.
On a GPU there is a column GB/s for the kernels: the bytes that must move at least (input, output, codes for the
gradient; on the way back the gradients and the codes), over the time. Beside it stands the
speed of a copy of 256 MB, which is what the memory can do.
"""
import argparse, json, statistics, time
import torch
from sound_video.stylegan import kernels

def lowpass(n): # Hann window, sum 1
    w = torch.hann_window(n + 2, periodic=False)[1:-1]
    return w / w.sum()

def cases(batch, device): # yields name, function of (x, b, impl), shape, upsampling of the middle
    f4,f12,f24 = (lowpass(n).to(device) for n in (4, 12, 24))
    for C,n in ((512, 16), (128, 64), (32, 256)):
        yield (
            f'bias_act {C}×{n}²',
            lambda x, b, impl: kernels.bias_act_cuda(x, b, clamp=256.0, impl=impl),
            (batch, C, n, n),
            1,
        )
        yield (
            f'blur {C}×{n}²',
            lambda x, b, impl: kernels.upfirdn2d(x, f4, padding=(2, 1, 2, 1), impl=impl),
            (batch, C, n, n),
            0,
        )
        yield (
            f'up 2 {C}×{n}²',
            lambda x, b, impl: kernels.upfirdn2d(x, f4, up=2, padding=(2, 1, 2, 1), gain=4.0, impl=impl),
            (batch, C, n, n),
            0,
        )
        yield (
            f'down 2 {C}×{n}²',
            lambda x, b, impl: kernels.upfirdn2d(x, f4, down=2, padding=1, impl=impl),
            (batch, C, n, n),
            0,
        )
        yield (
            f'filtered 2/2 {C}×{n}²',
            lambda x, b, impl: kernels.filtered_lrelu_cuda(
                x, f12, f12, b, 2, 2, (11, 10, 11, 10), clamp=256.0, impl=impl
            ),
            (batch, C, n, n),
            2,
        )
        yield (
            f'filtered 4/2 {C}×{n}²',
            lambda x, b, impl: kernels.filtered_lrelu_cuda(
                x, f24, f12, b, 4, 2, (17, 16, 17, 16), clamp=256.0, impl=impl
            ),
            (batch, C, n, n),
            4,
        )

def seconds(f, device):
    if device == 'cuda':
        start,end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(); f(); end.record(); end.synchronize()
        return start.elapsed_time(end)/1000
    start = time.perf_counter(); f()
    return time.perf_counter() - start

def take_turns(ways, device, repeats): # {name: function} -> {name: median s}
    for f in ways.values(): f(), f()
    runs = [{name: seconds(f, device) for name,f in ways.items()} for _ in range(repeats)]
    return {name: statistics.median(r[name] for r in runs) for name in ways}

def least_bytes(x, y, middle): # -> forward without gradient, forward and backward
    io, codes = x.nbytes + y.nbytes, x.numel() * middle**2 / 4
    return io, 2*io + 2*codes

def measure(name, call, shape, middle, dtype, device, repeats): # yields a row for each of forward, both
    x,b = torch.randn(shape, device=device).to(dtype), torch.randn(shape[1], device=device).to(dtype)
    if device == 'cpu':
        x = x[:, : max(1, shape[1] // 8)].contiguous()
        b = b[: x.shape[1]]  # an eighth of the channels: a GPU's layers are too much for it
    y = call(x, b, 'auto')
    g = torch.randn_like(y)
    def forward(impl):
        with torch.no_grad(): call(x, b, impl)
    def both(impl): torch.autograd.grad(call(x.requires_grad_(), b, impl), x, g)
    for what,f,n in zip(('forward', 'both'), (forward, both), least_bytes(x, y, middle)):
        took = take_turns(
            {impl: lambda impl=impl: f(impl) for impl in ('ref', 'cpu' if device == 'cpu' else 'cuda')}, device, repeats
        )
        yield dict(
            case=name,
            pass_=what,
            ms={k: 1000 * t for k, t in took.items()},
            ratio={k: took['ref'] / t for k, t in took.items() if k != 'ref'},
            gb_s={k: n / t / 1e9 for k, t in took.items()} if device == 'cuda' else None,
        )

def copy_speed(device, repeats): # GB/s
    a = torch.empty(256*2**20, dtype=torch.uint8, device=device); b = torch.empty_like(a)
    return 2*a.nbytes / take_turns({'copy': lambda: b.copy_(a)}, device, repeats)['copy'] / 1e9

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', choices=['cpu', 'cuda'])
    p.add_argument('--batch', type=int, help='pictures (default: 16 on a GPU, 1 on a CPU)')
    p.add_argument('--dtype', default='float32', choices=['float32', 'float16', 'bfloat16'])
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--json', action='store_true', help='one JSON object')
    a = p.parse_args()
    dtype, batch = getattr(torch, a.dtype), a.batch or (16 if a.device == 'cuda' else 1)
    report = dict(
        device=torch.cuda.get_device_name() if a.device == 'cuda' else 'cpu',
        threads=torch.get_num_threads(),
        kernels=kernels.kernel_state(),
        batch=batch,
        dtype=a.dtype,
        copy_gb_s=copy_speed(a.device, a.repeats) if a.device == 'cuda' else None,
        rows=[],
    )
    if not a.json:
        print(
            f"{report['device']}, {a.dtype}, batch {batch}, {kernels.kernel_line()}\n\n| case | pass | ref ms | fast ms"
            " | ratio | GB/s |\n|---|---|---|---|---|---|"
        )
    for case in cases(batch, a.device):
        for row in measure(*case, dtype, a.device, a.repeats):
            report['rows'].append(row)
            (fast,ratio), = row['ratio'].items()
            if not a.json:
                print(
                    f"| {row['case']} | {row['pass_']} | {row['ms']['ref']:.2f} | {fast} {row['ms'][fast]:.2f} |"
                    f" {ratio:.2f} | {'%.0f' % row['gb_s'][fast] if row['gb_s'] else ''} |",
                    flush=True,
                )
    if a.json: print(json.dumps(report))
    elif report['copy_gb_s']: print(f"\nA copy moves {report['copy_gb_s']:.0f} GB/s.")

if __name__ == '__main__': main()
