"""Does a film show the events that are heard? F1 between the onsets of a sound and the moments at which the film
changes most (peaks of the mean change from frame to frame), matched within .1 s, each counted once; beside it, what the
same film gives with the sound moved by half its length, which is chance. First for all onsets that librosa finds, which
are many in rain and in an explosion's rubble, then for those that double the power. For the world's own clips of the
test split, whose events are exact, and for recordings: sounds named after their scenes in a folder. Run by hand:
`python benchmarks/table_events.py --sounds FOLDER`."""
import argparse
from pathlib import Path
import numpy as np, torch
from scipy.signal import find_peaks
from sound_video.all import SCENES, SoundVideo, read_sound, render
from sound_video.app.world import WorldVideo
from sound_video.metrics.videos import event_iou, onset_times
from sound_video.world.clips import split_seeds

def peaks(frames, fps): # uint8 [T, H, W, 3] -> s
    "When the film changes most: the peaks of the mean change that rise above their surroundings."
    x = frames.astype(np.float32).mean(3)
    change = np.r_[0., np.abs(np.diff(x, axis=0)).mean((1, 2))]
    return find_peaks(change, prominence=.5 * change.std())[0] / fps

def sudden(onsets, x, rate, within=.1): # s, samples [C, N], Hz
    "Those onsets after which the sound has twice the power of what was before."
    power = lambda a, b: float(np.square(x[:, max(0, int(a * rate)):max(1, int(b * rate))]).mean())
    return np.array([t for t in onsets if power(t, t + within) > 2 * power(t - within - .03, t - .03)])

def f1(a, b):
    iou = event_iou(np.sort(a), np.sort(b), .1)
    return 2 * iou / (1 + iou)

def measured(frames, fps, sound, rate, seconds): # -> for all onsets and for sudden ones: how many, F1, F1 by chance
    x, seen = np.atleast_2d(np.asarray(sound)), peaks(np.asarray(frames), fps)
    on = onset_times(sound, rate)
    return [v for t in (on, sudden(on, x, rate)) for v in (len(t), f1(t, seen), f1((t + seconds / 2) % seconds, seen))]

def row(name, results):
    columns = [f'{v:.1f}' if i % 3 == 0 else f'{v:.2f}' for i, v in enumerate(np.mean(results, 0))]
    print(f"| {name} | {len(results)} | {' | '.join(columns)} |", flush=True)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=4, help='clips of the world for each scene (default: 4)')
    p.add_argument('--sounds', type=Path, help='folder of recordings, each file named after its scene')
    p.add_argument('--seconds', type=float, default=10., help='of each sound (default: 10)')
    a = p.parse_args()
    torch.set_num_threads(1)
    sv, fps = SoundVideo.load(device='cpu'), 30
    engines = {'world engine': (WorldVideo(sv, 'cpu'), dict(size=(160, 90))), 'learned engine': (sv, {})}
    print('| | films | onsets | F1 | chance | sudden ones | F1 | chance |\n|---|---|---|---|---|---|---|---|')
    for scene in SCENES:
        clips = [render(scene, int(s), a.seconds, fps, 96) for s in split_seeds('test', a.n)]
        sounds = [(c.sound, 22050) for c in clips]
        row(f'{scene}: the clip itself', [measured(c.frames, fps, *s, a.seconds) for c, s in zip(clips, sounds)])
        for name, (engine, options) in engines.items():
            made = [engine.generate(s, fps=fps, class_name=scene, **options) for s in sounds]
            row(f'{scene}: {name}', [measured(m, fps, *s, a.seconds) for m, s in zip(made, sounds)])
    for path in sorted(a.sounds.iterdir()) if a.sounds else ():
        scene = next((s for s in SCENES if path.name.startswith(s.replace(' ', '-'))), None)
        if scene is None: continue
        x, rate = read_sound(path, seconds=a.seconds)
        for name, (engine, options) in engines.items():
            made = engine.generate((x, rate), fps=fps, class_name=scene, **options)
            row(f'{path.name}: {name}', [measured(made, fps, x, rate, x.shape[-1] / rate)])

if __name__ == '__main__': main()
