"""How well are pictures and videos edited by sound? Inversion, edits and videos of the world's test seeds, by the
shipped model.

    python benchmarks/table_editing.py [--pictures 10] [--videos 9] [--steps 80] [--json FILE]

Inversion: mean squared error and perceptual distance (by the pack's image classifier) of the encoder's and of refined
codes, beside the nearest of 10 000 samples of the generator.
Edits: pictures of each scene by sounds of each scene. `rises`: the part whose CLIP similarity to the caption of the
sound is higher than before, `by` so much on average; `scene`: what the image classifier takes for the
sound's; `identity`: cosine to the picture before, in the features of the network that watches clips, which no loss
uses.
Large pictures: one of each scene, at 1024 pixels, by the sounds of all nine. `generator`: the generator's picture, at
so much of the way from the inversion, as `edit` returned it before it kept the size of pictures; `edit`: what it
returns now, at a strength, and with light or weather alone. `scene`: as above, of the picture made small; `gain`: how
much nearer it comes to the sound's vector in CLIP's space; `distance`: perceptual, to the original, by the pack's image
classifier; `identity`: as above, to the original. `kept`: PSNR to the original, in dB, where the generator's change is
small, of what is added alone.
Videos: 10 s at 256 pixels and 15 frames a second by the sound of another scene, with the weather and without.
`scene`: the part of the frames that the image classifier takes for the sound's; `flicker`: energy of frame differences,
as a part of the original's; `motion`: correlation of frame differences with the original's; `gain`: as above.
The image classifier has learnt from the world alone and sees 64 pixels: it says what is most like a scene of the world,
not what a person sees.
"""
import argparse, json, time
import numpy as np, torch, torch.nn.functional as F
from sound_video.core.arrays import to_uint8
from sound_video.editing.latents import (
    Target,
    flicker,
    layers_of,
    middles,
    move_latents,
    optimise_latents,
    refine_latents,
)
from sound_video.editing.transfer import Change, weather_canvas
from sound_video.app.evaluation import read_classifiers
from sound_video.hearing.naming import label_vectors
from sound_video.motion.inversion import clip_distance
from sound_video.metrics.images import perceptual_distance
from sound_video.app.edit import (
    Fitting, Imagined, SoundVideo, _telling_time, as_generator_sees, find_edit_targets, find_weather,
    heard_timeline, invert)
from sound_video.app.model import as_seen
from sound_video.app.pack_config import default_pack
from sound_video.app.request import EditRequest
from sound_video.hearing.sound import Sound
from sound_video.world.score import SCENES
from sound_video.world.clips import render, split_seeds, stills

LAYERS = 'coarse,mid,fine'

def seen(sv): return as_seen(sv.generator, sv.hearing.clip) # makes images of 64 pixels

def pictures(n): return torch.cat([stills(s, split_seeds('test', n), 64) for s in SCENES])

@torch.no_grad()
def nearest(
    sv, x, looks, n=10_000, batch=250
):  # -> mean squared error and perceptual distance of the nearest sample, by each [B], [B]
    "A search over samples of the generator."
    G = seen(sv)
    mse, far = (torch.full((len(x),), torch.inf) for _ in range(2))
    rng = torch.Generator().manual_seed(0)
    for i in range(0, n, batch):
        z, c = (
            torch.randn(batch, G.cfg.z_dim, generator=rng),
            torch.arange(i, i + batch) % G.cfg.c_dim,
        )
        y = G.synthesis(G.mapping(z, c)).clamp(-1, 1)
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
            refine_latents(seen(sv), a, b, P.mean, P.std, sv.hearing.clip, looks, steps)
            for a, b in zip(x.split(30), first.split(30))
        ]
    )
    def errors(w):
        with torch.no_grad(): y = seen(sv).synthesis(w).clamp(-1, 1)
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
        seen(sv),
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

WAYS = {'edit': (1., 1., 1.), 'edit at .5': (1., 1., .5), 'edit at 1.5': (1., 1., 1.5), 'light alone': (1., 0., 1.),
        'weather alone': (0., 1., 1.)} # light, weather, strength

def psnr(a, b, where): # uint8 [H, W, 3], twice; bool [h, w] -> dB
    where = torch.nn.functional.interpolate(where[None, None].float(), a.shape[:2]).bool()[0, 0].numpy()
    error = ((a.astype(float) - b)[where]**2).mean() if where.any() else 0.
    return 10 * np.log10(255**2 / max(error, 1e-2))

def asked(sv, clip): # of a sound -> what `edit_image` gets of it: `Target`s, `Weather`, s
    sound = Sound((clip.sound, clip.rate), sv.encoder)
    weather = find_weather(sound, heard_timeline(sv, sound, False), EditRequest())
    return find_edit_targets(sv, sound, EditRequest())[1], weather, weather and _telling_time(weather, sound)

