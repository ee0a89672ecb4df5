"""Generators of packs beside the world's stills at 256 pixels.

`fid` and `scene`: Fréchet distance and the scenes that are named rightly, by the image classifier of the shipped pack,
which looks at 64 pixels. `diversity`: how far samples of a class are apart; `detail`: the energy of the finest band;
both as a share of the stills'.

python benchmarks/table_generators.py [PACK ...]    (default: the pack that comes with the package)"""
import argparse, json
from pathlib import Path
import torch, torch.nn.functional as F
from torchvision.utils import make_grid, save_image
from sound_video.app.packs import load_pack, scenes_of
from sound_video.app.pack_config import default_pack
from sound_video.app.training import mini_image_classifier, shrink
from sound_video.core.devices import progress
from sound_video.metrics.images import fid, scene_accuracy
from sound_video.stylegan.autoencoder_training import laplacian_pyramid
from sound_video.world.clips import split_seeds, stills
from sound_video.world.score import KIND_NAMES, SCENES, kind_label

def world(n, size=256):
    "Validation stills [n, 3, size, size] in batches of nine, and their classes [n]."
    seeds = split_seeds('valid', n // len(SCENES))
    classes = torch.stack([kind_label(s, seeds) for s in SCENES], 1).flatten()
    return [torch.cat([stills(s, seeds[i:i+1], size) for s in SCENES]) for i in progress(range(len(seeds)))], classes

@torch.no_grad()
def samples(G, classes, seed=0, batch=9):
    "An image of each class, in batches."
    z = torch.randn(len(classes), G.cfg.z_dim, generator=torch.Generator().manual_seed(seed))
    return [G(a, c).clamp(-1, 1) for a, c in zip(z.split(batch), classes.split(batch))]

def diversity(images, classes): # [N, 3, 64, 64], [N]
    "Mean distance between images of a class, averaged to 8 × 8 pixels."
    x = F.avg_pool2d(images, images.shape[-1] // 8).flatten(1)
    of = [x[classes == c] for c in classes.unique()]
    return float(torch.stack([torch.pdist(y).mean() for y in of if len(y) > 2]).mean())

def detail(images): # batches [B, 3, H, W]
    "Mean square of the finest band."
    return sum(float(laplacian_pyramid(x, 1)[0].square().mean()) for x in images) / len(images)

def measure(images, classes, real, net):
    "The measures of batches of images, as shares of the stills' where the name says so."
    small = lambda batches: [shrink(x, 64) for x in batches]
    a, b, of = small(images), small(real), scenes_of(KIND_NAMES)[1]
    right = [scene_accuracy(x, of[c], net) * len(x) for x, c in zip(a, classes.split(9))]
    full = [F.interpolate(x, size=256, mode='bilinear') if x.shape[-1] < 256 else shrink(x, 256) for x in images]
    return dict(
        fid=round(fid(b, a, net), 2), scene=round(sum(right) / len(classes), 3),
        diversity=round(diversity(torch.cat(a), classes) / diversity(torch.cat(b), classes), 2),
        detail=round(detail(full) / detail(real), 2))

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('packs', nargs='*', type=Path, default=[default_pack()])
    parser.add_argument('--n', type=int, default=450, help='stills and samples (default: 450)')
    parser.add_argument('--sheet', type=Path, help='folder for a sheet of samples of each pack')
    a = parser.parse_args()
    generators = {path: load_pack(path)[0] for path in a.packs}
    for path, G in generators.items():
        if G.cfg.c_dim != len(KIND_NAMES): parser.error(f"'{path}' does not make the world's {len(KIND_NAMES)} kinds")
    (real, classes), net = world(a.n), mini_image_classifier()
    print(json.dumps(dict(stills=len(classes))))
    for path, G in generators.items():
        images = samples(G, classes)
        print(json.dumps(dict(pack=path.name) | measure(images, classes, real, net)), flush=True)
        if a.sheet:
            a.sheet.mkdir(exist_ok=True, parents=True)
            grid = make_grid(torch.cat(images[:8]), 9, normalize=True, value_range=(-1, 1))
            save_image(grid, a.sheet/f'{path.name}.png')

if __name__ == '__main__': main()
