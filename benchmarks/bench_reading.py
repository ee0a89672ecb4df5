"""How fast are windows of clips read? Ours beside the readers that are installed, in turns, on curated clips and on the
films that they were cut from.

    python benchmarks/bench_reading.py [--films 2] [--seconds 30] [--size 256] [--repeats 7] [--windows 8]
        [--workers 0 1 2]

A window is two seconds somewhere: 20 pictures of 64 × 64 pixels at 10 frames a second, and their sound at 22050 Hz.
Every reader runs on one thread; what cannot be imported is named.
"""
import argparse, logging, random, statistics, tempfile, time
from pathlib import Path
import numpy as np, torch
from sound_video.data.curation import curate
from sound_video.data.clips import FolderClips, SeededLoader, check_clips, find_clips
from sound_video.media.timing import frame_times
from sound_video.media.videos import probe, read_frames
from sound_video.media.sounds import read_sound
from sound_video.world.clips import render

SECONDS, FPS, SIZE, RATE = 2., 10, 64, 22050
TIMES = frame_times(round(SECONDS * FPS), FPS)

def parse_args():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--films', type=int, default=2)
    p.add_argument('--seconds', type=float, default=30., help='length of a film')
    p.add_argument('--size', type=int, default=256, help='pixels of a side')
    p.add_argument('--repeats', type=int, default=7, help='medians over so many turns')
    p.add_argument('--windows', type=int, default=8, help='read in a turn')
    p.add_argument('--workers', type=int, nargs='*', default=[0, 1, 2], help='processes of the DataLoader')
    return p.parse_args()

# A reader: path, start in s, frames a second of the file -> uint8 [20, 64, 64, 3], and a function of path and start
# for the sound, or None.

def ours():
    return (lambda path, start, fps: read_frames(path, FPS, SIZE, start, SECONDS)), (
        lambda path, start: read_sound(path, RATE, True, start, SECONDS)[0]
    )

def small(x): # uint8 [T, 3, H, W] -> [T, SIZE, SIZE, 3]
    return torch.nn.functional.interpolate(x.float(), (SIZE, SIZE), mode='area').byte().permute(0, 2, 3, 1).numpy()

def torchcodec():
    from torchcodec.decoders import AudioDecoder, VideoDecoder
    def see(path, start, fps):
        return small(
            VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode='approximate')
            .get_frames_played_at(torch.as_tensor(start + TIMES))
            .data
        )
    def hear(path, start):
        return (
            AudioDecoder(str(path), sample_rate=RATE, num_channels=1)
            .get_samples_played_in_range(start, start + SECONDS)
            .data
        )
    return see, hear

def decord():
    import decord as d
    def see(path, start, fps):
        return (
            d.VideoReader(str(path), width=SIZE, height=SIZE, num_threads=1)
            .get_batch(((start + TIMES) * fps).astype(int))
            .asnumpy()
        )
    def hear(path, start):
        return d.AudioReader(str(path), sample_rate=RATE, mono=True)[
            round(start * RATE) : round((start + SECONDS) * RATE)
        ].asnumpy()  # decodes the whole file
    return see, hear

def opencv():
    import cv2
    cv2.setNumThreads(1)
    def see(path, start, fps):
        c, want = cv2.VideoCapture(str(path)), ((start + TIMES) * fps).astype(int)
        c.set(cv2.CAP_PROP_POS_FRAMES, want[0])
        got = []
        for k in range(want[0], want[-1] + 1):
            c.grab()
            if k in want: got.append(cv2.resize(c.retrieve()[1], (SIZE, SIZE), interpolation=cv2.INTER_AREA)[..., ::-1])
        return np.stack(got)
    return see, None

def torchvision():
    from torchvision.io import read_video
    def see(path, start, fps):
        x = read_video(str(path), start, start + SECONDS, pts_unit='sec', output_format='TCHW')[0]
        return small(x[(TIMES * len(x) / SECONDS).astype(int)])
    return see, None # reads the sound too, in the same call

