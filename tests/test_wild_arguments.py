"""No argument, however wild, ends in anything but a result or a `UserError`, nor in more memory than the sound needs.

Which functions: derived from the public names of all modules, by rule. In are functions and classes all of whose
required parameters are things that a user has: sounds, images, files, words and numbers, which are those of `VALID`;
and the methods of what users hold in their hands (`HELD`), by the same rule. Out are those that ask for what only the
package makes (networks, latents, scores, batches, learners, configurations, vectors): there the shapes are the
caller's business, as they are torch's; dataclasses, networks and loaders, which the package fills; and those in
`OUT`, each with its reason. `test_what_readers_meet` proves that nothing else of the README and the
tutorials is out, `test_valid_arguments` that the arguments get beyond the checks.

A few hundred tries by default; `SOUND_VIDEO_WILD=2000` makes about as many. They are the same each time."""
import inspect, json, os, re, sys
from importlib import import_module
from itertools import islice
from pathlib import Path
import matplotlib; matplotlib.use('Agg')
import matplotlib.pyplot as plt, mido, numpy as np, pytest, soundfile, torch
import tiny_pack
from hypothesis import HealthCheck, given, settings, strategies as st
from sound_video.all import Features, SoundVideo, UserError, Video, features, render, write_image, write_video
from sound_video.app.edit import EditedImage
from sound_video.core.errors import value_met
from sound_video.app.world import WorldVideo
from sound_video.world.clips import WorldClip
from sound_video.hearing.naming import Heard, Hearing
from sound_video.hearing.others import can_speak
from sound_video.hearing.timeline import Timeline

ROOT = Path(__file__).resolve().parents[1]
TRIES = int(os.environ.get('SOUND_VIDEO_WILD', 300))
N, RATE = 4000, 8000
SAMPLES = np.sin(np.arange(N) / 20) * np.linspace(0, .5, N)
INT16 = (SAMPLES * 2**15).astype('int16')
FRAMES = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3)).astype(np.uint8)


# what a user may have

