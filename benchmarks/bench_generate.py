"""How fast `sound-video generate` is and how much memory it needs, for a short and a long sound.

    python benchmarks/bench_generate.py [--pack DIR] [--minutes 1 30] [--fps 30]

The sound is noise that swells. A real-time factor of 2 means that a minute of sound takes half a minute. Each row is a
process of its own.
"""
import argparse, os, subprocess, sys, tempfile, time
import numpy as np, soundfile

def write_sound(path, minutes, rate=44100):
    "Swelling noise in stereo, a minute at a time."
    rng, t = np.random.default_rng(0), np.arange(60*rate) / rate
    with soundfile.SoundFile(path, 'w', rate, 2) as f:
        for _ in range(minutes): f.write(.2 * rng.standard_normal((60*rate, 2)) * np.abs(np.sin(t))[:, None])

def measure(words): # -> s, MB
    "Run a command to its end."
    start = time.time()
    p = subprocess.Popen([sys.executable, '-m', 'sound_video', *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = status
    if status: sys.exit('the command failed')
    return time.time() - start, usage.ru_maxrss / (1e6 if sys.platform == 'darwin' else 1e3)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--pack', help='the model (default: the one that comes with the package)')
    p.add_argument('--minutes', type=int, nargs='+', default=[1, 30])
    p.add_argument('--fps', default='30')
    a = p.parse_args()
    print('| sound | time | real-time factor | peak memory |\n|---|---|---|---|')
    with tempfile.TemporaryDirectory() as d:
        for minutes in a.minutes:
            write_sound(f'{d}/s.wav', minutes)
            s, mb = measure(
                ['generate', f'{d}/s.wav', '-o', f'{d}/s.mp4', '--fps', a.fps] + (['--pack', a.pack] if a.pack else [])
            )
            print(f'| {minutes} min | {s:.0f} s | {60*minutes/s:.2f} | {mb:.0f} MB |', flush=True)

if __name__ == '__main__': main()
