"""How well are pictures and videos edited by sound? Inversion, edits and videos of the world's test seeds, by the
shipped model.

    python benchmarks/table_editing.py [--pictures 10] [--videos 9] [--steps 80] [--json FILE]

Inversion: mean squared error and perceptual distance (by the pack's image classifier) of the encoder's and of refined
codes,
beside the nearest of 10 000 samples of the generator.
Edits: pictures of each scene by sounds of each scene. `rises`: the part whose CLIP similarity to the caption of the
sound is higher than before, `by` so much on average; `scene`: what the image classifier takes for the
sound's; `identity`: cosine to the picture before, in the features of the network that watches clips, which no loss
uses.
Videos: 10 s at 30 frames a second by the sound of another scene. `scene`: the part of the frames that the image
classifier takes
for the sound's; `flicker`: energy of frame differences, as a part of the original's.
"""
import argparse, json, time
import numpy as np, torch, torch.nn.functional as F
from sound_video.core.arrays import to_float, to_uint8
from sound_video.editing.latents import (
    Target,
    flicker,
    layers_of,
    middles,
    move_latents,
    optimise_latents,
    refine_latents,
)
from sound_video.app.evaluation import read_classifiers
from sound_video.hearing.naming import label_vectors
from sound_video.motion.inversion import clip_distance
from sound_video.metrics.images import perceptual_distance
from sound_video.app.edit import SoundVideo
from sound_video.app.edit import find_edit_targets
from sound_video.app.pack_config import default_pack
from sound_video.app.request import EditRequest
from sound_video.hearing.sound import Sound
from sound_video.world.score import SCENES
from sound_video.world.clips import render, split_seeds, stills

LAYERS = 'coarse,mid,fine'

def pictures(n): return torch.cat([stills(s, split_seeds('test', n), 64) for s in SCENES])

@torch.no_grad()
def nearest(
    sv, x, looks, n=10_000, batch=250
):  # -> mean squared error and perceptual distance of the nearest sample, by each [B], [B]
    "A search over samples of the generator."
    mse, far = (torch.full((len(x),), torch.inf) for _ in range(2))
    rng = torch.Generator().manual_seed(0)
    for i in range(0, n, batch):
        z, c = (
            torch.randn(batch, sv.generator.cfg.z_dim, generator=rng),
            torch.arange(i, i + batch) % sv.generator.cfg.c_dim,
        )
        y = sv.generator.synthesis(sv.generator.mapping(z, c)).clamp(-1, 1)
        d = torch.cdist(x.flatten(1), y.flatten(1)).square() / x[0].numel()
        mse = torch.minimum(mse, d.amin(1))
        for k in range(len(x)):
            far[k] = torch.minimum(
                far[k], looks(x[k : k + 1].expand(8, -1, -1, -1), y[d[k].argsort()[:8]]).amin()
            )  # the most alike of those that are near
    return mse, far

def inversion(sv, x, steps, samples=10_000): # -> table, refined codes
    "Errors of a nearest sample, of the encoder, and of the refinement."
    P, looks = sv.image_encoder, lambda a, b: perceptual_distance(a, b, sv.image_classifier)
    with torch.no_grad(): first = P(x)
    w = torch.cat(
        [
            refine_latents(sv.generator, a, b, P.mean, P.std, sv.hearing.clip, looks, steps)
            for a, b in zip(x.split(30), first.split(30))
        ]
    )
    def errors(w):
        with torch.no_grad(): y = sv.generator.synthesis(w).clamp(-1, 1)
        return float((y - x).square().mean()), float(looks(y, x).mean())
    near = tuple(float(e.mean()) for e in nearest(sv, x, looks, samples))
    return {
        name: dict(mse=a, perceptual=b)
        for name, (a, b) in {
            f'nearest of {samples}': near,
            'encoder': errors(first),
            f'{steps} steps': errors(w),
        }.items()
    }, w

def sounds(): # a clip for each scene
    return [render(s, int(split_seeds('test', 30)[-1]), 5., 1, 16) for s in SCENES]

def pairs(n): # pictures of a scene -> index of each picture's scene and of its sound's [9n]
    source, k = torch.arange(9).repeat_interleave(n), torch.arange(9 * n) % n
    return source, (k + (source + 4) * (k >= 9)) % 9