VALID = dict(  # by the names of parameters; the first serves where one must do
    sound=[(SAMPLES, RATE), (torch.zeros(2, N), RATE), (INT16, RATE), 'sound.wav', Path('film.mp4')],
    feats=[features((SAMPLES, RATE))],
    frames=[FRAMES, list(FRAMES), FRAMES[:1]],
    images=[FRAMES, torch.zeros(2, 3, 16, 16)],
    image=[FRAMES[0]],
    picture=[FRAMES[0], 'picture.png'],
    video=[FRAMES],
    path=['film.mp4', 'sound.wav', 'picture.png', 'clips', 'gone.wav'],
    folder=['clips', 'pictures'],
    source=['picture.png', 'clips', 'pictures'],
    out=['new'],
    p=[Path('film.mp4')],
    name=['a name.mp4'],
    label=['thunder: a close strike'],
    labels=[['rain', 'thunder']],
    prompt=['steady rain', 'a red sunset'],
    scene=['raining', 'thunder'],
    scenes=[{'raining': 0.5}],
    seed=[0, 7],
    seeds=[torch.tensor([3, 14])],
    split=['train', 'test'],
    seconds=[0.3],
    fps=[5, '23.976'],
    rate=[RATE],
    size=[16],
    n=[2],
    resolution=[32],
    device=['cpu'],
    channels=[1, 2],
    times=[np.array([0, 0.1, 0.2])],
    index=[0],
    beats=[np.array([0.1, 0.2, 0.3])],
)
DRIVEN = dict(
    drive=[None, 'zoom=1+.2*bass, flash=0:0, 1:.5', {'hue': 'beat(.01, .2)'}, Path('show.toml')],
    preset=[None, 'pulse'],
    stems=[None],
    midi=[None],
    curve=[None],
)
OWN = {  # of single functions
    'mixed_sounds': dict(a=[(SAMPLES, RATE), 'sound.wav'], b=[(SAMPLES[:100], 16000), 'film.mp4']),
    'generate': dict(class_name=[None, 'raining', {'raining': 0.5}], start=[None, 3, FRAMES[0]],
        end=[None, FRAMES[1]], **DRIVEN),
    'edit': dict(source=[FRAMES[0], FRAMES, 'picture.png'], steps=[1], layers=['fine']),
    'write_video': dict(path=['made.mp4', 'made.gif', 'made', 'made.webm']),
    'stills': dict(size=[16]),
    'parse_size': dict(size=['640x360', (96, 64)]),
    'WorldVideo.generate': dict(class_name=[None, 'raining'], size=['64x64', (96, 64)], hour=[None, 'night'],
        hours=[None], start=[None, FRAMES[0]], end=[None, 'picture.png'], **DRIVEN),
    'parse_hours': dict(hours=['17-21', (22, 5.5)]),
    'read_drive': DRIVEN,
    'read_midi': dict(path=['song.mid']),
    'read_table': dict(path=['glow.csv']),
    'read_drive_file': dict(path=['show.toml']),
    'write_image': dict(path=['made.png', 'made.webp']),
    'Video.save': dict(path=['made.gif', 'made.mp4']),
    'EditedImage.save': dict(path=['made.png']),
    'save_strip': dict(path=['made.png']),
    'check_output': dict(path=['made.mp4']),
    'check_image_output': dict(path=['made.png']),
    'load': dict(path=['pack']),
    'load_pack': dict(path=['pack']),
    'read_config': dict(path=['pack']),
    'read_image': dict(path=['picture.png']),
    'is_still': dict(path=['picture.png']),
    'read_manifest': dict(path=['list.csv']),
    'read_sound': dict(path=['sound.wav', 'film.mp4', (SAMPLES, RATE)]),
    'stream_sound': dict(path=['sound.wav', (SAMPLES, RATE)]),
    'ImageSet': dict(source=['pictures']),
    'check_images': dict(source=['pictures']),
    'atomic': dict(path=['made']),
    'open_footage': dict(source=['picture.png', 'film.mp4', FRAMES]),
    'read_still': dict(path=['picture.png']),
    'curate': dict(source=['clips'], out=['curated'], seconds=[1.0], size=[16], fps=[5], rate=[8000]),
    'write_shards': dict(source=['pictures', 'clips'], out=['packed {0..}.tar'], max_count=[5], max_size=[1]),
    'write_world': dict(out=['world'], scenes=[['raining']], clips=[1], size=[16]),
    'train': dict(stages=[['audio']]),
    'fitting': dict(name=['raining', None]),
    'network': dict(name=['inverter']),
    'read_parts': dict(out=['pack']),
    'still_dls': dict(source=['pictures'], bs=[2], n_valid=[2], cache=[None]),
    'clip_dls': dict(source=['world'], bs=[2]),
    'split_of': dict(seed=[3]),
    'scenes_of': dict(labels=[['rain']]),
    'sound_windows': dict(seconds=[0.3]),
    'transcribe': dict(timeline=[Timeline.parse('0:raining'), Timeline.parse('0:thunder, 0.2:silence')]),
}
SAMPLES_ALONE, RATE_BESIDE = [SAMPLES, torch.zeros(2, N), INT16], (
    'play',
    'show_wave',
    'show_clip',
    'onset_times',
    'av_align',
    'loudness_motion',
    'frame_loudness',
)  # a sound and its rate are two parameters
NEVER = {
    'fetch',
    'cbs',
    'ax',
    'passed',
}  # the network is not for tests; callbacks, axes and lists to be filled are not from the user's world
OUT = {
    'evaluate': 'works for minutes, however it is called',
    'train_rows': 'likewise',
    'train_transcriber': 'likewise',
    'stylegan_terms': 'makes the table of a Learner, of weights that its callers have checked',
    'inversion_terms': 'likewise',
    'changes': 'takes images as networks make them',
    'clip_consistency': 'takes vectors of CLIP, which are called as what they are of',
    'read_snapshot': 'tests/test_snapshots.py gives it wild files; it takes one',
    'sweep': 'removes files below a folder: not for wild ones',
    'SoundFilm': 'takes a source of frames, which generate and edit make',
    'content_of': 'takes paths of files that were found in a folder',
    'lengths': 'likewise',
}
HELD = (SoundVideo, WorldVideo, Video, Hearing, Heard, Features, WorldClip, EditedImage)


