"""How far pictures in half precision are from pictures in float32, for many random codes.

    python benchmarks/bench_precision.py [--codes 1000] [--resolution 64] [--kinds 2 t r] [--dtypes float16 bfloat16] [--device cpu]

Networks have random weights, with biases, noise strengths and magnitudes that are not trivial. A difference is the largest of a picture's pixels, as a part of the range that all float32 pictures have together; in the last column, of the range of the
picture itself, which is small where a picture has little contrast.
"""
import argparse, sys
from pathlib import Path
import torch
sys.path.insert(0, str(Path(__file__).parents[1]))
from sound_video.stylegan import Generator, StyleGAN2Config
from sound_video.stylegan3 import StyleGAN3, StyleGAN3Config

NAMES = {'2': 'StyleGAN2', 't': 'StyleGAN3-T', 'r': 'StyleGAN3-R'}

def network(kind, resolution):
    torch.manual_seed(0)
    d = dict(z_dim=64, w_dim=64, img_resolution=resolution, channel_base=2048, channel_max=64)
    G = Generator(StyleGAN2Config(**d)) if kind == '2' else StyleGAN3(StyleGAN3Config(**d | (dict(conv_kernel=1, use_radial_filters=True) if kind == 'r' else {})))
    for name,v in G.synthesis.state_dict().items():
        if name.endswith('.bias') or name.endswith('noise_strength'): v += torch.randn_like(v) * .2
        if name.endswith('magnitude_ema'): v.uniform_(.3, 3)
    return G.eval()

@torch.no_grad()
def differences(G, dtype, codes, batch=8, device='cpu'): # -> of each picture: largest difference, lowest value, highest value
    "Also checks that every number is one."
    G,rows = G.to(device),[]
    for start in range(0, codes, batch):
        w = G.mapping(torch.randn(min(batch, codes - start), 64, generator=torch.Generator().manual_seed(start)).to(device))
        want = G.synthesis(w)
        with torch.autocast(device, dtype): got = G.synthesis(w)
        assert got.isfinite().all(), 'a number is not one'
        rows.append(torch.stack([(got - want).abs().amax((1,2,3)), want.amin((1,2,3)), want.amax((1,2,3))]))
    return torch.cat(rows, 1).cpu()

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--codes', type=int, default=1000); p.add_argument('--resolution', type=int, default=64); p.add_argument('--kinds', nargs='+', default=list(NAMES), choices=list(NAMES))
    p.add_argument('--dtypes', nargs='+', default=['float16', 'bfloat16']); p.add_argument('--device', default='cpu')
    a = p.parse_args()
    print('| network | precision | codes | median | largest | of its own range |\n|---|---|---|---|---|---|')
    for kind in a.kinds:
        G = network(kind, a.resolution)
        for dtype in a.dtypes:
            off,low,high = differences(G, getattr(torch, dtype), a.codes, device=a.device)
            together = 100*off / (high.max() - low.min())
            print(f'| {NAMES[kind]} {a.resolution} | {dtype} | {a.codes} | {together.median():.3f} % | {together.max():.3f} % | {(100*off / (high - low)).max():.3f} % |', flush=True)

if __name__ == '__main__': main()
