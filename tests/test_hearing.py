"What is heard: the command `name`, packs with ears, and how well the shipped model hears."
import json, os, shutil, subprocess, sys
from pathlib import Path
import numpy as np, pytest, soundfile, torch
from safetensors.torch import load_file, save_file
from sound_video.app.cli import main
from sound_video.core.errors import UserError
from sound_video.media.videos import write_video
from sound_video.app.edit import SoundVideo
from sound_video.app.generate import drawn
from sound_video.app.pack_config import default_pack
from sound_video.app.packs import load_pack
from sound_video.app.pack_config import scene_and_kind
from sound_video.hearing.others import can_speak, synthesise_music
from sound_video.hearing.sound import Sound
from sound_video.world.score import SCENES, compose
from sound_video.world.soundscape import synthesise
from sound_video.world.clips import captions, split_seeds, stills
import tiny_pack
from command import run as cli

RATE = 22050
KINDS = ['raining: a light drizzle', 'raining: steady rain', 'thunder: a close strike', 'thunder: a distant rumble']
RECORDINGS = {
    p: next(s for s in SCENES if p.name.startswith(s.replace(' ', '-')))
    for p in sorted((Path(__file__).parents[2] / 'shared/sounds').glob('*'))
    if p.suffix in ('.mp3', '.ogg', '.wav')
}
SHARED = Path(os.environ.get('SOUND_VIDEO_RECORDINGS', Path(__file__).parents[2]/'shared/recordings'))

def noise(seconds, rate=RATE, channels=1, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels)).astype(np.float32)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with a pack that has ears, one that has none, and sounds."
    d = tmp_path_factory.mktemp('hearing')
    tiny_pack.make(d/'pack', class_names=KINDS, hears=True)
    tiny_pack.make(d/'deaf', class_names=KINDS)
    soundfile.write(d/'noise.wav', noise(7), RATE)
    soundfile.write(d/'short.wav', noise(.3), RATE)
    soundfile.write(d/'stereo.flac', noise(6, 48000, 2), 48000)
    soundfile.write(d/'silent.wav', np.zeros(12*RATE), RATE)
    soundfile.write(d/'nothing.wav', np.zeros((0, 1)), RATE)
    soundfile.write(d/'half.wav', np.concatenate([noise(5), np.zeros((5*RATE, 1))]), RATE)
    write_video(d/'film.mp4', np.zeros((20, 16, 16, 3), np.uint8), 4, (torch.as_tensor(noise(5).T), RATE))
    write_video(d/'mute.mp4', np.zeros((20, 16, 16, 3), np.uint8), 4)
    (d/'empty.wav').touch()
    (d/'text.wav').write_text('not a sound\n' * 100)
    return d

@pytest.fixture
def name(place, capsys):
    "Run `sound-video name` on a sound of the place: status, output, errors."
    def run(sound, *words, pack='pack'):
        status = main(['name', str(place/sound), '--pack', str(place/pack), *map(str, words)])
        return status, *capsys.readouterr()
    return run

def assert_complete(found, seconds, labels=('raining', 'thunder')): # by default the pack's scenes
    assert list(found)[:3] == ['sound', 'seconds', 'labels'] and found['seconds'] == pytest.approx(seconds, abs=.1)
    p = [l['p'] for l in found['labels']]
    assert sorted(l['label'] for l in found['labels']) == sorted(labels)
    assert sum(p) == pytest.approx(1, abs=1e-5) and p == sorted(p, reverse=True) and min(p) >= 0

def assert_refused(status, out, err, says):
    assert status == 2 and not out and err.count('\n') == 1 and err.startswith('sound-video: ') and says in err, err

# ---- the command

def test_json_is_one_object_and_nothing_else(place):
    r = cli('name', 'noise.wav', '--pack', 'pack', '--json', cwd=place)
    assert r.returncode == 0 and not r.stderr and r.stdout.count('\n') == 1
    found = json.loads(r.stdout)
    assert found['sound'] == 'noise.wav'
    assert_complete(found, 7)
    assert [w['start'] for w in found['windows']] == [0, 2] and {w['label'] for w in found['windows']} <= {
        'raining',
        'thunder',
    }

@pytest.mark.parametrize('sound, seconds', [('short.wav', .3), ('stereo.flac', 6), ('film.mp4', 5), ('half.wav', 10)])
def test_any_sound_is_named(name, sound, seconds):
    status, out, err = name(sound, '--json')
    assert status == 0 and not err
    assert_complete(json.loads(out), seconds)

