"""Does a film show the events that are heard? F1 between the onsets of a sound and the moments at which the film
changes most (peaks of the mean change from frame to frame), matched within .1 s, each counted once; beside it, what the
same film gives with the sound moved by half its length, which is chance. For the world's own clips of the test split,
whose events are exact, and for recordings: sounds named after their scenes in a folder. Run by hand:
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

def f1(a, b):
    iou = event_iou(np.sort(a), np.sort(b), .1)
    return 2 * iou / (1 + iou)

def measured(frames, fps, sound, rate, seconds): # -> F1, F1 with onsets of another time, onsets
    on = onset_times(sound, rate)
    seen = peaks(np.asarray(frames), fps)
    return f1(on, seen), f1((on + seconds / 2) % seconds, seen), len(on)

def row(name, results):
    mean, chance, n = np.mean(results, 0)
    print(f'| {name} | {len(results)} | {n:.1f} | {mean:.2f} | {chance:.2f} |')

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=4, help='clips of the world for each scene (default: 4)')
    p.add_argument('--sounds', type=Path, help='folder of recordings, each file named after its scene')
    p.add_argument('--seconds', type=float, default=10., help='of each sound (default: 10)')
    a = p.parse_args()
    torch.set_num_threads(1)
    sv, fps = SoundVideo.load(device='cpu'), 30
    engines = {'world engine': (WorldVideo(sv, 'cpu'), dict(size=(160, 90))), 'learned engine': (sv, {})}
    print('| | films | onsets | F1 | chance |\n|---|---|---|---|---|')
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