def edits(sv, x, w0, n, steps, ways=('direct', 'optimised', 'unregularised')):
    "Measures of each way to edit."
    G, clip, video_classifier, clips = (
        sv.generator,
        sv.hearing.clip,
        read_classifiers(default_pack()).video_classifier,
        sounds(),
    )
    source, to = pairs(n)
    v = torch.cat(
        [
            F.normalize(
                find_edit_targets(sv, Sound((c.sound, c.rate), sv.encoder), EditRequest())[1][0].v.mean(0, True),
                dim=1
            )
            for c in clips
        ]
    )[to]
    said = torch.cat([label_vectors(clip, [c.captions[2]]) for c in clips])[to]
    wish = Target(v, layers_of(sv.config.layer_groups, LAYERS))
    with torch.no_grad():
        start = move_latents(w0, middles(sv.inverter, clip.embed_image(x)), middles(sv.inverter, v), wish.layers)
    def latents(way):
        if way == 'direct': return start
        free = dict(similar=0., identity=0.) if way == 'unregularised' else {}
        looks = lambda a, b: perceptual_distance(a, b, sv.image_classifier)
        return torch.cat(
            [
                optimise_latents(G, a, b, [Target(c, wish.layers)], clip, sv.latent_space, looks, steps, **free)
                for a, b, c in zip(w0.split(30), start.split(30), v.split(30))
            ]
        )
    with torch.no_grad(): before = G.synthesis(w0).clamp(-1, 1)
    def measure(w):
        with torch.no_grad(): y = G.synthesis(w).clamp(-1, 1)
        rise = clip_distance(clip.embed_image(before), said) - clip_distance(clip.embed_image(y), said)
        same = F.cosine_similarity(video_classifier.features(y[:, None]), video_classifier.features(before[:, None]))
        return dict(
            rises=float((rise > 0).float().mean()),
            by=float(rise.mean()),
            scene=float((sv.image_classifier(y).argmax(1) == to).float().mean()),
            identity=float(same.mean()),
        )
    return {way: measure(latents(way)) for way in ways}

def video(sv, a:int, b:int, seconds=10., fps=30, steps=80): # numbers of scenes
    "A clip of one scene edited by the sound of another."
    clip, other = render(SCENES[a], int(split_seeds('test', 40)[30 + a]), seconds, fps, 64), render(
        SCENES[b], int(split_seeds('test', 40)[30 + b]), seconds, 1, 16
    )
    frames = np.stack(list(sv.edit(clip.frames, (other.sound, other.rate), fps=fps, steps=steps).frames()))
    with torch.no_grad(): scene = float((sv.image_classifier(to_float(frames)).argmax(1) == b).float().mean())
    return dict(scene=scene, flicker=flicker(frames) / flicker(clip.frames))

def show(title, table):
    print(f'\n{title}')
    for name, row in table.items():
        print(f'  {name:44}' + '  '.join(f'{k} {v:.4f}' for k, v in row.items()), flush=True)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--pictures', type=int, default=10, help='of each scene (default: 10)')
    p.add_argument('--videos', type=int, default=9, help='how many (default: 9)')
    p.add_argument('--steps', type=int, default=80, help='of optimisation (default: 80)')
    p.add_argument('--json', help='file for the numbers')
    a = p.parse_args()
    sv, x = SoundVideo.load(device='cpu'), pictures(a.pictures)
    inverted, w0 = inversion(sv, x, a.steps)
    show(f'inversion of {len(x)} pictures', inverted)
    edited = edits(sv, x, w0, a.pictures, a.steps)
    show(f'{len(x)} edits', edited)
    sound = sounds()[2]
    begin = time.perf_counter()
    sv.edit(to_uint8(x[:1])[0], (sound.sound, sound.rate), method='optimised', steps=a.steps)
    print(f'\none optimised edit: {time.perf_counter() - begin:.1f} s with {torch.get_num_threads()} threads')
    films = {
        f'{SCENES[i]} by {SCENES[j]}': video(sv, i, j, steps=a.steps)
        for i in range(a.videos)
        for j in [(i + 2 + i % 5) % 9]
    }
    show('videos', films)
    if a.json:
        with open(a.json, 'w') as f: json.dump(dict(inversion=inverted, edits=edited, videos=films), f, indent=1)

if __name__ == '__main__': main()
