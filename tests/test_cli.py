"The command line as a user meets it: in a process of its own, with the faults that happen."
import json, os, re, shutil, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np, pytest, soundfile
from sound_video.media.videos import probe, read_frames, write_video
from sound_video.media.images import write_image
import tiny_pack
from command import begun, run as cli
from sound_video.app.cli import _COMMANDS, _sounds, main
from sound_video.core.errors import UserError

RATE = 16000
ENV = dict(os.environ, OMP_NUM_THREADS='1')

def cold(*words):
    "Run `sound-video` from nothing, as a shell does; `cli` does without its imports."
    return subprocess.run(
        [sys.executable, '-m', 'sound_video', *words], capture_output=True, text=True, env=ENV, timeout=300
    )

def tone(seconds, rate=RATE, channels=1):
    t = np.arange(round(seconds*rate)) / rate
    return np.stack([.5 * np.sin(2*np.pi*(220 + 110*c)*t) * np.abs(np.sin(3*t)) for c in range(channels)], 1)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder with a pack, good sounds and bad ones."
    d = tmp_path_factory.mktemp('cli')
    tiny_pack.make(d/'pack')
    tiny_pack.make(d/'able', moves=True)
    write_image(d/'picture.png', np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8))
    soundfile.write(d/'tone.wav', tone(2), RATE)
    soundfile.write(d/'stereo.flac', tone(1.37, 44100, 2), 44100)
    soundfile.write(d/'long.wav', tone(120), RATE)
    soundfile.write(d/'silent.wav', np.zeros(RATE), RATE)
    soundfile.write(d/'whole.mp3', tone(5), RATE)
    mp3 = (d/'whole.mp3').read_bytes()
    (d/'half.mp3').write_bytes(mp3[:len(mp3)//2])
    (d/'stub.mp3').write_bytes(mp3[:60])
    (d/'empty.wav').touch()
    (d/'text.wav').write_text('not a sound\n' * 100)
    return d

def generate(place, sound, out, *words, **kw):
    return cli('generate', place / sound, '-o', out, '--pack', place / 'pack', *words, **kw)

def assert_refused(r, folder, says):
    assert r.returncode == 2, r.stderr
    assert r.stderr.count('\n') == 1 and r.stderr.startswith('sound-video') and says in r.stderr, r.stderr
    assert not r.stdout and not any(folder.iterdir())

FAULTS = {  # name: sound, output, more words, what the line says
    **{
        s: (s, 'out.mp4', [], says)
        for s, says in {
            'gone.wav': 'no such file',
            'empty.wav': 'empty',
            'text.wav': 'neither a sound nor a video',
            '.': 'folder',
            'stub.mp3': 'stub.mp3',
            'half.mp3': 'cut short',
        }.items()
    },
    **{
        o: ('tone.wav', o, [], says)
        for o, says in {
            'out.xyz': 'unknown ending',
            'nowhere/out.mp4': 'does not exist',
            '/proc/out.mp4': '/proc/out.mp4',
        }.items()
    },
    **{
        ' '.join(w): ('tone.wav', 'out.mp4', w, says)
        for *w, says in [
            ('--fps', '0', '1 to 120'),
            ('--fps', 'many', '1 to 120'),
            ('--psi', 'nan', 'psi'),
            ('--psi', '2.1', 'psi'),
            ('--motion', '-1', 'motion'),
            ('--motion', 'inf', 'motion'),
            ('--motion', 'sideways', 'learned, reactive'),
            ('--motion', 'learned', 'not learnt'),
            ('--speed', '11', '0 to 10'),
            ('--prompt', 'rain', 'learned motion'),
            ('--start', 'nowhere.png', 'no such file'),
            ('--start', '7', 'learned motion'),
            ('--mix', '2', 'mix'),
            ('--seed', '-1', 'seed'),
            ('--seed', 'x', '--seed'),
            ('--class', 'roar', 'raining, thunder'),
            ('--pack', 'nowhere', 'no pack'),
            ('--colour', 'red', '--colour'),
        ]
    },
}

@pytest.fixture(scope='module')
def refusals(place, tmp_path_factory):
    "All faults tried, as many at a time as there are processors: {name: (folder, what came back)}."
    def attempt(name):
        sound, out, words, _ = FAULTS[name]
        d = tmp_path_factory.mktemp('fault')
        return name, (d, generate(place, sound, d/out, *words))
    with ThreadPoolExecutor(os.cpu_count()) as pool: return dict(pool.map(attempt, FAULTS))

@pytest.mark.parametrize('name', FAULTS)
def test_faults(refusals, name):
    folder, r = refusals[name]
    assert_refused(r, folder, FAULTS[name][-1])

def test_a_place_below_a_file(place): # no permission bits: root would walk through them
    before = set(place.iterdir())
    r = generate(place, 'tone.wav', place/'text.wav'/'out.mp4')
    assert r.returncode == 2 and r.stderr.count('\n') == 1 and set(place.iterdir()) == before

@pytest.mark.parametrize('words', [[], ['sing'], ['generate']])
def test_incomplete_commands(words):
    r = cli(*words)
    assert r.returncode == 2 and r.stderr.count('\n') == 1 and '--help' in r.stderr

def test_the_sound_is_never_overwritten(place, tmp_path):
    write_video(tmp_path/'clip.mp4', np.zeros((10, 16, 16, 3), np.uint8), 10, str(place/'tone.wav'))
    before = (tmp_path/'clip.mp4').read_bytes()
    for words in ([], ['-o', 'clip.mp4'], ['-o', tmp_path/'clip.mp4']):
        r = cli('generate', 'clip.mp4', '--pack', place/'pack', *words, cwd=tmp_path)
        assert r.returncode == 2 and 'the sound itself' in r.stderr
    assert (tmp_path/'clip.mp4').read_bytes() == before and len(list(tmp_path.iterdir())) == 1

def test_silence_is_calm(place, tmp_path):
    r = generate(place, 'silent.wav', tmp_path/'out.mp4')
    assert r.returncode == 0 and r.stderr.count('\n') == 1 and 'silent' in r.stderr
    frames = read_frames(tmp_path/'out.mp4').astype(int)
    assert len(frames) == 30 and abs(frames - frames[0]).max() <= 10 # what the codec does to this noise

def test_rate_channels_and_length_are_the_sounds(place, tmp_path):
    assert generate(place, 'stereo.flac', tmp_path/'out.mp4', '--fps', '23.976').returncode == 0
    info = probe(tmp_path/'out.mp4')
    assert (info.rate, info.channels, info.frames) == (44100, 2, 33) and abs(
        info.seconds - info.video_seconds
    ) < 1 / 23.976
    assert abs(info.seconds - 1.37) < 1/23.976

def test_seeds(place, tmp_path):
    for name, seed in (('a', 5), ('b', 5), ('c', 6)):
        assert generate(place, 'tone.wav', tmp_path / f'{name}.mp4', '--seed', seed, '--fps', 10).returncode == 0
    a, b, c = (read_frames(tmp_path/f'{n}.mp4').astype(int) for n in 'abc')
    assert (a == b).all() and abs(a - c).mean() > 5

@pytest.mark.parametrize('out', ['out.gif', 'out.webm', 'frames'])
def test_other_kinds_of_output(place, tmp_path, out):
    r = generate(place, 'tone.wav', tmp_path/out, '--fps', 10)
    assert r.returncode == 0, r.stderr
    assert [p.name for p in tmp_path.iterdir()] == [out]
    if out == 'frames': assert len(list((tmp_path/out).iterdir())) == 20

def test_the_default_name_is_in_the_current_folder(place, tmp_path):
    r = cli('generate', place/'tone.wav', '--pack', place/'pack', '--fps', 5, cwd=tmp_path)
    assert r.returncode == 0 and r.stdout.startswith('tone.mp4: 10 frames') and not r.stderr
    assert [p.name for p in tmp_path.iterdir()] == ['tone.mp4']

@pytest.mark.skipif(os.name != 'posix', reason='signals are sent the POSIX way')
@pytest.mark.parametrize('sign', ['SIGINT', 'SIGTERM'])
def test_interrupted_while_writing(place, tmp_path, sign):
    words = ['generate', place/'long.wav', '-o', tmp_path/'out.mp4', '--pack', place/'pack', '--fps', 120]
    with begun(*words) as (p, said):
        deadline = time.time() + 120
        while not any(f.stat().st_size > 0 for f in tmp_path.iterdir()):
            assert p.is_alive() and time.time() < deadline, said()
            time.sleep(.01)
        os.kill(p.pid, getattr(signal, sign))
        p.join(60)
        r = said()
    assert r.returncode == 130 and r.stderr.count('\n') == 1 and 'interrupted' in r.stderr, r
    assert not any(tmp_path.iterdir())

@pytest.fixture
def small_disk(tmp_path):
    "A file system of 100 kB."
    d = tmp_path / 'disk'
    d.mkdir()
    if (
        not shutil.which('mount')
        or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=100k', 'none', d], capture_output=True).returncode
    ):
        pytest.skip('no permission to mount')
    yield d
    subprocess.run(['umount', d], check=True)

@pytest.mark.parametrize('out', ['out.mp4', 'out.gif', 'frames'])
def test_full_disk(place, small_disk, out):
    assert_refused(generate(place, 'long.wav', small_disk / out, '--fps', 30), small_disk, 'free some space')

def test_read_only_disk(place, small_disk):
    subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)
    assert_refused(generate(place, 'tone.wav', small_disk/'out.mp4'), small_disk, 'cannot write')

def test_doctor():
    r = cli('doctor', '--json')
    report = json.loads(r.stdout)
    assert r.returncode == 0 and r.stdout.count('\n') == 1
    assert (
        report['codecs']['libx264']
        and report['codecs']['aac']
        and report['versions']['torch']
        and report['devices']['threads'] > 0
    )

@pytest.mark.skipif(os.name != 'posix', reason='pipes close the POSIX way')
def test_a_reader_who_leaves():
    p = subprocess.Popen(
        [sys.executable, '-m', 'sound_video', 'completion', 'bash'], # what prints, and imports little
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    p.stdout.close()
    assert not p.stderr.read() and p.wait(60) == 1

def test_help_is_there_at_once():
    seconds = []
    for _ in range(3): # the processor's time: the clock's depends on what else the machine does
        start = os.times(); r = cold('--help'); end = os.times()
        seconds.append(end.children_user + end.children_system - start.children_user - start.children_system)
    assert r.returncode == 0 and 'generate' in r.stdout and min(seconds) < 1
    assert cli('--version').stdout.startswith('sound-video ')

@pytest.mark.skipif(sys.platform == 'win32', reason='needs wait4')
def test_memory_does_not_grow_with_the_sound(place, tmp_path):
    peaks = []
    for seconds in (20, 120):
        soundfile.write(tmp_path/'s.wav', tone(seconds), RATE)
        p = subprocess.Popen(
            [
                sys.executable,
                '-m',
                'sound_video',
                'generate',
                str(tmp_path / 's.wav'),
                '-o',
                str(tmp_path / 's.mp4'),
                '--pack',
                str(place / 'pack'),
                '--fps',
                '5',
            ],
            stdout=subprocess.DEVNULL,
            env=ENV,
        )
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = status
        assert not status
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < 1.1 * peaks[0]

def test_learned_motion_and_what_steers_it(place, tmp_path):
    ways = {
        'plain': [],
        'reactive': ['--motion', 'reactive'],
        'prompt': ['--prompt', 'falling rain', '--mix', '.9'],
        'picture': ['--start', place / 'picture.png'],
        'seed': ['--start', '7'],
        'still': ['--speed', '0'],
    }
    for name, words in ways.items():
        r = cli(
            'generate',
            place / 'tone.wav',
            '-o',
            tmp_path / f'{name}.mp4',
            '--pack',
            place / 'able',
            '--fps',
            '5',
            *words,
        )
        assert r.returncode == 0, r.stderr
    seen = {name: read_frames(tmp_path/f'{name}.mp4').tobytes() for name in ways}
    assert len(set(seen.values())) == len(ways)

@pytest.mark.parametrize(
    'words, says',
    [
        (['--start', 'gone.png'], 'no such file'),
        (['--prompt', 'qwxz'], 'never read a word'),
        (['--start', 'tone.wav'], 'not a picture'),
        (['--prompt', 'rain', '--motion', 'reactive'], 'learned motion'),
    ],
)
def test_faults_of_what_steers(place, tmp_path, words, says):
    words = [place/w if w == 'tone.wav' else w for w in words]
    assert_refused(
        cli('generate', place / 'tone.wav', '-o', tmp_path / 'out.mp4', '--pack', place / 'able', *words),
        tmp_path,
        says,
    )

def test_a_folder_of_sounds(place, tmp_path):
    sounds, out = tmp_path/'sounds', tmp_path/'videos'
    sounds.mkdir()
    for name, of in {
        'a.wav': 'tone.wav',
        'B.flac': 'stereo.flac',
        'b.wav': 'tone.wav',
        'broken.wav': 'text.wav',
    }.items():
        (sounds / name).symlink_to(place / of)
    (sounds/'notes.txt').write_text('nothing to hear')
    make = lambda *words, **env: cli('generate', *words, '--pack', place/'pack', '--fps', 5, **env)
    halves = [make(sounds, '-o', out, RANK=i, WORLD_SIZE='2') for i in '01']
    assert sorted(r.returncode for r in halves) == [0, 2]
    assert sorted(p.name for p in out.iterdir()) == ['B.flac.mp4', 'a.mp4', 'b.wav.mp4']
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    again = make(sounds/'*.wav', sounds/'*.flac', '-o', out, '--skip-existing')
    assert again.returncode == 2 and '3 were there already, 1 failed' in again.stdout
    assert again.stderr.count('\n') == 1 and 'broken.wav' in again.stderr
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    kept = make(sounds/'a.wav', '-o', out/'a.mp4', '--skip-existing') # one file and many behave alike
    assert kept.returncode == 0 and 'was there already' in kept.stdout
    assert (out/'a.mp4').stat().st_mtime_ns == before['a.mp4']
    assert make(sounds/'a.wav', '-o', out/'a.mp4').returncode == 0 and make(sounds, '-o', out).returncode == 2
    assert all(p.stat().st_mtime_ns > before[p.name] for p in out.iterdir())

@pytest.mark.parametrize(
    'words,says',
    [
        (['one/a.mp4', 'two/a.mp4', '-o', 'out'], 'both become'),
        (['one', '-o', 'one'], 'one of the sounds'),
        (['one', '-o', 'x.mp4'], 'name a folder'),
        (['three'], 'no sounds'),
        (['*.ogg'], 'no sounds'),
    ],
)
def test_folders_that_cannot_be(place, tmp_path, words, says):
    for name in ('one', 'two', 'three'): (tmp_path/name).mkdir()
    for name in ('one', 'two'): (tmp_path/name/'a.mp4').write_bytes(b'as it is')
    r = cli('generate', *words, '--pack', place/'pack', cwd=tmp_path)
    assert r.returncode == 2 and r.stderr.count('\n') == 1 and says in r.stderr, r.stderr
    assert (tmp_path/'one/a.mp4').read_bytes() == b'as it is'

# --- nothing is passed over in silence

def odd_names(folder, rate=8000):
    "Sounds under names that nobody thought of, and things that are none."
    folder.mkdir()
    for name in ('a.wav', 'take [1].wav', 'b.ambience', 'no ending', 'c.w64', 'd.caf', 'e.au', 'two\nlines.x'):
        soundfile.write(
            folder / name,
            tone(0.5, rate),
            rate,
            format={'w64': 'W64', 'caf': 'CAF', 'e.au': 'AU'}.get(name if name == 'e.au' else name[2:], 'WAV'),
        )
    for name in ('notes.txt', 'list.csv', 'x.json', 'empty.snd'):
        (folder / name).write_text('' if 'empty' in name else 'rain, thunder\n')
    (folder / '.hidden.wav').write_bytes((folder / 'a.wav').read_bytes())
    (folder / 'sub').mkdir()
    write_image(folder / 'cover.png', np.zeros((8, 8, 3), np.uint8))
    return folder

UNHEARD = {
    '.hidden.wav': 'is hidden',
    'cover.png': 'is a picture',
    'empty.snd': 'is empty',
    'list.csv': 'is neither',
    'notes.txt': 'is neither',
    'sub': 'is a folder',
    'x.json': 'is neither',
}

def test_what_can_be_read_is_used_whatever_its_ending(tmp_path, capsys):
    d = odd_names(tmp_path/'odd')
    sounds, many, lines = _sounds([str(d)])
    assert (
        many
        and sorted(p.name for p in sounds) == sorted(p.name for p in d.iterdir() if p.name not in UNHEARD)
        and len(sounds) == 8
    )
    assert lines == [f"7 things in '{d}' were passed over (-v names them)"]

def test_each_is_named_with_its_reason(tmp_path, capsys, monkeypatch):
    d, seen = odd_names(tmp_path / 'odd'), []
    monkeypatch.setitem(_COMMANDS, 'name', (lambda a: seen.extend(_sounds(a.sound)[2]), *_COMMANDS['name'][1:]))
    assert main(['name', '-v', str(d)]) == 0
    assert len(seen) == 8 and all('\n' not in line for line in seen)
    for name, why in UNHEARD.items():
        assert any(line.startswith(f"passed over {str(d/name)!r}: {why}") for line in seen), (name, seen)
    seen.clear()
    assert main(['name', str(d)]) == 0 and len(seen) == 1  # the next one is not talkative

def test_nothing_but_what_is_passed_over(tmp_path):
    (tmp_path/'d').mkdir(); (tmp_path/'d'/'notes.txt').write_text('rain')
    with pytest.raises(UserError, match="no sounds in .*1 thing in .* was passed over"): _sounds([str(tmp_path/'d')])

@pytest.mark.parametrize(
    'names, word, meant',
    [
        (['take [1].wav', 'take 1.wav'], 'take [1].wav', ['take [1].wav']),
        (['take1.wav', 'take2.wav', 'take3.wav'], 'take[12].wav', ['take1.wav', 'take2.wav']),
        (['take[1]a.wav', 'take[1]b.wav', 'take1c.wav'], 'take[1]*.wav', ['take[1]a.wav', 'take[1]b.wav']),
        (
            ['live [2020]/a.wav', 'live [2020]/b.wav', 'live 2/c.wav'],
            'live [2020]/*.wav',
            ['live [2020]/a.wav', 'live [2020]/b.wav'],
        ),
        (
            ['live [2020]/a1.wav', 'live [2020]/a2.wav', 'live [2020]/a3.wav'],
            'live [2020]/a[13].wav',
            ['live [2020]/a1.wav', 'live [2020]/a3.wav'],
        ),
        (['x]y[.wav'], 'x]y[.*', ['x]y[.wav']),
        (['a?.wav', 'ab.wav'], 'a?.wav', ['a?.wav']),
        (['one/deep/a.wav', 'one/b.wav'], '**/*.wav', ['one/b.wav', 'one/deep/a.wav']),
    ],
)
def test_brackets_in_names(tmp_path, monkeypatch, names, word, meant):
    for name in names:
        (p := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(p, tone(0.1), RATE)
    monkeypatch.chdir(tmp_path)
    assert [p.as_posix() for p in _sounds([word])[0]] == meant

def test_links_that_go_round_in_circles(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    soundfile.write(tmp_path / 'a' / 'x.wav', tone(0.1), RATE)
    try:
        (tmp_path / 'a' / 'round').symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / 'a' / 'gone.wav').symlink_to('nowhere')
    except OSError:
        pytest.skip('no links here')
    monkeypatch.chdir(tmp_path)
    assert [p.as_posix() for p in _sounds(['**/*.wav'])[0]] == [
        'a/gone.wav',
        'a/x.wav',
    ]  # an ending is a promise: the other one fails when it is read
    assert [p.as_posix() for p in _sounds(['../' + tmp_path.name + '/a/*.wav'])[0]] == [
        f'../{tmp_path.name}/a/gone.wav',
        f'../{tmp_path.name}/a/x.wav',
    ]

@pytest.mark.parametrize(
    'words, says',
    [
        ('generate a.wav --mix .3', '--mix.*--prompt'),
        ('generate a.wav --motion 2 --speed 3', '--motion.*--speed'),
        ('generate a.wav --hours 17-21', '--hours.*world'),
        ('edit p.png a.wav --mix .3', '--mix.*--prompt'),
        ('edit p.png a.wav --prompt-layers fine', '--prompt-layers.*--prompt'),
        ('edit p.png a.wav --speed 2', '--speed is for videos'),
        ('edit p.png a.wav --fps 25', '--fps is for videos'),
        ('edit p.png a.wav --track both', '--track is for videos'),
        ('edit p.png a.wav --schedule loudness', '--schedule is for videos'),
    ],
)
def test_no_option_is_ignored_in_silence(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    soundfile.write('a.wav', tone(0.1), RATE)
    write_image('p.png', np.zeros((8, 8, 3), np.uint8))
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert re.search(says, err) and err.count('\n') == 1 and not out and sorted(os.listdir()) == ['a.wav', 'p.png']

@pytest.mark.parametrize(
    'words, says',
    [
        ('--data nowhere', "no such folder.*'nowhere'"),
        ('image_classifier stylegan --data nowhere', 'no such folder'),
        ('image_classifier --data none.zip', 'no such folder'),
        ('--data empty', 'no clips are there'),
        ('image_classifier stylegan --data empty', 'no clips are there'),
        ('image_classifier stylegan --data notes', 'there in .*1 thing in'),
        ('clip audio --inception x.pt', 'Inception.*stylegan'),
        ('image_classifier stylegan --set clip.epochs=2', 'clip.epochs'),
        ('table --set batch=2', '--set.*table'),
        ('table --from mini', '--from.*table'),
        ('table --inception x.pt', '--inception.*table'),
    ],
)
def test_training_that_cannot_be_leaves_nothing(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    os.mkdir('empty')
    os.mkdir('notes')
    open('notes/x.txt', 'w').write('rain')
    before = sorted(p.as_posix() for p in tmp_path.rglob('*'))
    assert main(['train', '--out', 'pack', '--preset', 'tiny', *words.split()]) == 2
    out, err = capsys.readouterr()
    assert re.search(says, err) and err.count('\n') == 1 and not out, err
    assert sorted(p.as_posix() for p in tmp_path.rglob('*')) == before


CASES = Path(__file__).resolve().parents[2]/'shared'/'cases'

@pytest.mark.skipif(not CASES.exists(), reason='no cases here')
@pytest.mark.parametrize(
    'words, status, said',
    [
        (['c06_second_default.mkv'], 0, '2 sound tracks: number 2 is read'),
        (['c06_second_default.mkv', '--audio-track', '3'], 2, 'no sound track number 3: choose from 1 to 2'),
        (['c06_first_silent.mp4'], 0, 'choose with --audio-track'),
        (['gap.mkv'], 0, '1 hole of 2.01 s in all'),
        (['gap.mp4'], 0, '1 hole of 2.01 s in all'),
        (['hurt.mp4'], 0, '1 hole of 0.38 s in all'),
    ],
)
def test_what_is_odd_about_a_sound_is_said_once_a_command(words, status, said, capsys):
    for _ in range(2):
        assert main(['name', str(CASES/words[0]), *words[1:]]) == status
        assert capsys.readouterr().err.count(said) == 1

@pytest.mark.skipif(not CASES.exists(), reason='no cases here')
def test_the_track_that_is_asked_for_is_heard(capsys):
    for number, label in (1, 'fire crackling'), (2, 'thunder'):
        assert main(['name', str(CASES/'c06_second_default.mkv'), '--audio-track', str(number), '--json']) == 0
        assert json.loads(capsys.readouterr().out)['labels'][0]['label'] == label
