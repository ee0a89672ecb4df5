"""How many frames a second does the world's renderer draw? Each scene, over all its kinds, as a film that is drawn
without being saved, after its first frames: 1280 × 720 and 512 × 512. Also what x264 takes for one of these films.
Takes some minutes. Run by hand: `python benchmarks/bench_film.py`."""
import argparse, statistics, tempfile, time
from fractions import Fraction
from pathlib import Path
import torch
from sound_video.media.videos import write_video
from sound_video.world.drawing import Canvas
from sound_video.world.renderer import Shot, WorldFrames
from sound_video.world.score import KINDS, SCENES, compose, kind_index

SIZES = {'1280 × 720': (720, 1280), '512 × 512': (512, 512)}
FPS = 7 # frames that are so far apart see an event and what follows it

def films(scene, n): # one for each kind and size, of n frames: {size: film}
    seeds = torch.arange(1000)
    for k in range(len(KINDS[scene])):
        seed = seeds[kind_index(scene, seeds) == k][:1]
        score = compose(scene, seed, 8.)
        shot = Shot(scene, 0., 8., score, int(seed))
        yield {size: WorldFrames([shot], Canvas(*shape), n, Fraction(FPS)) for size, shape in SIZES.items()}

def rate(film, skip): # frames a second, after some
    frames = film.frames()
    for _ in range(skip): next(frames)
    start = time.perf_counter()
    n = sum(len(x) for x in frames)
    return n / (time.perf_counter() - start)

def encoding(film): # frames a second of the encoder alone
    frames = list(film.frames())
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_video(Path(folder)/'film.mp4', iter(frames), FPS)
        return sum(map(len, frames)) / (time.perf_counter() - start)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--frames', type=int, default=8, help='of each kind and size that are timed (default: 8)')
    p.add_argument('--threads', type=int, default=torch.get_num_threads(), help='(default: as many as torch takes)')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    rates, skip = {size: [] for size in SIZES}, a.threads + 1
    print(f'{a.threads} threads; frames a second, drawn and encoded')
    print(f"{'':22}{''.join(f'{s:>14}{chr(32) * 3}x264' for s in SIZES)}")
    for scene in SCENES:
        each = {size: [] for size in SIZES}
        for film in films(scene, skip + a.frames):
            for size, f in film.items(): each[size].append(rate(f, skip))
        median = {size: statistics.median(r) for size, r in each.items()}
        for size, r in median.items(): rates[size].append(r)
        print(f'{scene:22}' + ''.join(f'{median[s]:14.1f}{encoding(f):7.0f}' for s, f in film.items()), flush=True)
    print(f"{'mean':22}{''.join(f'{statistics.mean(r):14.1f}{chr(32) * 7}' for r in rates.values())}")

if __name__ == '__main__': main()
