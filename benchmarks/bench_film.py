"""How many frames a second does the world's renderer draw, and how many milliseconds of processor time does one take?
Of each scene, over all its kinds, a film of 1280 × 720 and of 512 × 512 that is drawn without being saved, after its
first frame. Also the milliseconds of x264 for a frame of one of these films. Takes some minutes. Run by hand:
`python benchmarks/bench_film.py`."""
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

def drawing(film): # frames a second and milliseconds of processor time a frame, after the first, when others are begun
    frames = film.frames()
    next(frames)
    start, busy = time.perf_counter(), time.process_time()
    n = sum(len(x) for x in frames)
    return n / (time.perf_counter() - start), 1e3 * (time.process_time() - busy) / n

def encoding(film): # milliseconds of processor time a frame
    frames = list(film.frames())
    with tempfile.TemporaryDirectory() as folder:
        busy = time.process_time()
        write_video(Path(folder)/'film.mp4', iter(frames), FPS)
        return 1e3 * (time.process_time() - busy) / sum(map(len, frames))

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--frames', type=int, default=8, help='of each kind and size that are timed (default: 8)')
    p.add_argument('--threads', type=int, default=torch.get_num_threads(), help='(default: as many as torch takes)')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    means = {size: [] for size in SIZES}
    print(f"{a.threads} threads{'':13}{''.join(f'{s:>28}' for s in SIZES)}")
    print(f"{'':22}{'   frames/s  ms drawn ms x264' * len(SIZES)}")
    cells = '{:11.1f}{:9.0f}{:8.0f}'.format
    def row(name, numbers): print(f'{name:22}' + ''.join(cells(*x) for x in numbers), flush=True)
    for scene in SCENES:
        each = {size: [] for size in SIZES}
        for film in films(scene, 1 + a.frames):
            for size, f in film.items(): each[size].append(drawing(f))
        for size, x in each.items(): means[size].append([*map(statistics.median, zip(*x)), encoding(film[size])])
        row(scene, [x[-1] for x in means.values()])
    row('mean', [list(map(statistics.mean, zip(*x))) for x in means.values()])

if __name__ == '__main__': main()
