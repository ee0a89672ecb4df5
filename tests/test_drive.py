"What drives films: beats to the frame, notes exactly, mistakes in one line, the same film at any frame rate."
import re, shlex, subprocess, sys
from dataclasses import replace
import mido, numpy as np, pytest, soundfile, torch
from songs import RATE, TEN, song
from sound_video.app import cli
from sound_video.app.generate import find_driven
from sound_video.app.model import SoundVideo
from sound_video.app.request import Request
from sound_video.app.world import WorldVideo
from sound_video.core.errors import UserError
from sound_video.hearing.beats import find_bars, find_beats
from sound_video.hearing.features import features
from sound_video.hearing.sound import Sound
from sound_video.media.images import write_image
from sound_video.media.timing import frame_times, n_frames
from sound_video.motion.drivers import Driven
from sound_video.motion.effects import DrivenFrames
from sound_video.motion.inversion import latent_statistics, sample_w, whiten
from sound_video.motion.mapping import DRIVERS, DRIVE_PRESETS, TARGETS, read_drive
from sound_video.world.score import compose
from sound_video.world.soundscape import synthesise

class Black:
    "A film of black frames, which counts how many were asked for."
    size = 4, 4
    def __init__(self, n): self.n, self.made = n, 0
    def frames(self, start=0, stop=None):
        for k in range(start, self.n if stop is None else stop, 64):
            b = min(64, self.n - k)
            self.made += b
            yield np.zeros((b, *self.size, 3), np.uint8)

def driven_film(drive, feats, fps):
    n = n_frames(feats.seconds, fps)
    return DrivenFrames(Black(n), fps, Driven(drive, feats).at(frame_times(n, fps)))

def bright(film): return np.concatenate([x.astype(float).mean((1, 2, 3)) for x in film.frames()])

def peaks(y, least): # [n] -> frames at which a film is brighter than just before and no darker than just after
    before, after = np.append(-1, y[:-1]), np.append(y[1:], -1)
    return np.flatnonzero((y > before) & (y >= after) & (y > least))

def f1(found, true, within): # frames
    hits = sum(len(found) and abs(found - t).min() <= within for t in true)
    return 2 * hits / max(1, len(found) + len(true))

# --- beats

@pytest.fixture(scope='module', params=range(len(TEN)), ids=lambda i: ' '.join(f'{k}={v}' for k, v in TEN[i].items()))
def ten(request):
    sound, beats, bars = song(**TEN[request.param], seed=500 + request.param)
    return features((sound, RATE)), beats, bars

@pytest.mark.parametrize('fps', [24, 30, 60])
def test_films_flash_on_the_beat(ten, fps):
    feats, beats, _ = ten
    shown = peaks(bright(driven_film(read_drive('flash=.9*beat'), feats, fps)), 128)
    assert f1(shown, np.floor(beats * fps), 1) >= .9

def test_bars_begin_with_the_chord(ten):
    feats, _, bars = ten
    assert f1(find_bars(feats, find_beats(feats)), bars, .04) >= .9

@pytest.mark.parametrize('fps', [24, 30, 60])
def test_notes_flash_exactly(tmp_path, fps):
    at, ticks = np.array([.25, .5, 1.01, 1.2, 1.93]), 1000 # a beat of 1000 ticks at 60 beats a minute: ms
    track = mido.MidiTrack([mido.MetaMessage('set_tempo', tempo=1_000_000)])
    for t in np.diff(at, prepend=0): track.append(mido.Message('note_on', note=60, velocity=127, time=round(t * ticks)))
    mido.MidiFile(tracks=[track], ticks_per_beat=ticks).save(tmp_path/'a.mid')
    feats = features((torch.zeros(1, 2 * 8000), 8000))
    y = bright(driven_film(read_drive('flash=midi.notes(0,.04)', midi=tmp_path/'a.mid'), feats, fps))
    first = np.ceil(at * fps - .5).astype(int) # the first frame that shows a moment after the note
    assert list(peaks(y, 60)) == [k for k in first if k < len(y)]

# --- films