# what is asked

def parameters(f):
    return [
        p
        for p in inspect.signature(f).parameters.values()
        if p.name != 'self' and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]

def valid(name, p): # of a function or `Class.method`; values to choose from, or nothing
    if p == 'sound' and name in RATE_BESIDE: return SAMPLES_ALONE
    return (OWN.get(name) or OWN.get(name.split('.')[-1], {})).get(p) or VALID.get(p)

def user_has(name, f):
    "Are all things that it must be given such that a user has them?"
    return all(valid(name, p.name) for p in parameters(f) if p.default is p.empty)

INSIDE = { # modules whose callers are other modules, and notebooks that study them
    'core.callbacks', 'core.processes', 'world.drawing', 'world.land', 'world.water', 'world.backdrop',
    'world.renderer', 'hearing.augmentation',
    'hearing.clip', 'hearing.captions', 'hearing.clip_training', 'hearing.alignment', 'hearing.naming',
    'hearing.finetuning', 'stylegan.cpu_extension', 'stylegan.kernels', 'stylegan.operators', 'stylegan.filtered_lrelu',
    'stylegan.autoencoder', 'stylegan.autoencoder_training', 'app.cli', 'app.explorer', 'app.plan',
}

def public():
    "The public functions and classes of the package that users may call, by name."
    found = {}
    for path in sorted((ROOT/'sound_video').glob('*/*.py')):
        if path.stem == '__init__' or f'{path.parent.name}.{path.stem}' in INSIDE: continue
        module = import_module(f'sound_video.{path.parent.name}.{path.stem}')
        found |= {k: getattr(module, k) for k in getattr(module, '__all__', ())}
    return {k: f for k, f in sorted(found.items()) if callable(f)}

def is_ours(f): # a class that the package fills, or that is made of another library's
    return inspect.isclass(f) and (
        hasattr(f, '__dataclass_fields__') or any(not c.__module__.startswith('sound_video') for c in f.__mro__[:-1])
    )

FUNCTIONS = {
    k: f
    for k, f in public().items()
    if not is_ours(f) and k not in OUT and 'self' not in inspect.signature(f).parameters and user_has(k, f)
}
METHODS = [
    f'{c.__name__}.{k}'
    for c in HELD
    for k in vars(c)
    if not k.startswith('_') and callable(getattr(c, k)) and user_has(f'{c.__name__}.{k}', getattr(c, k))
]
NAMES = [*FUNCTIONS, *METHODS]

@pytest.fixture(scope='module')
def held(tmp_path_factory):
    "A folder with files of all kinds, and what users hold."
    d = tmp_path_factory.mktemp('wild')
    (d / 'clips' / 'raining').mkdir(parents=True)
    (d / 'pictures').mkdir()
    soundfile.write(d / 'sound.wav', SAMPLES, RATE)
    long = np.tile(SAMPLES, 4)
    write_video(d / 'film.mp4', np.tile(FRAMES, (3, 1, 1, 1)), 9, (long, RATE))
    for i in range(12):
        write_image(d / 'pictures' / f'{i}.png', np.roll(FRAMES[0], i, 1))
    for i in range(3):
        write_video(
            d / 'clips' / 'raining' / f'{i}.mp4',
            np.tile(np.roll(FRAMES, i, 2), (3, 1, 1, 1)),
            9,
            (np.roll(long, i), RATE),
        )
    write_image(d / 'picture.png', FRAMES[0])
    (d / 'list.csv').write_text('ytid,start_time,class,set\na,0,rain,train\n')
    (d / 'notes.txt').write_text('milk')
    (d / 'show.toml').write_text('preset = "drift"\n[drive]\nzoom = "1+.1*beat"\n')
    (d / 'glow.csv').write_text('time,glow\n0,0\n1,1\n')
    mido.MidiFile(tracks=[mido.MidiTrack([mido.Message('note_on', time=240)])]).save(d / 'song.mid')
    pack, here = tiny_pack.make(d / 'pack', 32, moves=True), os.getcwd()
    os.chdir(d)
    sv = SoundVideo.load(pack, 'cpu')
    things = [
        sv,
        WorldVideo(device='cpu'),
        Video(FRAMES, 5, (SAMPLES, RATE)),
        sv.hearing,
        sv.name((SAMPLES, RATE), ['rain', 'thunder']),
        features((SAMPLES, RATE)),
        render('raining', 0, 0.3, 5, 16, RATE),
        sv.edit(FRAMES[0], (SAMPLES, RATE), steps=1),
    ]
    yield {type(x).__name__: x for x in things}
    os.chdir(here)