def imageio_ffmpeg():
    import imageio_ffmpeg as m
    logging.getLogger('imageio_ffmpeg').disabled = True # says that the size is another
    def see(path, start, fps):
        it = m.read_frames(
            str(path),
            input_params=['-ss', f'{start:.3f}', '-threads', '1'],
            output_params=['-t', str(SECONDS), '-vf', f'fps={FPS},scale={SIZE}:{SIZE}:flags=area'],
        )
        next(it)
        return np.stack([np.frombuffer(b, np.uint8).reshape(SIZE, SIZE, 3) for b in it])
    return see, None

READERS = dict(ours=ours, torchcodec=torchcodec, decord=decord, opencv=opencv, torchvision=torchvision) | {
    'imageio-ffmpeg': imageio_ffmpeg
}

def available(path):
    "The readers that can read a file here; the others are named."
    found = {}
    for name, make in READERS.items():
        try:
            see, hear = make()
            see(path, 1.0, 30.0)
            found[name] = see, hear
        except Exception as e:
            print(
                f'{name} is not here: {type(e).__name__}'
                f' {str(e).strip().splitlines()[0][:90] if str(e).strip() else ""}'
            )
    return found

def turn(see, hear, places): # -> s for a window
    start = time.perf_counter()
    for path, at, fps in places:
        if see: see(path, at, fps)
        if hear: hear(path, at)
    return (time.perf_counter() - start) / len(places)

def compare(readers, paths, a, what):
    "Medians over turns in which every reader reads the same windows; pictures, and pictures with sound."
    rng, took = random.Random(0), {}
    about = {p: probe(p) for p in paths}
    for r in range(a.repeats + 1):
        places = [
            (p, rng.uniform(0, about[p].video_seconds - SECONDS - 0.1), float(about[p].fps))
            for p in rng.choices(paths, k=a.windows)
        ]
        for name in rng.sample(list(readers), len(readers)):
            see, hear = readers[name]
            one = turn(see, None, places), turn(None, hear, places) if hear else float('nan')
            if r: took.setdefault(name, []).append(one)
    print(
        f'\n{what}\n\n| reader | pictures, ms | clips/s | × ours | sound, ms | both, clips/s'
        ' |\n|---|---|---|---|---|---|'
    )
    for name in readers:
        see, hear = (statistics.median(t) for t in zip(*took[name]))
        ratio = statistics.median(b / s for (b, _), (s, _) in zip(took['ours'], took[name]))
        print(
            f'| {name} | {1000 * see:.1f} | {1 / see:.1f} | {ratio:.2f} | {1000 * hear:.1f} | {1 / (see + hear):.1f} |'
        )

def loaders(folder, workers):
    "Items of a training loader a second, by processes."
    files, _ = check_clips(find_clips(folder))
    data = FolderClips(
        files * (240 // len(files)), sorted({f.label for f in files}), SECONDS, FPS, SIZE, RATE, train=True
    )
    print('\n| processes of the DataLoader | clips/s |\n|---|---|')
    for n in workers:
        dl = SeededLoader(data, bs=8, num_workers=n)
        start = count = 0
        for k, b in enumerate(dl):
            if k == 5: start, count = time.perf_counter(), 0 # processes have started
            count += len(b[2])
        print(f'| {n} | {(count - 8) / (time.perf_counter() - start):.1f} |', flush=True)

def main():
    a = parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as tmp:
        films = Path(tmp)/'films'
        for i in range(a.films):
            scene = ('raining', 'thunder', 'wind noise', 'splashing water')[i % 4]
            (films/scene).mkdir(parents=True, exist_ok=True)
            render(scene, i, a.seconds, 30, a.size).video().save(films/scene/f'{i}.mp4')
        curate(films, Path(tmp)/'clips', a.size, 30, RATE)
        originals, clips = sorted(films.glob('*/*')), sorted((Path(tmp)/'clips').glob('*/*.mp4'))
        readers = available(clips[0])
        compare(readers, originals, a, f'from {len(originals)} films of {a.seconds:g} s, key frames every 250 frames')
        compare(readers, clips, a, f'from {len(clips)} curated clips')
        loaders(Path(tmp)/'clips', a.workers)

if __name__ == '__main__': main()