def test_the_table_is_for_people(name):
    status, out, err = name('half.wav')
    lines = out.splitlines()
    assert status == 0 and not err and len(lines) == 2 + 1 + 2
    assert {l.rsplit('%')[0].rsplit(maxsplit=1)[0] for l in lines[:2]} == {'raining', 'thunder'} and '█' in lines[0]
    assert lines[-2].split()[:3] == ['0:00.0', 'to', '0:05.0'] and lines[-1].split() == [
        '0:05.0',
        'to',
        '0:10.0',
        'silence',
    ]

@pytest.mark.parametrize(
    'words, labels',
    [
        ('rain,wind in trees', ['rain', 'wind in trees']),
        ('  heavy   rain , waves,', ['heavy rain', 'waves']),
        ('rain,Rain, rain', ['rain']),
        ('thunder', ['thunder']),
        ('a "storm", with <rain> & {wind}', ['a "storm"', 'with <rain> & {wind}']),
        ('rain ' * 3000 + ',wind', [('rain ' * 3000).strip(), 'wind']),
    ],
    ids=['two', 'blanks', 'repeated', 'one', 'odd characters', 'very long'],
)
def test_labels(name, words, labels):
    status, out, err = name('noise.wav', '--labels', words, '--json')
    assert status == 0 and not err
    assert_complete(json.loads(out), 7, labels)
    status, out, err = name('noise.wav', '--labels', words)
    assert status == 0 and len(out.splitlines()) >= len(labels) + 1

@pytest.mark.parametrize(
    'words, says',
    [
        ('', 'no labels'),
        (' , ,', 'no labels'),
        ('rain,дождь', 'дождь'),
        ('雨', '雨'),
        ('rain,xyzzy', 'xyzzy'),
        ('123', '123'),
    ],
)
def test_labels_that_mean_nothing(name, words, says):
    assert_refused(*name('noise.wav', '--labels', words), says)

def test_another_script_is_welcome_where_it_may_be_known(place, tmp_path, name):
    shutil.copytree(place/'pack', tmp_path/'pack')
    file = tmp_path/'pack/clip/open_clip_config.json'
    file.write_text(
        json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != 'words'})
    )  # as a common CLIP, which has no list of words
    status, out, err = name('noise.wav', '--labels', 'дождь,雨,ветер', '--json', pack=tmp_path/'pack')
    assert status == 0 and not err
    assert_complete(json.loads(out), 7, ['дождь', '雨', 'ветер'])

def test_silence_has_no_name(name):
    status, out, err = name('silent.wav', '--json')
    assert status == 0 and err.count('\n') == 1 and 'silent' in err
    found = json.loads(out)
    assert_complete(found, 12)
    assert all(l['p'] == pytest.approx(1 / 2, abs=1e-6) for l in found['labels']) and all(
        w['label'] is None for w in found['windows']
    )
    assert name('silent.wav')[1].splitlines()[-1].endswith('silence')

@pytest.mark.parametrize(
    'sound, says',
    [
        ('gone.wav', 'no such file'),
        ('nothing.wav', 'nothing.wav'),
        ('empty.wav', 'empty'),
        ('text.wav', 'neither a sound nor a video'),
        ('mute.mp4', 'mute.mp4'),
    ],
)
def test_no_sound(name, sound, says):
    assert_refused(*name(sound, '--json'), says)

# ---- packs

def edit(pack, f):
    config = json.loads((pack/'config.json').read_text())
    f(config)
    (pack/'config.json').write_text(json.dumps(config))

def reweigh(file, f):
    weights = load_file(file)
    f(weights)
    save_file(weights, file)

def cut(file): file.write_bytes(file.read_bytes()[:1000])

