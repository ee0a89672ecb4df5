"""What does each part of the hearing loss add? The audio encoder is trained with and without its terms, over several
seeds, with the same budget and recipe.

    python benchmarks/table_hearing.py [--sounds 1800] [--epochs 5] [--seeds 3] [--width 12] [--cache DIR]
        [--recordings DIR] [--json FILE]

Rows are the terms of the loss. Columns: zero-shot accuracy among the nine scenes on the world's test sounds, as they
are and in guises (see 04b_augment); sounds whose nearest picture is of the right scene; and,
where a folder of recordings is given whose names begin with a scene's name, the part of their 5 s windows that is named
rightly. Means and standard deviations over seeds.
"""
import argparse, json, statistics, sys
from pathlib import Path
import numpy as np, torch
from sound_video.hearing.augmentation import widen
from sound_video.hearing.clip import Clip
from sound_video.core.devices import seed_all
from sound_video.hearing.encoder import AudioEncoder, EncoderConfig
from sound_video.hearing.naming import Hearing, label_vectors
from sound_video.hearing.alignment import hearing_dls, hearing_learner
from sound_video.app.pack_config import default_pack
from sound_video.world.score import SCENES, compose
from sound_video.world.soundscape import synthesise
from sound_video.world.clips import split_seeds, stills

ROWS = {
    'captions': (1, 0, 0),
    'captions, pictures': (1, 1, 0),
    'captions, guises': (1, 0, 1),
    'captions, pictures, guises': (1, 1, 1),
}

def parse_args():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--sounds', type=int, default=1800, help='training sounds, each plain and in two guises')
    p.add_argument('--epochs', type=int, default=5)
    p.add_argument('--width', type=int, default=12, help="of the encoder (the mini pack's has 24)")
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--tests', type=int, default=20, help='test sounds of each scene')
    p.add_argument('--clip', default=default_pack()/'clip', help="the frozen CLIP (default: the mini pack's)")
    p.add_argument('--cache', help='folder that keeps the training sounds')
    p.add_argument('--recordings', type=Path, help='folder of recordings to name as well')
    p.add_argument('--json', help='file for the numbers')
    return p.parse_args()

def test_sounds(n, cfg):
    "Test sounds as they are and in guises [9n, N], the seeds."
    seeds, rate, N = split_seeds('test', n), cfg.mel.rate, round(cfg.seconds * cfg.mel.rate)
    raw = [synthesise(s, int(i), compose(s, i[None], cfg.seconds + 1), rate)[0] for s in SCENES for i in seeds]
    guised = [widen(np.random.default_rng(k), x, N, rate) for k, x in enumerate(raw)]
    return torch.as_tensor(np.stack([x[:N] for x in raw])), torch.as_tensor(np.stack(guised)), seeds

@torch.no_grad()
def score(encoder, clip, tests, looks, recordings):
    "The columns of one row."
    encoder.eval()
    names, truth = label_vectors(clip, SCENES).cpu(), torch.arange(len(SCENES)).repeat_interleave(
        len(tests[0]) // len(SCENES)
    )
    clean, guised = (torch.cat([encoder.hear(part) for part in x.split(60)]) for x in tests)
    right = lambda v: float(((v @ names.T).argmax(1) == truth).float().mean())
    found = dict(
        clean=right(clean),
        guised=right(guised),
        pictures=float((truth[(clean @ looks.T).argmax(1)] == truth).float().mean()),
    )
    return found | (dict(recordings=recorded(Hearing(encoder, clip), recordings)) if recordings else {})

def recorded(hearing, folder):
    "The part of all windows of recordings that is named rightly."
    right = []
    for path in sorted(folder.iterdir()):
        scene = next((i for i, s in enumerate(SCENES) if path.name.startswith(s.replace(' ', '-'))), None)
        if scene is not None: right.append(hearing.name(path).over_time.argmax(1) == scene)
    return float(torch.cat(right).float().mean())

def main():
    a = parse_args()
    clip = Clip.load(a.clip)
    cfg = EncoderConfig(dim=clip.dim, width=a.width)
    *tests, seeds = test_sounds(a.tests, cfg)
    looks = torch.cat([clip.embed_image(stills(s, seeds, clip.size)) for s in SCENES])
    found = {row: [] for row in ROWS}
    for seed in range(a.seeds):
        for row, weights in ROWS.items():
            seed_all(seed)
            dls = hearing_dls(clip, cfg, bs=64, n=a.sounds, n_valid=90, takes=3, cache=a.cache)
            dls.train.seed = seed # another order; the sounds stay
            learn = hearing_learner(dls, AudioEncoder(cfg), *weights)
            with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(a.epochs, 2e-3)
            found[row].append(score(learn.model, clip, tests, looks, a.recordings))
            print(f'seed {seed}, {row}: {found[row][-1]}', file=sys.stderr, flush=True)
    table = {
        row: {k: (statistics.mean(f[k] for f in each), statistics.pstdev(f[k] for f in each)) for k in each[0]}
        for row, each in found.items()
    }
    columns = list(next(iter(table.values())))
    print('| loss | ' + ' | '.join(columns) + ' |\n|' + '---|' * (len(columns) + 1))
    for row, cells in table.items():
        print(f'| {row} | ' + ' | '.join(f'{m:.1%} ± {s:.1%}' for m, s in cells.values()) + ' |')
    if a.json:
        Path(a.json).write_text(
            json.dumps(dict(settings={k: str(v) for k, v in vars(a).items()}, runs=found), indent=1) + '\n'
        )

if __name__ == '__main__': main()
