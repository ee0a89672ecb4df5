"""How long does a command take from start to end, beside importing torch? Interleaved, in processes of their own;
medians in seconds. `arithmetic` is what the same call takes in a process that has made it once. Run by hand: `python
benchmarks/bench_start.py`."""
import argparse, os, statistics, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, soundfile

def timed(words, cwd):
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True)
    return time.perf_counter() - start

WARM = '''
import time
from sound_video.app.edit import SoundVideo
sv = SoundVideo.load(device='cpu')
def generate(): sv.generate('noise.wav', fps=30).save('out.mp4')
def name(): sv.name('noise.wav')
for f in (generate, name):
    f(); start = time.perf_counter(); f(); print(f.__name__, time.perf_counter() - start)
'''

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--repeats', type=int, default=5)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        rng = np.random.default_rng(0)
        soundfile.write(Path(d)/'noise.wav', .1 * rng.standard_normal(5 * 22050), 22050)
        calls = {
            'import torch': ['-c', 'import torch'],
            'import sound_video.all': ['-c', 'import sound_video.all'],
            'name': ['-m', 'sound_video', 'name', 'noise.wav'],
            'generate': ['-m', 'sound_video', 'generate', 'noise.wav', '-o', 'out.mp4'],
            'a mistake': ['-m', 'sound_video', 'generate', 'noise.wav', '--class', 'roar'],
        }
        took = {name: [] for name in calls}
        for words in calls.values(): timed(words, d) # files in memory
        for _ in range(a.repeats):
            for name, words in calls.items(): took[name].append(timed(words, d))
        torch = statistics.median(took['import torch'])
        for name, seconds in took.items():
            s = statistics.median(seconds)
            print(f'{name:24} {s:5.2f} s   {s / torch:.2f} times torch')
        env = os.environ | dict(OMP_WAIT_POLICY='PASSIVE') # as the commands set it
        said = subprocess.run([sys.executable, '-c', WARM], cwd=d, env=env, capture_output=True, text=True).stdout
        for name, seconds in map(str.split, said.splitlines()): print(f'arithmetic of {name}: {float(seconds):.2f} s')

if __name__ == '__main__': main()