def test_any_rate_gives_the_same_film():
    sound, _, _ = song(bpm=120, seconds=4.)
    feats, drive = features((sound, RATE)), read_drive(preset='pulse')
    slow, fast = (Driven(drive, feats).at(frame_times(n_frames(4, fps), fps)) for fps in (20, 60))
    for target in slow: np.testing.assert_allclose(slow[target], fast[target][1::3], atol=1e-9)

def test_frames_are_made_as_they_are_asked_for():
    film = DrivenFrames(Black(10_000), 30, dict(zoom=np.full(10_000, 1.5), echo=np.full(10_000, .2)))
    next(film.frames())
    assert film.source.made == 64

@pytest.fixture(scope='module')
def sv(): return SoundVideo.load(device='cpu')

@pytest.fixture(scope='module')
def music(): return song(bpm=120, seconds=2.)[0], RATE

@pytest.mark.parametrize('preset', DRIVE_PRESETS)
def test_presets_change_films(preset, sv, music):
    make = lambda **o: np.asarray(sv.generate(music, fps=6, class_name='raining', **o)).astype(int)
    made = make(preset=preset)
    assert (made == make(preset=preset)).all() # the same bytes
    assert made.shape == (12, 256, 256, 3) and abs(made - make()).mean() > 2 and np.median(made.std((1, 2, 3))) > 3

@pytest.mark.parametrize('motion, drive', [('learned', 'psi=beat, speed.fine=4*beat, scene.thunder=bar'),
    ('reactive', 'psi=.3+beat, speed=4*beat')])
def test_paths_are_driven(motion, drive, sv, music):
    film = lambda **o: sv.generate(music, fps=6, class_name='raining', motion=motion, **o)
    made, usual = np.asarray(film(drive=drive)).astype(int), np.asarray(film()).astype(int)
    assert (np.asarray(film(drive=drive)) == made).all() and abs(made - usual).mean() > 1
    assert abs(film(drive=drive)[5:8].astype(int) - made[5:8]).max() <= 1
    driven = np.asarray(film(drive='psi=1, speed=1')).astype(int)
    assert abs(driven - np.asarray(film(psi=1.)).astype(int)).max() <= 1 # the same, driven and not

def test_worlds_are_driven(music, capsys):
    world, usual = WorldVideo(device='cpu'), dict(fps=5, size=(64, 64), class_name='raining')
    film = lambda **o: np.asarray(world.generate(music, **usual, **o))
    made = film(drive='intensity=.2', preset='strobe')
    assert (made == film(drive='intensity=.2', preset='strobe')).all() and (made != film()).any()
    assert 'photosensitive' in capsys.readouterr().err

@pytest.fixture(scope='module')
def world(sv): return WorldVideo(sv, device='cpu')

def test_hours_pass(music, world):
    film = lambda **o: np.asarray(world.generate(music, fps=5, size=(64, 64), class_name='wind noise', **o)).astype(int)
    day, night = film(drive='hour=13'), film(drive='hour=1')
    assert day.mean() > night.mean() + 50
    through = film(hours='13-1')
    assert abs(through[0] - day[0]).mean() < 20 and abs(through[-1] - night[-1]).mean() < 20
    assert (film(drive={'hour': {0: 13, 2: 25}}) == through).all() # the clock goes on past midnight
    assert abs(film(drive='hour=18+0*bass') - film(hours=(18, 18.0001))).max() <= 1

def test_worlds_are_mixed(music, world):
    film = lambda **o: np.asarray(world.generate(music, fps=5, size=(64, 64), **o)).astype(int)
    rain, both = (film(class_name='raining', hour='grey', drive=f'scene.thunder={x}') for x in ('0', '0:0, 1:0, 1.1:1'))
    assert (both[:5] == rain[:5]).all() and abs(both[6:] - rain[6:]).mean() > 5
    assert abs(film(class_name='thunder', hour='grey')[6:] - both[6:]).mean() < 1

