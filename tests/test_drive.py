"What drives films: beats to the frame, notes exactly, mistakes in one line, the same film at any frame rate."
import re, shlex, subprocess, sys
import mido, numpy as np, pytest, soundfile, torch
from songs import RATE, TEN, song
from sound_video.app import cli
from sound_video.app.model import SoundVideo
from sound_video.app.world import WorldVideo
from sound_video.core.errors import UserError
from sound_video.hearing.beats import find_bars, find_beats
from sound_video.hearing.features import features
from sound_video.media.timing import frame_times, n_frames
from sound_video.motion.drivers import Driven
from sound_video.motion.effects import DrivenFrames
from sound_video.motion.inversion import latent_statistics, sample_w, whiten
from sound_video.motion.mapping import DRIVERS, DRIVE_PRESETS, TARGETS, read_drive

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
    assert made.shape == (12, 64, 64, 3) and abs(made - make()).mean() > 2 and np.median(made.std((1, 2, 3))) > 3

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
}

@pytest.mark.parametrize('words', WRONG)
def test_mistakes_are_one_line(words, place, capsys):
    assert cli.main(['generate', 'song.wav', *shlex.split(words)]) == 2
    said = capsys.readouterr().err
    assert WRONG[words] in said and len(said.splitlines()) == 1

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
