"""How fast is a sound heard, and in how much memory? Embeds a sound of some minutes and a longer one, each in a process
of its own.

    python benchmarks/bench_hearing.py [--minutes 5 60] [--threads 2] [--rate 44100] [--channels 2] [--pack DIR]
"""
import argparse, json, resource, subprocess, sys, tempfile, time
from pathlib import Path

def parse_args():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--minutes', type=float, nargs='+', default=[5., 60.])
    p.add_argument('--threads', type=int, default=2, help="torch's threads")
    p.add_argument('--rate', type=int, default=44100, help='Hz of the sound')
    p.add_argument('--channels', type=int, default=2)
    p.add_argument('--pack', help='the model (default: the one that comes with the package)')
    p.add_argument('--file', help=argparse.SUPPRESS) # what a child process embeds
    return p.parse_args()

def write_sound(path, minutes, rate, channels):
    "A minute of rain, over and over, as FLAC."
    import soundfile, torch
    from sound_video.world.score import compose
    from sound_video.world.soundscape import synthesise
    minute = synthesise('raining', 9, compose('raining', torch.tensor([9]), min(60., 60 * minutes)), rate, channels).T
    with soundfile.SoundFile(path, 'w', rate, channels) as f:
        for _ in range(max(1, round(minutes))): f.write(minute)

def child(a):
    "Embed one file; times and peak memory as JSON."
    import torch
    from sound_video.app.edit import SoundVideo
    torch.set_num_threads(a.threads)
    hearing = SoundVideo.load(a.pack, 'cpu').hearing
    start, cpu = time.perf_counter(), time.process_time()
    starts, vectors, _ = hearing.embed(a.file)
    print(
        json.dumps(
            dict(
                windows=len(vectors),
                seconds=time.perf_counter() - start,
                cpu=time.process_time() - cpu,
                megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            )
        )
    )

def main():
    a = parse_args()
    if a.file: return child(a)
    print(
        f'{a.channels} channels at {a.rate} Hz, {a.threads} threads\n\n| minutes | windows | seconds | × real time |'
        ' CPU seconds | peak MB |\n|---|---|---|---|---|---|'
    )
    with tempfile.TemporaryDirectory() as tmp:
        for m in a.minutes:
            path = Path(tmp)/f'{m:g}.flac'
            write_sound(path, m, a.rate, a.channels)
            again = [sys.executable, __file__, '--file', str(path), '--threads', str(a.threads)] + (
                ['--pack', a.pack] if a.pack else []
            )
            r = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
            print(
                f"| {m:g} | {r['windows']} | {r['seconds']:.1f} | {60 * m / r['seconds']:.0f} | {r['cpu']:.1f} |"
                f" {r['megabytes']:.0f} |",
                flush=True,
            )

if __name__ == '__main__': main()
