"""How fast is the world drawn? Frames per second of each scene, for clips (one seed, many moments) and stills (many
seeds).

    python benchmarks/bench_world.py [--sizes 64 128 256] [--threads 2] [--device cpu] [--frames 64] [--repeats 3]
        [--scenes thunder …]
"""
import argparse, statistics, time
import torch
from sound_video.world.score import SCENES, compose
from sound_video.world.clips import render_frames, stills

def parse_args():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--sizes', type=int, nargs='+', default=[64, 128, 256], help='pixels of a side')
    p.add_argument('--scenes', nargs='+', default=SCENES, choices=SCENES, metavar='SCENE')
    p.add_argument('--threads', type=int, default=2, help="torch's threads")
    p.add_argument('--device', default='cpu')
    p.add_argument('--frames', type=int, default=64, help='frames in a batch')
    p.add_argument('--repeats', type=int, default=3, help='the median of so many counts')
    return p.parse_args()

def draw_clip(scene, seed, n, size, device):
    "All frames of a clip of n/30 seconds, on the CPU as uint8."
    score = compose(scene, torch.tensor([seed]), n / 30)
    for _ in render_frames(scene, seed, score, (torch.arange(n) + .5) / 30, size, device, batch=n): pass

def draw_stills(scene, seed, n, size, device):
    stills(scene, torch.arange(seed * n, (seed + 1) * n, device=device), size).cpu()

def rate(draw, scene, a, size): # -> frames/s
    "Median over several seeds, after a first one that does not count."
    took = []
    for seed in range(a.repeats + 1):
        start = time.perf_counter()
        draw(scene, seed, a.frames, size, a.device)
        took.append(time.perf_counter() - start)
    return a.frames / statistics.median(took[1:])

def main():
    a = parse_args()
    torch.set_num_threads(a.threads)
    print(f'frames per second, {a.device}, {a.threads} threads, batches of {a.frames}, median of {a.repeats}\n')
    columns = [(what, draw, size) for what, draw in (('clips', draw_clip), ('stills', draw_stills)) for size in a.sizes]
    print(f"{'scene':20}" + ''.join(f'{what + " " + str(size):>12}' for what, _, size in columns))
    slowest = dict.fromkeys(range(len(columns)), float('inf'))
    for scene in a.scenes:
        found = [rate(draw, scene, a, size) for _, draw, size in columns]
        slowest = {i: min(slowest[i], r) for i, r in enumerate(found)}
        print(f'{scene:20}' + ''.join(f'{r:12.0f}' for r in found), flush=True)
    print(f"{'slowest':20}" + ''.join(f'{r:12.0f}' for r in slowest.values()))

if __name__ == '__main__': main()
