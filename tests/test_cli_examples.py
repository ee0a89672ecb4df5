"""The examples that `--help` and the README print: all are understood, and all but trainings, measurements and
downloads do what they say; of those, every option arrives."""
import json, os, re, shlex, shutil, subprocess, sys
from pathlib import Path
import av, mido, numpy as np, pytest, soundfile, torch
from sound_video.app.request import parse_size
from sound_video.app import cli
from sound_video.core.errors import UserError
from sound_video.media.videos import probe, write_video
from sound_video.media.images import read_image, write_image
from sound_video.app.pack_config import default_pack

def spoken(line): # -> the words after the program's name, without what the shell or a launcher takes
    return shlex.split(re.sub(' >.*', '', re.split('sound[-_]video ', line, maxsplit=1)[1]), comments=True)

COMMANDS = {
    name: (args, [spoken(line) for line in examples.splitlines()])
    for name, (_, _, args, examples) in cli._COMMANDS.items()
}
EXAMPLES = {shlex.join(words): words for _, examples in COMMANDS.values() for words in examples}
README = re.findall(
    r'sound-video ((?:generate|edit|name|train|data|evaluate|convert|doctor|completion) [^`\n]*)',
    (Path(__file__).parents[1] / 'README.md').read_text(encoding='utf-8'),
)
RATE = 16000

def command(words): return next(n for n in COMMANDS if words[:len(n.split())] == n.split())
def of(*commands, without='$^'): # -> examples
    return [e for e, words in EXAMPLES.items() if command(words) in commands and not re.search(without, e)]
QUICK, MANY = of('generate', 'edit', 'name', 'doctor', 'data check', without=r'\bsounds\b'), of(
    'generate', without=r'^(?!.*\bsounds\b)|--ray|--workers'
) # these are in test_bulk.py
def parsed(words): return cli._parser().parse_args(words)

@pytest.mark.parametrize('words', EXAMPLES.values(), ids=EXAMPLES)
def test_help_is_understood(words): assert parsed(words).run is cli._COMMANDS[command(words)][0]

@pytest.mark.parametrize('line', README)
def test_readme_is_understood(line):
    words = shlex.split(line, comments=True)
    assert parsed(words).run is cli._COMMANDS[command(words)][0]

@pytest.mark.parametrize('name', COMMANDS)
def test_every_option_has_an_example(name):
    args, examples = COMMANDS[name]
    seen = {word for words in examples if command(words) == name for word in words}
    assert seen, f'{name} has no example'
    assert not [names for names, _ in args if names[0].startswith('-') and not seen & set(names)]
    assert all(kw.get('help') for _, kw in args)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder that has what the examples name: a second of noise that swells, speckled pictures, short films, packs."
    d, rng = tmp_path_factory.mktemp('examples'), np.random.default_rng(0)
    sound = (.4 * rng.normal(size=RATE) * np.abs(np.sin(np.linspace(0, 6, RATE)))).astype(np.float32)
    picture = rng.integers(0, 255, (64, 80, 3), np.uint8)
    for n in ('rain.wav', 'wind.wav', 'day.wav', 'drums.wav', 'song.mp3', 'fire.mp3', 'waves.mp3', 'storm.ogg'):
        soundfile.write(d / n, sound, RATE)
    (d/'day.json').write_text('{"segments": [{"start": 0, "end": 1, "scene": "raining"}]}')
    mido.MidiFile(tracks=[mido.MidiTrack([mido.Message('note_on', note=36, time=240)])]).save(d/'song.mid')
    (d/'glow.csv').write_text('time,glow\n0,0\n1,2\n')
    (d/'show.toml').write_text('preset = "drift"\n[drive]\nzoom = "1+.2*drums.bass"\n[stems]\ndrums = "drums.wav"\n')
    for n in ('hills.jpg', 'beach.jpg'): write_image(d/n, picture)
    for n in ('my-videos/raining', 'landscape/raining'): (d/n).mkdir(parents=True)
    for n in ('beach.mp4', 'holiday.mp4', 'my-videos/raining/0.mp4', 'landscape/raining/0.mp4'):
        write_video(d / n, [picture] * 10, 10, (torch.from_numpy(sound)[None], RATE))
    small_pack(d/'small')
    for n in ('my-pack', 'faces'): (d/n).symlink_to(d/'small', target_is_directory=True)
    return d

