"""How many frames a second does the world's renderer draw? Each scene, over all its kinds, with what stays still drawn
before: frames of 1280 × 720 and 512 × 512, interleaved, medians. Takes some minutes. Run by hand:
`python benchmarks/bench_film.py`."""
import argparse, statistics, time
import torch
from sound_video.world.clips import draw
from sound_video.world.drawing import Canvas
from sound_video.world.score import KINDS, SCENES, compose, kind_index

SIZES = {'1280 × 720': (720, 1280), '512 × 512': (512, 512)}

def places(scene): # one for each kind: (seed [1], a score)
    seeds = torch.arange(1000)
    found = [seeds[kind_index(scene, seeds) == k][:1] for k in range(len(KINDS[scene]))]
    return [(seed, compose(scene, seed, 8.)) for seed in found]

@torch.inference_mode()
def seconds(scene, seed, score, canvas, t):
    start = time.perf_counter()
    draw(scene, seed, score.at(torch.tensor([t])), canvas)
    return time.perf_counter() - start

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--frames', type=int, default=5, help='of each kind and size (default: 5)')
    p.add_argument('--threads', type=int, default=torch.get_num_threads(), help='(default: as many as torch takes)')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    rates = {size: [] for size in SIZES}
    print(f'{a.threads} threads; frames a second, and milliseconds for what stays still')
    print(f"{'':22}{''.join(f'{s:>14}' for s in SIZES)}{'still':>10}")
    for scene in SCENES:
        took, first = {size: [] for size in SIZES}, []
        for seed, score in places(scene):
            canvases = {size: Canvas(*shape, kept={}) for size, shape in SIZES.items()}
            first.append(seconds(scene, seed, score, canvases['1280 × 720'], 1.))
            seconds(scene, seed, score, canvases['512 × 512'], 1.)
            for k in range(a.frames):
                t = float(score.times[0, 1]) + .15 * k
                for size, canvas in canvases.items(): took[size].append(seconds(scene, seed, score, canvas, t))
        each = {size: 1 / statistics.median(x) for size, x in took.items()}
        for size, r in each.items(): rates[size].append(r)
        shown = ''.join(f'{r:14.1f}' for r in each.values())
        print(f'{scene:22}{shown}{1e3 * statistics.median(first):10.0f}', flush=True)
    print(f"{'mean':22}{''.join(f'{statistics.mean(r):14.1f}' for r in rates.values())}")

if __name__ == '__main__': main()