def large(sv, size, steps):
    "Measures of edits of pictures at their own size, and of the generator's pictures."
    G, clip, net = sv.generator, sv.hearing.clip, sv.image_classifier
    watcher, rows, side = read_classifiers(default_pack()).video_classifier, {}, G.cfg.img_resolution
    asks, imagined = [asked(sv, c) for c in sounds()], Imagined(G)
    for scene in SCENES:
        picture = to_uint8(stills(scene, split_seeds('test', 2)[1:], size))[0]
        x = as_generator_sees(picture, side)
        w0, seen = invert(sv, x, steps)
        for j, (targets, weather, t) in enumerate(asks):
            v = F.normalize(targets[0].v.mean(0, True), dim=1)
            def measure(name, y):
                same = F.cosine_similarity(watcher.features(y[:, None]), watcher.features(x[:, None]))
                near = clip_distance(clip.embed_image(x), v) - clip_distance(clip.embed_image(y), v)
                found = dict(scene=float(net(y).argmax(1) == j), gain=float(near),
                    distance=float(perceptual_distance(x, y, net)), identity=float(same))
                rows.setdefault(name, []).append(found)
            with torch.no_grad():
                there = middles(sv.inverter, v)
                w = move_latents(w0, middles(sv.inverter, seen), there, targets[0].layers)
                for k in (.25, .5, .75, 1.): measure(f'generator at {k:g}', G.synthesis(w0.lerp(w, k)).clamp(-1, 1))
                fitted = Fitting(imagined, weather).transfer(x, w0, w, t, False)
                planes = weather and weather.planes(t, fitted.air, weather_canvas((size, size)))
                for name, (light, added, strength) in WAYS.items():
                    made = Change(fitted, planes, light, added).on(picture[None], strength)[0]
                    measure(name, as_generator_sees(made, side))
                if weather: continue # then nothing of the generator's is added
                unchanged = fitted.added.abs().amax((0, 1)) < .01
                rows['edit'][-1]['kept'] = psnr(Change(fitted, None, 0., 1.).on(picture[None])[0], picture, unchanged)
        print(scene, flush=True)
    def mean(found, k): return float(np.mean([f[k] for f in found if k in f]))
    return {name: {k: mean(found, k) for k in set().union(*found)} for name, found in rows.items()}

def motions(frames): return np.diff(np.stack([*frames]).astype(np.float32).mean(3), axis=0)

def video(sv, a:int, b:int, seconds=10., fps=15, steps=80, size=256, **options): # numbers of scenes; of `edit`
    "A clip of one scene edited by the sound of another."
    clip, other = render(SCENES[a], int(split_seeds('test', 40)[30 + a]), seconds, fps, size), render(
        SCENES[b], int(split_seeds('test', 40)[30 + b]), seconds, 1, 16
    )
    sound = other.sound, other.rate
    frames = np.stack(list(sv.edit(clip.frames, sound, fps=fps, steps=steps, force=True, **options).frames()))
    side = sv.generator.cfg.img_resolution
    before, after = (torch.cat([as_generator_sees(f, side) for f in x]) for x in (clip.frames, frames))
    v = F.normalize(find_edit_targets(sv, Sound(sound, sv.encoder), EditRequest())[1][0].v.mean(0, True), dim=1)
    with torch.no_grad():
        scene = float((sv.image_classifier(after).argmax(1) == b).float().mean())
        near = [float(clip_distance(sv.hearing.clip.embed_image(x), v).mean()) for x in (before, after)]
    motion = np.corrcoef(motions(clip.frames).ravel(), motions(frames).ravel())[0, 1]
    ratio = flicker(frames) / flicker(clip.frames)
    return dict(scene=scene, flicker=ratio, motion=float(motion), gain=near[0] - near[1])

def show(title, table):
    print(f'\n{title}')
    for name, row in table.items():
        print(f'  {name:44}' + '  '.join(f'{k} {v:.4f}' for k, v in row.items()), flush=True)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--pictures', type=int, default=10, help='of each scene (default: 10)')
    p.add_argument('--size', type=int, default=1024, help='of large pictures (default: 1024)')
    p.add_argument('--videos', type=int, default=9, help='how many (default: 9)')
    p.add_argument('--steps', type=int, default=80, help='of optimisation (default: 80)')
    p.add_argument('--json', help='file for the numbers')
    a = p.parse_args()
    sv, x = SoundVideo.load(device='cpu'), pictures(a.pictures)
    inverted, w0 = inversion(sv, x, a.steps)
    show(f'inversion of {len(x)} pictures', inverted)
    edited = edits(sv, x, w0, a.pictures, a.steps)
    show(f'{len(x)} edits', edited)
    large_ones = large(sv, a.size, a.steps)
    show(f'81 edits of pictures of {a.size} pixels', large_ones)
    sound, picture = sounds()[2], to_uint8(stills('wind noise', split_seeds('test', 2)[1:], a.size))[0]
    begin = time.perf_counter()
    sv.edit(picture, (sound.sound, sound.rate), method='optimised', steps=a.steps)
    print(f'\none optimised edit of it: {time.perf_counter() - begin:.1f} s with {torch.get_num_threads()} threads')
    films = {
        f'{SCENES[i]} by {SCENES[j]}, {name}': video(sv, i, j, steps=a.steps, **options)
        for i in range(a.videos)
        for j in [(i + 2 + i % 5) % 9]
        for name, options in {'all': {}, 'no weather': dict(weather=0.)}.items()
    }
    show('videos', films)
    if a.json:
        found = dict(inversion=inverted, edits=edited, large=large_ones, videos=films)
        with open(a.json, 'w') as f: json.dump(found, f, indent=1)

if __name__ == '__main__': main()
