"""How well is a sound transcribed? Clips of the world's test split, whose score is known: events found within 50 ms,
the error of their strengths, and the correlation of the level, by scene; as they are, and in a guise (the augmentation
that the network is trained with). Each clip's kind is told, as a timeline does, or its scene only. Run by hand:
`python benchmarks/table_transcription.py`."""
import argparse
import numpy as np, torch
from sound_video.hearing.transcription import match_events, transcribe, transcription_examples
from sound_video.hearing.features import Features
from sound_video.hearing.timeline import Segment, Timeline
from sound_video.world.score import SCENES

def measured(scene, kind, bands, truth): # -> events found, true, right; errors of strengths; r of the level
    seconds = truth.seconds
    feats = Features(np.zeros((15, 1)), np.zeros(1), seconds, bands)
    score, = transcribe(feats, Timeline([Segment(0., seconds, scene, kind)]))
    times, found = (truth.times + truth.delay)[0], score.times[0][score.strengths[0] > 0]
    there = (truth.strengths[0] > 0) & (times < seconds)
    times, strengths = times[there], truth.strengths[0][there]
    apart = (found[:, None] - times).abs()
    near = [(i, int(apart[i].argmin())) for i in range(len(found)) if len(times) and apart[i].min() <= .05]
    errors = [abs(float(score.strengths[0, i] - strengths[j])) for i, j in near]
    n = int(seconds * 100)
    r = np.corrcoef(score.level[0, :n], truth.level[0, :n])[0, 1]
    return len(found), len(times), match_events(found.tolist(), times.tolist()), errors, r

def row(name, results):
    found, true, right, errors, r = zip(*results)
    found, true, right = sum(found), sum(true), sum(right)
    errors = [e for each in errors for e in each]
    print(
        f'| {name} | {true} | {right / max(1, found):.2f} | {right / max(1, true):.2f} |'
        f' {2 * right / max(1, found + true):.3f} | {np.mean(errors or [np.nan]):.2f} |'
        f' {np.nanmean(r):.3f} | {np.nanmedian(r):.3f} |'
    )

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=30, help='clips of 10 s of each scene (default: 30)')
    p.add_argument('--kinds', action='store_true', help='a row for each kind, too')
    a = p.parse_args()
    torch.set_num_threads(1)
    examples = list(transcription_examples('test', a.n))
    for title, guise, told in (('as they are', 0, True), ('scene told only', 0, False), ('in a guise', 1, True)):
        print(f'\n{title}, {a.n} clips of each scene\n')
        print('| | events | precision | recall | F1 | error of strength | mean r of level | median r |')
        print('|---|---|---|---|---|---|---|---|')
        results = [
            (scene, kind, measured(scene, kind if told else None, pair[guise], score))
            for scene, kind, pair, _, score in examples
        ]
        for scene in SCENES: row(scene, [m for s, _, m in results if s == scene])
        if not a.kinds: continue
        for scene, kind in sorted({(s, k) for s, k, _ in results}):
            row(f'{scene}: {kind}', [m for s, k, m in results if (s, k) == (scene, kind)])

if __name__ == '__main__': main()