@pytest.mark.parametrize('engine', ['sv', 'world'])
def test_pictures_at_both_ends(engine, music, request):
    model, size = request.getfixturevalue(engine), dict(size=(64, 64)) if engine == 'world' else {}
    red, blue = (np.full((80, 90, 3), c, np.uint8) for c in ((200, 30, 20), (20, 40, 210)))
    film = lambda **o: model.generate(music, fps=8, class_name='raining', **size, **o)
    led, usual = film(start=red, end=blue), np.asarray(film()).astype(int)
    x = np.asarray(led).astype(int)
    redness = (x[..., 0] - x[..., 2]).mean((1, 2))
    assert redness[0] > 50 > redness[8] > -50 > redness[-1] and led.class_name.startswith('the picture, then raining')
    assert abs(x[8] - usual[8]).mean() < 6 # in the middle of two seconds nothing is left of either
    assert abs(np.diff(redness)).max() < 80 # and there is no cut

def test_music_pulses(sv, world, capsys, tmp_path):
    x = song(bpm=120, seconds=6.)[0], RATE
    films = [sv.generate(x, fps=4, seed=s) for s in range(4)] + [world.generate(x, fps=4, size=(64, 64), seed=1)]
    assert len({f.class_name for f in films}) > 2 and all(isinstance(f.source, DrivenFrames) for f in films)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5 and all('music' in s and 'preset pulse' in s for s in said)
    film = sv.generate(x, fps=4, drive='zoom=1')
    assert list(film.source.values) == ['zoom'] and 'pulse' not in capsys.readouterr().err
    assert not isinstance(sv.generate(x, fps=4, class_name='raining').source, DrivenFrames)
    assert not isinstance(sv.generate(x, fps=4, prompt='steady rain').source, DrivenFrames)
    assert not capsys.readouterr().err

def test_music_is_told_from_rain_as_time_passes(sv):
    rain = np.asarray(synthesise('raining', 3, compose('raining', torch.tensor([3]), 12.), RATE, 1))[:1]
    both = np.concatenate([song(bpm=120, seconds=12.)[0], .5 * rain / abs(rain).max()], 1)
    sound = torch.as_tensor(both).float(), RATE
    drive = read_drive('flash=music, hue=.5*speech, blur=drums.music', stems=dict(drums=(sound[0] * 0, RATE)))
    whole = Sound.of(sound, sv.encoder)
    y = find_driven(sv, replace(Request(), drive=drive), whole).at(np.array([2., 6., 9., 16., 20.]))
    np.testing.assert_allclose(y['flash'], [1, 1, 1, 0, 0], atol=.2)
    assert max(y['hue']) < .1 and max(y['blur']) == 0 # nobody speaks, and a silent stem is no music

@pytest.mark.parametrize('scene', ['thunder', 'wind noise'])
def test_speed_stays_inside(scene, sv, music):
    "At a speed of 10 latents are no stranger than one in twenty that the generator draws."
    mean, std = latent_statistics(sv.generator)
    strange = lambda w: whiten(w, mean, std).square().mean(-1)
    usual = strange(sample_w(sv.generator, 2000, 1)).quantile(.95)
    for speed in (3, 10):
        w = sv.generate(music, fps=10, class_name=scene, speed=speed).source.path.latents(frame_times(20, 10))
        assert strange(w).mean(1).max() < usual
    still = sv.generate(music, fps=10, class_name=scene, speed=1).source.path.latents(frame_times(20, 10))
    assert w.diff(dim=0).abs().mean() > 2 * still.diff(dim=0).abs().mean() # and it is faster

# --- mistakes

@pytest.fixture
def place(tmp_path, monkeypatch):
    for name, seconds in (('song.wav', 1.), ('drums.wav', 1.), ('short.wav', .3)):
        soundfile.write(tmp_path/name, .1 * np.random.default_rng(0).normal(size=round(8000 * seconds)), 8000)
    mido.MidiFile(tracks=[mido.MidiTrack()]).save(tmp_path/'empty.mid')
    (tmp_path/'bad.toml').write_text('[drive]\nzoom = "1+.1*bass"\n\nflash = "1/beat"\n')
    write_image(tmp_path/'a.png', np.zeros((64, 64, 3), np.uint8))
    (tmp_path/'bad.csv').write_text('time,a\n0,1\n1,much\n')
    monkeypatch.chdir(tmp_path)