def small_pack(path):
    "The shipped pack, whose generator makes pictures of 64 pixels."
    shutil.copytree(default_pack(), path)
    config = json.loads((path/'config.json').read_text(encoding='utf-8'))
    config['generator']['config']['shrink'] = 4
    (path/'config.json').write_text(json.dumps(config), encoding='utf-8')

SHIPPED = 'generate rain.wav', 'generate song.mp3 --preset pulse', 'edit hills.jpg rain.wav' # by the shipped pack
def small_for(a, example): # -> words
    ours = example.split()[0] in ('generate', 'edit') and not a.pack and example not in SHIPPED
    return ['--pack', 'small'] if ours else []

def check_film(path, fps, size):
    "A second of pictures, with its sound."
    seen = probe(path)
    assert seen.fps == fps and seen.frames == fps and abs(seen.seconds - 1) < .1 and seen.size == size

def asked_size(a): # -> height and width in pixels
    if getattr(a, 'size', None): return parse_size(a.size)[::-1]
    own = getattr(a, 'backdrop', None) or getattr(a, 'source', None)
    if own: return 64, 80
    return (256, 256) if a.pack is None else (64, 64) # of the model

def check_made(said, a, place, fps):
    "What `generate` or `edit` says that it made is there, and is what was asked for."
    path = place/said.partition(':')[0]
    assert not a.out or path.name == a.out
    if path.suffix == '.png': assert read_image(path).shape == (*asked_size(a), 3)
    else: check_film(path, int(a.fps or fps), asked_size(a))
    if getattr(a, 'strip', None): assert read_image(place/a.strip).shape[0] == 64

def check_said(said, a):
    "What `name`, `doctor` or `data check` says."
    if a.json: assert isinstance(json.loads(said), dict)
    else: assert len(said.splitlines()) >= 1 and not said.startswith('{')