FAULTS = {
    'no hearing': (lambda p: edit(p, lambda c: c.pop('hearing')), 'cannot hear'),
    'empty hearing': (lambda p: edit(p, lambda c: c.update(hearing={})), 'cannot hear'),
    'a list': (lambda p: edit(p, lambda c: c.update(hearing=[])), 'does not describe'),
    'no encoder': (lambda p: edit(p, lambda c: c['hearing'].pop('encoder')), 'config.json'),
    'an unknown setting': (lambda p: edit(p, lambda c: c['hearing']['encoder'].update(colour=1)), 'colour'),
    'a scale in words': (lambda p: edit(p, lambda c: c['hearing'].update(scale='large')), 'config.json'),
    'no bands': (lambda p: edit(p, lambda c: c['hearing']['encoder']['mel'].update(bands=0)), 'config.json'),
    'another width': (lambda p: edit(p, lambda c: c['hearing']['encoder'].update(width=6)), 'asks for'),
    'no audio.safetensors': (lambda p: (p / 'audio.safetensors').unlink(), 'audio.safetensors'),
    'audio.safetensors cut short': (lambda p: cut(p / 'audio.safetensors'), 'cut short'),
    'a weight missing': (
        lambda p: reweigh(p / 'audio.safetensors', lambda w: w.pop('norm.running_mean')),
        'norm.running_mean',
    ),
    'a weight too many': (
        lambda p: reweigh(p / 'audio.safetensors', lambda w: w.update(extra=torch.zeros(1))),
        'extra',
    ),
    'a weight of another shape': (
        lambda p: reweigh(p / 'audio.safetensors', lambda w: w.update({'head.5.bias': torch.zeros(3)})),
        '[3]',
    ),
    'no clip': (lambda p: shutil.rmtree(p / 'clip'), 'clip'),
    'no weights of clip': (lambda p: (p / 'clip/open_clip_model.safetensors').unlink(), 'clip'),
    'no settings of clip': (lambda p: (p / 'clip/open_clip_config.json').unlink(), 'open_clip_config.json'),
    'no words of clip': (lambda p: (p / 'clip/merges.txt.gz').unlink(), 'merges.txt.gz'),
    'clip cut short': (lambda p: cut(p / 'clip/open_clip_model.safetensors'), 'clip'),
}

@pytest.mark.parametrize('fault', FAULTS)
def test_damaged_ears(place, tmp_path, name, fault):
    damage, says = FAULTS[fault]
    shutil.copytree(place/'pack', bad := tmp_path/'bad')
    damage(bad)
    labels = ('--labels', 'rain') if 'clip' in fault else () # CLIP is read for words that are not the pack's own
    assert_refused(*name('noise.wav', *labels, pack=bad), says)
    assert_refused(*name('noise.wav', *labels, '--json', pack=bad), says)

def test_a_deaf_pack_says_so(name): assert_refused(*name('noise.wav', pack='deaf'), 'cannot hear')

@pytest.mark.parametrize(
    'damage',
    [
        lambda f: f.unlink(),
        cut,
        lambda f: reweigh(f, lambda w: w.pop('thunder')),
        lambda f: reweigh(f, lambda w: w.update(thunder=torch.zeros(2))),
    ],
)
def test_damaged_names(place, tmp_path, damage):
    shutil.copytree(place/'pack', bad := tmp_path/'bad')
    damage(bad/'names.safetensors')
    with pytest.raises(UserError, match='names.safetensors') as e:
        SoundVideo.load(bad, 'cpu').generate(place / 'noise.wav')
    assert '\n' not in str(e.value)

def test_what_was_written_is_read(place):
    stored = load_file(place / 'pack/audio.safetensors')
    sv = SoundVideo.load(place / 'pack', 'cpu')
    read = sv.hearing.encoder.state_dict()
    assert set(stored) == set(read)
    for k, v in read.items():
        whole = not v.is_floating_point()
        assert (stored[k].dtype, v.dtype) == (
            (torch.int64,) * 2 if whole else (torch.float16, torch.float32)
        ) and torch.equal(stored[k].to(v.dtype), v)
    assert (
        not any(p.requires_grad for p in sv.encoder.parameters()) and not sv.encoder.training and sv.hearing.scale == 20
    )
    _, config = load_pack(place / 'pack')
    assert set(config.hearing) == {'encoder', 'scale'}
    sv.hearing.clip.embed_text(['rain'])
    assert sv.hearing is sv.hearing  # loaded once