WRONG = {
    '--drive zoom=1+*bass': 'cannot be read at',
    '--drive zoom=1+.1*bas': 'did you mean bass',
    '--drive zom=1': 'did you mean zoom',
    '--drive flash=1/beat': 'divides by zero',
    '--drive flash=(1-beat)**.5/(loudness-1)': 'divides by zero',
    '--drive flash=sqrt(bass-.5)': 'is not a number',
    '--drive flash=9**9**9**beat': 'too large',
    '--drive zoom=drums.onset': 'there is no stem',
    '--drive zoom=drums.onse --stem drums=drums.wav': 'did you mean onset',
    '--drive zoom=drums.onset --stem drums=short.wav': 'lasts 0.30 s and the sound 1.00 s',
    '--drive zoom=drums.onset --stem drums=gone.wav': 'no such file',
    '--drive zoom=drums.onset --stem drums': 'NAME=FILE',
    '--drive zoom=beat --stem drums=drums.wav': 'drives nothing',
    '--drive zoom=midi.notes --midi empty.mid': 'neither notes nor controllers',
    '--drive zoom=midi.notes --midi song.wav': 'no MIDI file',
    '--drive zoom=curve.a --curve bad.csv': "line 3 of 'bad.csv'",
    '--drive bad.toml': "line 4 of 'bad.toml'",
    '--drive psi=9:1,8:2': 'the times rise',
    '--preset puls': 'preset must be',
    '--drive intensity=bass': 'films of the world',
    '--drive psi=bass --pack world': 'for models',
    '--drive hour=17': 'films of the world',
    '--drive hour=1/beat --pack world': 'divides by zero',
    '--drive scene.thundr=bass --pack world': 'did you mean thunder',
    '--hours 17 --pack world': 'such as 17-21',
    '--hours 17-25 --pack world': 'from 0 to 24',
    '--hours 17-21 --hour noon --pack world': 'contradict',
    '--hours 17-21 --drive hour=3 --pack world': 'contradict',
    '--hours 17-21 --backdrop a.png --pack world': 'its own light',
    '--end gone.png': 'no such file',
    '--end a.png --motion reactive': 'learned motion',
    '--start gone.png --pack world': 'no such file',
    '--start 7 --pack world': 'path of a picture',
    '--start a.png --loop --pack world': 'neither start nor end',
}

@pytest.mark.parametrize('words', WRONG)
def test_mistakes_are_one_line(words, place, capsys):
    assert cli.main(['generate', 'song.wav', *shlex.split(words)]) == 2
    said = capsys.readouterr().err
    assert WRONG[words] in said and len(said.splitlines()) == 1

@pytest.mark.parametrize('engine', ['', '--pack world --size 64x64'])
def test_the_last_line_says_what_is_shown(engine, place, capsys):
    words = f'generate song.wav --fps 4 --class thunder --start a.png --end a.png {engine}'
    assert cli.main(shlex.split(words)) == 0
    assert re.search(r', a\.png, then thunder.*, then a\.png$', capsys.readouterr().out.splitlines()[-1])

def test_mistakes_are_found_before_anything_heavy(place):
    words = ['generate', 'song.wav', '--drive', 'zoom=drums.onset', '--stem', 'drums=short.wav']
    script = f'import sys; from sound_video.app.cli import main; print(main({words}), "torch" in sys.modules)'
    said = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True).stdout
    assert said.split() == ['2', 'False']

@pytest.mark.parametrize('text', ["__import__('os').system('x')", 'bass.__class__', '[1]', '(lambda: 1)()', '"a"', '{}',
    'open', 'bass if beat else 1', 'not bass', 'bass and beat', 'max(1, key=2)', 'x := 1', 'bass\nbeat', '0<bass<1',
    '(' * 300 + '1' + ')' * 300, '-' * 1500 + '1'], ids=lambda text: text[:12])
def test_nothing_but_arithmetic_is_evaluated(text):
    with pytest.raises(UserError, match='zoom: '): read_drive({'zoom': text})

# --- what is promised

def test_every_driver_and_target_has_an_example():
    _, _, args, examples = cli._COMMANDS['generate']
    said = next(kw['help'] for names, kw in args if '--drive' in names)
    for name in [*DRIVERS, *TARGETS]:
        assert re.search(rf'\b{name}\b', said) and re.search(rf'\b{name}\b', examples), name