def called(name, held): # what to call
    if name in FUNCTIONS: return FUNCTIONS[name]
    return getattr(held[name.split('.')[0]], name.split('.')[1])

def looked_at(x):
    "Use a result as its user would: what is computed when it is asked for is asked for."
    if isinstance(x, Video): x = x.frames()
    if hasattr(x, '__enter__') and not hasattr(x, 'read'):
        with x: return
    if hasattr(x, '__next__'): return list(islice(x, 2))

def memory(): # MB that this process has needed at most
    if not sys.platform.startswith('linux'): return 0
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def attempt(name, f, args):
    "Call it. Anything but a result or a `UserError` of one line fails."
    before, tell = memory(), lambda: f"{name}({', '.join(f'{k}={value_met(v)}' for k, v in args.items())})"
    try: looked_at(f(**args)); said = None
    except UserError as e: said = str(e)
    except Exception as e: raise AssertionError(f'{tell()} ended in {type(e).__name__}: {e}') from e
    finally: plt.close('all')
    assert said is None or said.strip() and '\n' not in said, f'{tell()} said {said!r}'
    assert memory() - before < 400, f'{tell()} took {memory() - before:.0f} MB'
    return said


# wild values

def arrays():
    shapes = [
        (),
        (0,),
        (1,),
        (5,),
        (2, 2),
        (2, 0),
        (3000, 2),
        (2, 3000),
        (1, 2, 3),
        (8, 8, 3),
        (2, 8, 8, 3),
        (2, 0, 8, 3),
        (2, 8, 8, 4),
    ]
    made = [
        np.zeros(s, t)
        for s in shapes
        for t in (
            bool,
            'uint8',
            'int8',
            'int16',
            'int64',
            'uint32',
            'float16',
            'float32',
            'float64',
            'complex64',
            object,
            'U3',
            'datetime64[s]',
            [('a', 'i4')],
        )
    ]
    return (
        made
        + [np.full(s, x) for s in ((5,), (2, 3000)) for x in (np.nan, np.inf, 1e9, -3.0)]
        + [
            np.broadcast_to(np.float32(0.1), (2, 3000)),
            np.zeros((2, 3000), '>i2'),
            np.zeros((9, 3000), np.float32),
            np.zeros((2, 3000))[:, ::-1],
        ]
    )

def tensors():
    made = [
        torch.zeros(s, dtype=t)
        for s in ((), (0,), (5,), (2, 3000), (3000, 2), (2, 8, 8, 3))
        for t in (torch.bool, torch.uint8, torch.int64, torch.float32, torch.bfloat16, torch.complex64)
    ]
    return made + [
        torch.zeros(2, 3000, requires_grad=True),
        torch.zeros(2, 3000, device='meta'),
        torch.zeros(2, 3000).to_sparse(),
        torch.zeros((), device='meta'),
        torch.full((2, 3000), torch.nan),
    ]

class Odd:
    "Cannot say what it is."
    def __repr__(self): raise RuntimeError('no')