def test_a_pack_is_whole_or_not_there(place, tmp_path, monkeypatch):
    import sound_video.hearing.clip
    def fail(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(sound_video.hearing.clip, 'save_clip', fail)
    with pytest.raises(UserError, match='space'): tiny_pack.make(tmp_path/'pack', hears=True)
    assert not any(tmp_path.iterdir())

def test_vectors_of_names_are_those_of_clip(place):
    from sound_video.hearing.naming import label_vectors
    sv, names = SoundVideo.load(place/'pack', 'cpu'), load_file(place/'pack/names.safetensors')
    assert set(names) == {part for k in KINDS for part in scene_and_kind(k)}
    again = label_vectors(sv.hearing.clip, list(names))
    assert (again * torch.stack(list(names.values()))).sum(1).min() > .999 # the stored CLIP has half precision

# ---- the sound chooses the scene

def test_the_scene_is_the_one_that_is_heard_most(place):
    sv = SoundVideo.load(place/'pack', 'cpu')
    for seed in range(6):
        samples = torch.as_tensor(noise(12, seed=seed).T) * torch.linspace(0, 1, 12*RATE)**seed
        sound = Sound((samples, RATE), sv.encoder)  # listened to once
        best = sv.name(sound, ['raining', 'thunder']).ranked[0][0]
        shown = {sv.generate(sound, seed=s).class_name for s in range(12)}
        assert {scene_and_kind(c)[0] for c in shown} == {best} and len(shown) == 2 # and the seed chooses the kind

def test_who_names_a_class_gets_it(place):
    sv = SoundVideo.load(place/'pack', 'cpu')
    for c in KINDS: assert sv.generate(place/'noise.wav', class_name=c).class_name == c
    assert {sv.generate(place / 'noise.wav', class_name='thunder', seed=s).class_name for s in range(12)} == set(
        KINDS[2:]
    )

def test_without_ears_or_sound_the_seed_chooses(place, capsys):
    hears, deaf = SoundVideo.load(place/'pack', 'cpu'), SoundVideo.load(place/'deaf', 'cpu')
    for sv, sound in ((deaf, 'noise.wav'), (hears, 'silent.wav'), (deaf, 'silent.wav')):
        assert [sv.generate(place / sound, seed=s).class_name for s in range(8)] == [
            KINDS[drawn(deaf.config.fitting(None), s)] for s in range(8)
        ]

SLOW = ('fastai', 'matplotlib', 'pandas', 'scipy.signal', 'scipy.interpolate', 'scipy.integrate', 'scipy.stats',
    'librosa', 'numba', 'open_clip', 'timm', 'torchvision', 'sympy', 'IPython')

@pytest.mark.skipif(not default_pack().is_dir(), reason='the package comes without a model')
def test_commands_import_what_they_need(place, tmp_path):
    "Whole packages that take seconds are not imported to name a sound, or to make a video of it."
    sound = str(place/'noise.wav')
    script = 'import sys; from sound_video.app.cli import main\n' \
        f'for words in (["name"], ["generate", "--fps", "2", "-o", "out.mp4"]): s = main([*words, {sound!r}]); ' \
        f'print(s, [m for m in {SLOW} if m in sys.modules])'
    r = subprocess.run([sys.executable, '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert r.stdout.splitlines().count('0 []') == 2, r.stdout + r.stderr

@pytest.mark.parametrize('words', [
    ['generate', 'gone.wav'], ['generate', 'noise.wav', '--fps', '0'], ['generate', 'noise.wav', '--class', 'roar'],
    ['generate', 'noise.wav', '-o', 'a.avi'], ['generate', 'noise.wav', '--pack', 'gone'], ['name', 'gone.wav'],
    ['name', 'noise.wav', '--labels', ','], ['edit', 'noise.wav', 'noise.wav', '--method', 'magic'],
    ['train', '--out', 'p', '--data', 'gone'], ['train', '--out', 'p', '--preset', 'huge'],
    ['train', 'paint', '--out', 'p'],
    ['evaluate', '--pack', 'gone'], ['data', 'check', 'gone'], ['convert', 'gone.pkl', '-o', 'p'],
], ids=' '.join)
def test_mistakes_are_found_before_torch_is_imported(place, words):
    script = f'import sys; from sound_video.app.cli import main; print(main({words}), "torch" in sys.modules)'
    r = subprocess.run([sys.executable, '-c', script], cwd=place, capture_output=True, text=True)
    assert r.stdout == '2 False\n' and r.stderr.count('\n') == 1, r.stdout + r.stderr

@pytest.mark.parametrize('sound', [torch.ones(1, 1), 1e-3 * torch.randn(8, 100)], ids=['one sample', 'faint'])
def test_odd_sounds_are_heard(place, sound):
    p = SoundVideo.load(place/'pack', 'cpu').name((sound, 8000)).overall
    assert p.isfinite().all() and p.sum() == pytest.approx(1, abs=1e-5)

# ---- the shipped model

def _hears(): return default_pack().is_dir() and bool(load_pack(default_pack())[1].hearing)
needs_ears = pytest.mark.skipif(not _hears(), reason='the package comes without a model that hears')

@pytest.fixture(scope='module')
def world():
    """Test clips that no training has met, 12 of each scene: vectors of sounds, pictures and captions, and the scenes
    [108]."""
    h, seeds = SoundVideo.load(device='cpu').hearing, split_seeds('test', 12)
    def sound(scene, seed): return torch.as_tensor(synthesise(scene, int(seed), compose(scene, seed[None], 5.), RATE))
    with torch.no_grad():
        sounds = torch.cat([h.embed((sound(s, seed), RATE))[1] for s in SCENES for seed in seeds])
        pictures = torch.cat([h.clip.embed_image(stills(s, seeds, 64)) for s in SCENES])
        said = [c[i % len(c)] for s in SCENES for i, seed in enumerate(seeds.tolist()) for c in [captions(s, seed)]]
        return h, sounds, pictures, h.clip.embed_text(said), torch.arange(9).repeat_interleave(12)

def right(x, y, of, truth): return float((of[(x @ y.T).argmax(1)] == truth).float().mean())

@needs_ears
def test_sounds_are_named(world):
    from sound_video.hearing.naming import label_vectors
    h, sounds, _, _, truth = world
    assert right(sounds, label_vectors(h.clip, SCENES), torch.arange(9), truth) >= .97

@needs_ears
def test_sounds_and_captions_find_pictures(world):
    _, sounds, pictures, words, truth = world
    assert right(sounds, pictures, truth, truth) >= .9
    assert right(words, pictures, truth, truth) >= .9

@needs_ears
@pytest.mark.skipif(len(RECORDINGS) < 12, reason='no recordings beside the repository')
def test_recordings_are_named():
    sv = SoundVideo.load(device='cpu')
    heard = {p: sv.name(p) for p in RECORDINGS}
    assert sum(heard[p].ranked[0][0] == scene for p, scene in RECORDINGS.items()) >= 10, {
        p.name: h.ranked[:2] for p, h in heard.items()
    }
    assert sum(scene in [l for l, _ in heard[p].ranked[:2]] for p, scene in RECORDINGS.items()) >= 11, {
        p.name: h.ranked[:2] for p, h in heard.items()
    }
    windows = torch.cat(
        [(h.over_time.argmax(1) == SCENES.index(RECORDINGS[p]))[h.weights > 0] for p, h in heard.items()]
    )
    assert windows.float().mean() >= .8

@needs_ears
@pytest.mark.skipif(not SHARED.exists(), reason='no folder of recordings: name one in SOUND_VIDEO_RECORDINGS')
def test_recordings_that_nothing_learnt_from_are_named(capsys):
    assert main(['evaluate', '--hearing', str(SHARED), '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found['recordings'] == 88
        and found['top1'] >= 0.68
        and found['top2'] >= 0.8
        and abs(found['confidence'] - found['top1']) < 0.1
        and found['lost'] <= 0.05
    ), found

@needs_ears
@pytest.mark.skipif(not can_speak(), reason='espeak-ng is not installed')
def test_what_is_no_landscape_is_known():
    "Music by instruments, speech by voices, and signals that nothing learnt from."
    from sound_video.hearing.classifier import measure_others
    from sound_video.hearing.others import OtherSounds
    found = measure_others(SoundVideo.load(device='cpu').encoder, OtherSounds(24, 5., RATE, held_out=True))
    assert found['all'] >= .85, found

@needs_ears
def test_music_is_said_to_be_music(tmp_path, capsys):
    soundfile.write(tmp_path/'song.wav', synthesise_music(10**6 + 3, 6., RATE), RATE)
    assert main(['name', str(tmp_path/'song.wav'), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['other']['label'] == 'music'
    assert main(['name', str(tmp_path/'song.wav'), '--timeline']) == 0
    assert 'that it is none of the scenes' in (said := capsys.readouterr().out) and 'shown as' in said
    assert main(['generate', str(tmp_path/'song.wav'), '--fps', '2', '-o', str(tmp_path/'x.mp4')]) == 0
    assert capsys.readouterr().err.count('none of the scenes') == 1
    assert main(
        ['generate', str(tmp_path/'song.wav'), '--fps', '2', '-o', str(tmp_path/'x.mp4'), '--class', 'thunder']) == 0
    assert 'none of the scenes' not in capsys.readouterr().err

def test_doctor_knows_whether_the_pack_hears(capsys):
    assert main(['doctor', '--json']) == 0
    state = json.loads(capsys.readouterr().out)['pack']['hearing']
    assert state.startswith('128 dimensions') if _hears() else state == 'none'
