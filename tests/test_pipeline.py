"Packs that are damaged, and what a model makes of real and of synthetic sounds."
import json, shutil
from pathlib import Path
import numpy as np, pytest, torch
from safetensors.torch import load_file, save_file
from sound_video.core.errors import UserError
from sound_video.media.timing import n_frames
from sound_video.media.sounds import read_sound
from sound_video.app.edit import SoundVideo
from sound_video.app.pack_config import default_pack
from sound_video.app.packs import load_pack
from sound_video.stylegan.autoencoder import smaller
import tiny_pack

RATE = 22050
RECORDINGS = sorted(
    p for p in (Path(__file__).parents[2] / 'shared/sounds').glob('*') if p.suffix in ('.mp3', '.ogg', '.wav')
)
needs_model = pytest.mark.skipif(not default_pack().is_dir(), reason='the package comes without a model')

@pytest.fixture(scope='module')
def pack(tmp_path_factory): return tiny_pack.make(tmp_path_factory.mktemp('pipeline')/'pack')

def edit(pack, **changes):
    "Change the pack's config.json; dots lead into objects."
    config = json.loads((pack/'config.json').read_text())
    for key, value in changes.items():
        *path, last = key.split('__')
        d = config
        for k in path: d = d[k]
        d[last] = value
    (pack/'config.json').write_text(json.dumps(config))

def reweigh(pack, f):
    weights = load_file(pack/'generator.safetensors')
    f(weights)
    save_file(weights, pack/'generator.safetensors')

def cut(path, part): path.write_bytes(path.read_bytes()[:int(path.stat().st_size * part)])

FAULTS = {
    'no folder': (lambda p: shutil.rmtree(p), 'no pack at'),
    'no config': (lambda p: (p/'config.json').unlink(), 'incomplete'),
    'no weights': (lambda p: (p/'generator.safetensors').unlink(), 'incomplete'),
    'broken JSON': (lambda p: cut(p/'config.json', .5), 'config.json'),
    'binary JSON': (lambda p: (p/'config.json').write_bytes(b'\xff\xfe\x00'), 'config.json'),
    'a list': (lambda p: (p/'config.json').write_text('[]'), 'does not describe'),
    'a number': (lambda p: (p/'config.json').write_text('7'), 'does not describe'),
    'nothing in it': (lambda p: (p/'config.json').write_text('{}'), 'does not describe'),
    'unknown key': (lambda p: edit(p, colour='red'), 'colour'),
    'newer format': (lambda p: edit(p, format=99), 'format 99'),
    'unknown architecture': (lambda p: edit(p, generator__architecture='diffusion'), 'choose from stylegan2'),
    'no architecture': (lambda p: edit(p, generator={}), 'architecture'),
    'no generator': (lambda p: edit(p, generator=None), 'objects'),
    'a size in words': (lambda p: edit(p, generator__config__w_dim='many'), 'config.json'),
    'negative size': (lambda p: edit(p, generator__config__w_dim=-3), 'config.json'),
    'odd resolution': (lambda p: edit(p, generator__config__img_resolution=17), 'power of two'),
    'other size': (lambda p: edit(p, generator__config__w_dim=8), 'asks for'),
    'a class too many': (lambda p: edit(p, class_names=['a', 'b', 'c']), '3 classes'),
    'a layer left out': (lambda p: edit(p, layer_groups={'coarse': [0]}), 'layer_groups'),
    'layers in words': (lambda p: edit(p, layer_groups={'coarse': 'all', 'mid': 3}), 'layer_groups'),
    'truncated weights': (lambda p: cut(p/'generator.safetensors', .7), 'cut short'),
    'empty weights': (lambda p: cut(p/'generator.safetensors', 0), 'cut short'),
    'a weight missing': (lambda p: reweigh(p, lambda w: w.pop('mapping.w_avg')), 'mapping.w_avg'),
    'parts in a list': (lambda p: edit(p, parts=[]), 'objects'),
    'a weight too many': (lambda p: reweigh(p, lambda w: w.update(extra=torch.zeros(1))), 'extra'),
    'a weight of another shape': (lambda p: reweigh(p, lambda w: w.update({'mapping.w_avg': torch.zeros(3)})), '[3]')}

@pytest.mark.parametrize('name', FAULTS)
def test_damaged_packs(pack, tmp_path, name):
    damage, says = FAULTS[name]
    shutil.copytree(pack, bad := tmp_path/'bad')
    damage(bad)
    with pytest.raises(UserError) as e: load_pack(bad)
    assert says in str(e.value) and '\n' not in str(e.value)

def noise(seconds, seed=0):
    return 0.2 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))

def test_frames_are_the_seeds(pack):
    sv = SoundVideo.load(pack)
    film = sv.generate((noise(2), RATE), seed=5)
    torch.manual_seed(1) # chance outside has no part
    first, second = (np.stack(list(f.frames())).astype(int) for f in (film, sv.generate((noise(2), RATE), seed=5)))
    assert (first == second).all() and len(first) == len(film) == 60
    assert abs(next(sv.generate((noise(2), RATE), seed=6).frames()).astype(int) - first[0]).mean() > 5

@pytest.mark.parametrize('fps', [1, 7, 23.976, 60, 120])
def test_as_many_frames_as_the_sound_needs(pack, fps):
    film = SoundVideo.load(pack).generate((noise(1.7), RATE), fps=fps)
    assert sum(1 for _ in film.frames()) == len(film) == n_frames(1.7, fps)

def test_any_sound_is_welcome(pack):
    sv = SoundVideo.load(pack)
    for sound in (torch.ones(1, 1), torch.zeros(8, 100), noise(.01), 3 * noise(.5).clamp(-1, 1)):
        frames = np.stack(list(sv.generate((sound, 8000)).frames()))
        assert frames.ndim == 4

def test_what_is_no_sound_is_refused(pack):
    sv = SoundVideo.load(pack)
    for sound, why in (
        (torch.full((2, 4000), float('nan')), 'NaN'),
        (1e3 * noise(0.5), 'full scale'),
        (noise(0.5).T, 'transpose it'),
    ):
        with pytest.raises(UserError, match=why): sv.generate((sound, 8000))

def follows(sv, sound, rate, seed, motion):
    "Correlation of loudness and motion."
    from sound_video.metrics.images import loudness_motion
    frames = np.stack(list(sv.generate((sound, rate), 15, seed, motion=motion).frames()))
    return loudness_motion(frames, 15, sound, rate)

@needs_model
@pytest.mark.skipif(not RECORDINGS, reason='no recordings beside the repository')
@pytest.mark.parametrize(
    'motion, least, mean', [('reactive', 0.5, 0.8), ('learned', 0.25, 0.65)]
)  # steady rain is what a learned path follows least
def test_the_model_follows_real_sounds(motion, least, mean):
    sv, r = SoundVideo.load(), []
    sv.generator = smaller(sv.generator, 64) # motion is seen in small frames, which are made in a quarter of the time
    for i, p in enumerate(RECORDINGS): r.append(follows(sv, *read_sound(p, seconds=5), seed=i, motion=motion))
    assert min(r) > least and np.mean(r) > mean, dict(zip([p.name for p in RECORDINGS], np.round(r, 2)))