PLAIN = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    10**9,
    2**63,
    -(2**70),
    10**5000,
    0.5,
    -1.0,
    1.5,
    1e-9,
    1e9,
    1e308,
    -0.0,
    np.nan,
    np.inf,
    -np.inf,
    3j,
    np.int16(3),
    np.float32(0.5),
    np.bool_(True),
    np.timedelta64(3),
    np.datetime64('2020'),
    '',
    'x',
    '\0',
    'ü' * 50,
    '\ud800',
    'a' * 300,
    '1e999999999',
    '44100',
    'nan',
    '1/0',
    'film.mp4',
    'notes.txt',
    'gone/made.mp4',
    b'',
    b'x',
    b'film.mp4',
    [],
    [1, 2],
    ['x', 3],
    (),
    (1,),
    (1, 2, 3),
    {},
    {'x': 1},
    {1: 2},
    {'raining': 2},
    {'fine': 'x'},
    set(),
    range(3),
    object(),
    Odd(),
    Ellipsis,
    NotImplementedError('x'),
    Path('gone'),
    Path('clips'),
    Path('sound.wav'),
    [None],
    [[]],
    [[1], [2, 3]],
    [SAMPLES],
    SAMPLES.tolist()[:9],
]
VALUES = PLAIN + arrays() + tensors()
ARGUMENTS = [
    v for values in (*VALID.values(), *(v for own in OWN.values() for v in own.values())) for v in values
]  # right elsewhere

def some(values): return st.integers(0, len(values) - 1).map(values.__getitem__) # `sampled_from` would hash them

@st.composite
def wild(draw):
    value = st.one_of(some(PLAIN), some(VALUES), some(ARGUMENTS), st.text('aä ,:\0\n\U0001f600', max_size=9))
    kind = draw(st.integers(0, 9))
    if kind > 2: return draw(value)
    if kind == 2: return [draw(value), draw(value)]
    return (
        draw(st.one_of(some(SAMPLES_ALONE), value)),
        draw(st.one_of(st.just(RATE), value)),
    )  # a sound that may be none

@st.composite
def arguments(draw, name, f):
    "Right arguments, but for one or two."
    ps = [p for p in parameters(f) if p.name not in NEVER]
    odd = draw(st.sets(st.sampled_from([p.name for p in ps]), min_size=1, max_size=2)) if ps else set()
    args = {}
    for p in ps:
        values = valid(name, p.name)
        if p.name in odd:
            args[p.name] = draw(wild())
        elif values:
            args[p.name] = draw(some(values))  # where there is a default, too: those are for people who have more time
    return args


@pytest.mark.parametrize('name', NAMES)
def test_wild_arguments(held, name):
    f, tries = called(name, held), max(1, round(TRIES / len(NAMES)))
    @settings(
        max_examples=tries, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(arguments(name, f))
    def check(args):
        attempt(name, f, args)
    check()

NOT_MADE = {'train', 'curate', 'atomic'} # which the valid arguments, of no substance, do not satisfy

@pytest.mark.parametrize('name', [n for n in NAMES if n not in NOT_MADE])
def test_valid_arguments(held, name):
    if name == 'speak' and not can_speak(): pytest.skip('espeak-ng is not installed')
    f = called(name, held)
    args = {p.name: valid(name, p.name)[0] for p in parameters(f) if valid(name, p.name) and p.name not in NEVER}
    assert attempt(name, f, args) is None

def test_what_readers_meet():
    "What the README and the tutorials call and is out, is out because of what it asks for."
    pages = [ROOT/'nbs/index.ipynb', *sorted(p for d in ('start', 'tutorials') for p in (ROOT/'nbs'/d).glob('*.ipynb'))]
    text = '\n'.join(
        ''.join(c['source'])
        for p in pages
        for c in json.loads(p.read_text(encoding='utf-8'))['cells']
        if c['cell_type'] == 'code'
    )
    met = set(re.findall(r'\b(\w+)\(', text)) & set(public())
    assert len(met & set(FUNCTIONS)) > 15
    ours = {p.name for k in met - set(FUNCTIONS) for p in parameters(public()[k]) if p.default is p.empty} - set(VALID)
    assert ours <= {
        'G',
        'a',
        'b',
        'cfg',
        'clip',
        'score',
        'knots',
        'layers',
        'space',
        'start',
        'targets',
        'v',
        'w0',
        'x',
        'net',
        'real',
        'fake',
        'sv',
        's',
        'indices',
        'drive',
    }, ours  # networks, latents, vectors, scores and what is made of them
