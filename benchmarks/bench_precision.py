"""How far pictures in half precision are from pictures in float32, for many random codes.

    python benchmarks/bench_precision.py [--codes 1000] [--resolution 32] [--kinds mini 2 t r] [--published]
        [--dtypes float16 bfloat16] [--device cpu]

`mini` is the shipped model's generator, which is trained, with all of its classes. The others have random weights, with
biases, noise strengths and magnitudes that are not trivial, and with --published the numbers of channels of the
published networks. A difference is the largest of a picture's pixels. It is told as a part of the range that all
float32 pictures have together, and, in the last columns, of the range of the picture itself: the largest such part, and
how
much of the common range that picture has. With random weights some pictures have hardly any contrast.
"""
import argparse, sys
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).parents[1]))
from sound_video.stylegan.stylegan2 import Generator, StyleGAN2Config
from sound_video.stylegan.stylegan3 import StyleGAN3, StyleGAN3Config

NAMES = {'mini': 'mini, trained', '2': 'StyleGAN2', 't': 'StyleGAN3-T', 'r': 'StyleGAN3-R'}

def settings(kind, resolution, published):
    d = dict(img_resolution=resolution) | (
        dict(channel_base=65536, channel_max=1024)
        if kind == 'r' and published
        else {} if published else dict(z_dim=64, w_dim=64, channel_base=2048, channel_max=64)
    )
    if kind == '2': return StyleGAN2Config(**d)
    return StyleGAN3Config(**d | (dict(conv_kernel=1, use_radial_filters=True) if kind == 'r' else {}))

def network(kind, resolution, published=False):
    if kind == 'mini':
        from sound_video.app.edit import SoundVideo
        return SoundVideo.load().generator
    torch.manual_seed(0)
    G = (Generator if kind == '2' else StyleGAN3)(settings(kind, resolution, published))
    for name,v in G.synthesis.state_dict().items():
        if name.endswith('.bias') or name.endswith('noise_strength'): v += torch.randn_like(v) * .2
        if name.endswith('magnitude_ema'): v.uniform_(.3, 3)
    return G.eval()

def random_latents(G, start, n): # -> w [n, L, D], of all classes in turn
    z,k = torch.randn(n, G.cfg.z_dim, generator=torch.Generator().manual_seed(start)),G.cfg.c_dim
    w_avg = G.mapping.w_avg
    return G.mapping(z.to(w_avg), torch.arange(start, start + n, device=w_avg.device) % k if k else None)

@torch.no_grad()
def differences(
    G, dtype, codes, batch=8, device='cpu'
):  # -> of each picture: largest difference, lowest value, highest value
    "Also checks that every number is one."
    G,rows = G.to(device),[]
    for start in range(0, codes, batch):
        w = random_latents(G, start, min(batch, codes - start))
        want = G.synthesis(w)
        with torch.autocast(device, dtype): got = G.synthesis(w)
        assert got.isfinite().all(), 'a number is not one'
        rows.append(torch.stack([(got - want).abs().amax((1,2,3)), want.amin((1,2,3)), want.amax((1,2,3))]))
    return torch.cat(rows, 1).cpu()

def row(off, low, high): # -> the numbers of a line, per cent
    every,own = high.max() - low.min(),off / (high - low)
    parts = (off/every).median(),(off/every).max(),own.median(),own.max(),((high - low)/every)[own.argmax()]
    return ' | '.join(f'{100*p:.2f} %' for p in parts)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--codes', type=int, default=1000)
    p.add_argument('--resolution', type=int, default=32)
    p.add_argument('--kinds', nargs='+', default=list(NAMES), choices=list(NAMES))
    p.add_argument('--published', action='store_true')
    p.add_argument('--dtypes', nargs='+', default=['float16', 'bfloat16'])
    p.add_argument('--device', default='cpu')
    a = p.parse_args()
    print(
        '| network | precision | codes | median | largest | of its own range: median | largest | with a range of'
        ' |\n|---|---|---|---|---|---|---|---|'
    )
    for kind in a.kinds:
        G = network(kind, a.resolution, a.published)
        for dtype in a.dtypes:
            print(
                f'| {NAMES[kind]} {G.cfg.img_resolution} | {dtype} | {a.codes} |'
                f' {row(*differences(G, getattr(torch, dtype), a.codes, 2 if a.published else 8, a.device))} |',
                flush=True,
            )

if __name__ == '__main__': main()