@pytest.mark.parametrize('example', QUICK)
def test_quick_ones_work(example, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = EXAMPLES[example]
    words = [*words, *small_for(parsed(words), example)]
    a = parsed(words)
    few = ['--steps', '3'] if words[0] == 'edit' else []
    assert cli.main([*words, *few]) == 0
    said = capsys.readouterr().out
    if words[0] in ('generate', 'edit'):
        check_made(said, a, place, 10 if str(getattr(a, 'source', '')).endswith('.mp4') else 30)
    else:
        check_said(said, a)

@pytest.mark.parametrize('example', MANY)
def test_many_sounds_work(example, place, tmp_path, monkeypatch, capsys):
    (tmp_path/'sounds').mkdir()
    for n in ('a.mp3', 'b.mp3'): shutil.copy(place/'song.mp3', tmp_path/'sounds'/n)
    monkeypatch.chdir(tmp_path)
    assert cli.main([*EXAMPLES[example], '--fps', '4']) == 0
    assert [p.name for p in sorted(Path('videos').iterdir())] == [
        'a.mp4',
        'b.mp4',
    ] and '2 videos made' in capsys.readouterr().out

SHORTER = {
    'clips': ('--clips', '1'),
    'seconds': ('--seconds', '.5'),
    'fps': ('--fps', '4'),
    'scenes': ('--scenes', 'thunder'),
    'size': ('--size', '64'),
}  # what a test has no time for, unless the example is about it

@pytest.mark.parametrize('example, but', zip(of('data render'), ('', 'scenes', 'seconds fps'), strict=True))
def test_data_is_rendered(example, but, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, a = EXAMPLES[example], parsed(EXAMPLES[example])
    assert cli.main([*words, *(w for name, o in SHORTER.items() if name not in but.split() for w in o)]) == 0
    made = [(p.parent.name, p.stem) for p in sorted(Path(a.out).rglob('*.mp4'))]
    assert made == sorted((scene, f'{a.seed:06}') for scene in (a.scenes if 'scenes' in but else 'thunder').split(','))
    seen = probe(next(Path(a.out).rglob('*.mp4')))
    assert (seen.rate, seen.fps, seen.seconds) == (
        a.rate,
        int(a.fps) if 'fps' in but else 4,
        a.seconds if 'seconds' in but else 0.5,
    )

def with_two_tracks(path):
    "The same film, with its sound on two tracks."
    whole = path.rename('whole.mp4')
    with av.open(str(whole)) as c, av.open(str(path), 'w') as out:
        ways = {
            s.index: [out.add_stream_from_template(s) for _ in range(2 if s.type == 'audio' else 1)] for s in c.streams
        }
        for p in c.demux():
            data = bytes(p)
            for s in ways[p.stream_index] if p.dts is not None else ():
                q = av.Packet(data)
                q.pts, q.dts, q.duration, q.time_base, q.is_keyframe, q.stream = (
                    p.pts,
                    p.dts,
                    p.duration,
                    p.time_base,
                    p.is_keyframe,
                    s,
                )
                out.mux(q)

@pytest.mark.parametrize('example', of('data curate', without='--fetch|--ray')) # which download, or take a minute
def test_films_are_cut(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng, a = np.random.default_rng(0), parsed(EXAMPLES[example])
    Path('my-films/raining').mkdir(parents=True)
    write_video(
        'my-films/raining/film.mp4',
        rng.integers(0, 255, (round(10 * a.seconds), 48, 48, 3), np.uint8),
        10,
        (torch.from_numpy(0.1 * rng.normal(size=(1, round(RATE * a.seconds))).astype(np.float32)), RATE),
    )
    if a.audio_track: with_two_tracks(Path('my-films/raining/film.mp4'))
    assert cli.main([*EXAMPLES[example], '--size', '64']) == 0
    said, clip = capsys.readouterr().out, next(Path(a.out).rglob('*.mp4'))
    assert (probe(clip).rate, probe(clip).fps, round(probe(clip).seconds)) == (a.rate, int(a.fps), a.seconds)
    if a.json: assert json.loads(said)

@pytest.mark.parametrize('example', of('data shard'))
def test_clips_are_packed(example, place, tmp_path, monkeypatch, capsys):
    from sound_video.data.clips import find_clips
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place/'my-videos', 'my-videos')
    assert cli.main(EXAMPLES[example]) == 0
    said, (found,) = capsys.readouterr().out, find_clips('shards')
    assert found.label == 'raining' and found.track == parsed(EXAMPLES[example]).audio_track
    if '--json' in EXAMPLES[example]: assert json.loads(said)['samples'] == 1

@pytest.mark.parametrize('example', of('convert'))
def test_snapshots_are_converted(example, tmp_path, monkeypatch):
    import fake_snapshot
    monkeypatch.chdir(tmp_path)
    a = parsed(EXAMPLES[example])
    G = (fake_snapshot.stylegan3 if 'stylegan3' in a.snapshot else fake_snapshot.stylegan2)()
    Path(a.snapshot).write_bytes(
        fake_snapshot.dumps(
            {a.network: G}, {G: dict(_init_args=(), _init_kwargs=fake_snapshot.arguments(G), z_dim=G.cfg.z_dim)}
        )
    )
    assert cli.main(EXAMPLES[example]) == 0
    assert {p.name for p in Path(a.out).iterdir()} == {'README.md', 'config.json', 'generator.safetensors'}

def caught(monkeypatch, target, gives): # -> the arguments of each call
    calls = []
    monkeypatch.setattr(target, lambda *args, **kw: calls.append((args, kw)) or gives)
    return calls

@pytest.mark.parametrize('example', of('train', without='--plan'))
def test_training_is_told_every_option(example, tmp_path, monkeypatch, capsys):
    from sound_video.app.training import STAGES
    a = parsed(EXAMPLES[example])
    monkeypatch.chdir(tmp_path)
    for folder in {a.data, a.recordings} - {'world', None}:
        if '://' not in folder: Path(folder).mkdir()
    calls = caught(monkeypatch, 'sound_video.app.training.train', a.out)
    assert cli.main(EXAMPLES[example]) == 0 and 'complete' in capsys.readouterr().out
    (out, preset, stages, data, resume, seed), kw = calls[0]
    assert (out, preset, data, resume, seed) == (a.out, a.preset, a.data, a.resume, a.seed) and list(stages) == (
        a.stages or list(STAGES)
    )
    assert kw == dict(
        precision=a.precision,
        accumulate=a.accumulate,
        start=a.start,
        inception=a.inception,
        settings={'batch': 16} if a.settings else {},
        recordings=a.recordings,
    )

@pytest.mark.parametrize('example', of('train', without='^(?!.*--plan)'))
def test_plans_are_told_every_option(example, monkeypatch, capsys):
    from sound_video.app.plan import Plan
    a = parsed(EXAMPLES[example])
    calls = caught(monkeypatch, 'sound_video.app.plan.plan_training', Plan(a.preset, 'cpu', [], [], 1.))
    assert cli.main(EXAMPLES[example]) == 0
    (preset, stages), kw = calls[0]
    assert preset == a.preset and list(stages) == list(cli._STAGES[:6] if not a.stages else a.stages)
    assert kw == dict(settings={}, precision=a.precision, accumulate=a.accumulate, seed=a.seed, start=a.start)
    said = capsys.readouterr().out
    assert json.loads(said)['preset'] == a.preset if a.json else said.startswith(a.preset)
@pytest.mark.parametrize('example', of('generate', 'name', 'data curate', without='^(?!.*--ray)'))
def test_ray_is_told_where_it_is(example, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ('sounds', 'my-films/raining'): Path(folder).mkdir(parents=True)
    for n in ('a.mp3', 'b.mp3'): shutil.copy(place/'song.mp3', tmp_path/'sounds'/n)
    shutil.copy(place/'beach.mp4', 'my-films/raining/a.mp4')
    monkeypatch.setattr('sound_video.core.bulk.check_ray', lambda address: None)
    monkeypatch.setattr('sound_video.data.curation.check_ray', lambda address: None)
    told = []
    def work(items, make, n, ray, *args):
        told.append(ray)
        raise UserError('is told')
    monkeypatch.setattr('sound_video.core.bulk.work_on', work)
    monkeypatch.setattr('sound_video.data.curation.work_on', work)
    assert cli.main(EXAMPLES[example]) == 2 and told == [parsed(EXAMPLES[example]).ray]

@pytest.mark.parametrize('example', of('evaluate', without='--hearing'))
def test_measuring_is_told_every_option(example, tmp_path, monkeypatch, capsys):
    from sound_video.app.evaluation import Table
    monkeypatch.chdir(tmp_path)
    a, row = parsed(EXAMPLES[example]), dict(name='ours', scene=.5, scene_se=.1)
    if a.pack: shutil.copytree(default_pack(), a.pack, ignore=shutil.ignore_patterns('clip', '*.safetensors'))
    if a.data != 'world': Path(a.data).mkdir()
    calls = caught(monkeypatch, 'sound_video.app.evaluation.evaluate', Table([row], dict(clips=9)))
    assert cli.main(EXAMPLES[example]) == 0
    assert calls == [((a.pack, a.data, a.clips), dict(rows=a.rows and a.rows.split(',')))]
    said = capsys.readouterr().out
    assert json.loads(Path(f'{a.out}.json').read_text())['rows'] == [row] and Path(f'{a.out}.md').exists()
    assert json.loads(said)['rows'] == [row] if a.json else said.startswith('|')

@pytest.mark.parametrize('example', of('evaluate', without='^(?!.*--hearing)'))
def test_hearing_is_measured(example, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = Path(parsed(EXAMPLES[example]).hearing)/'raining'
    folder.mkdir(parents=True)
    for i in range(20):
        shutil.copy(place / 'rain.wav', folder / f'{i}.wav')  # as if by twenty people, some of them for testing
    assert cli.main(EXAMPLES[example]) == 0
    said = json.loads(capsys.readouterr().out)
    assert 0 < said['recordings'] < 20 and 0 <= said['top1'] <= said['top2'] <= 1

@pytest.mark.parametrize('example', of('completion'))
def test_completion_is_printed(example, capsys):
    assert cli.main(EXAMPLES[example]) == 0 and 'complete ' in capsys.readouterr().out

@pytest.mark.parametrize(
    'typed, offered',
    [
        ('g', 'generate'),
        ('data ', 'render curate check shard --help -h'),
        ('data render --s', '--scenes --seconds --size --seed'),
        ('generate rain.wav --p', '--pack --psi --prompt'),
        ('edit a.jpg b.wav --prompt-', '--prompt-layers'),
        ('completion z', 'zsh'),
    ],
)
def test_shells_are_told_what_may_come_next(typed, offered, tmp_path):
    line, out = f'sound-video {typed}', tmp_path/'out'
    env = os.environ | dict(_ARGCOMPLETE='1', COMP_LINE=line, COMP_POINT=str(len(line)), _ARGCOMPLETE_IFS='\n',
        _ARGCOMPLETE_STDOUT_FILENAME=str(out))
    subprocess.run([sys.executable, '-m', 'sound_video'], env=env, timeout=60, capture_output=True)
    found = [word.strip() for word in out.read_text().split('\n')]
    assert set(offered.split()) <= set(found) and len(set(found) - set(offered.split())) <= 1, found

