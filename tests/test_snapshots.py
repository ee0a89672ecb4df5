"""Snapshots: official ones become packs; hostile, damaged and foreign ones end in one line, and nothing in any of them
is run."""
import io, os, pickle, subprocess, sys
import pytest, torch
from sound_video.core.errors import UserError
from sound_video.stylegan.snapshots import architecture_name, class_names, read_snapshot
import fake_snapshot
from command import run as cli
from fake_snapshot import KINDS, arguments, dumps, snapshot, stylegan2, stylegan3

ENV = dict(os.environ, OMP_NUM_THREADS='1')

@pytest.fixture(autouse=True)
def canary(tmp_path, monkeypatch):
    "A folder that anything executed would make."
    monkeypatch.setenv('SOUND_VIDEO_CANARY', str(tmp_path/'canary'))
    before = set(sys.modules) # a notebook in this process may have played NVIDIA's
    yield tmp_path/'canary'
    assert not (tmp_path/'canary').exists(), 'something in a file was executed'
    assert not {'torch_utils', 'dnnlib'} & (set(sys.modules) - before)

def read(tmp_path, data, *args):
    (tmp_path/'net.pkl').write_bytes(data)
    return read_snapshot(tmp_path/'net.pkl', *args)

def refused(tmp_path, data, says='.'):
    "One line, that names the file."
    with pytest.raises(UserError, match=says) as e: read(tmp_path, data)
    assert 'net.pkl' in str(e.value) and '\n' not in str(e.value) and len(str(e.value)) < 500
    return str(e.value)

@torch.no_grad()
def same_images(a, b):
    z = torch.randn(3, a.cfg.z_dim)
    c = torch.arange(3) % a.cfg.c_dim if a.cfg.c_dim else None
    assert torch.equal(a(z, c, .7), b(z, c, .7))

@pytest.mark.parametrize('protocol', [3, 4, 5])
@pytest.mark.parametrize('kind', KINDS)
def test_official_kinds(tmp_path, kind, protocol):
    G = KINDS[kind]()
    ours = read(tmp_path, snapshot(G, protocol))
    assert ours.cfg == G.cfg and architecture_name(ours) == kind.split()[0]
    assert class_names(ours) == tuple(f'class {i}' for i in range(G.cfg.c_dim))
    assert not ours.training and not any(p.requires_grad for p in ours.parameters())
    same_images(G, ours)

def test_arguments_of_2020(tmp_path):
    "The first PyTorch release wrapped the settings of the synthesis, and some were positional."
    G = stylegan2(c_dim=2)
    kw = arguments(G)
    place = [kw.pop(k) for k in ('z_dim', 'c_dim', 'w_dim', 'img_resolution', 'img_channels')]
    inner = {k: kw.pop(k) for k in ('channel_base', 'channel_max', 'num_fp16_res')} | dict(fp16_channels_last=True)
    kw.pop('conv_clamp')
    same_images(
        G,
        read(
            tmp_path, snapshot(G, kwargs=kw | dict(synthesis_kwargs=fake_snapshot.EasyDict(inner)), args=tuple(place))
        ),
    )

def test_clamp_is_the_layers_own(tmp_path):
    G = stylegan2()
    data = dumps(
        dict(G_ema=G), {G: dict(_init_args=(), _init_kwargs=arguments(G)), G.synthesis.b8.conv1: dict(conv_clamp=0.25)}
    )
    assert read(tmp_path, data).cfg.conv_clamp == .25

def without(G, *endings):
    "Delete buffers, as older files lack them."
    for m in list(G.modules()):
        for k in [k for k in m._buffers if k in endings]: del m._buffers[k]
    return G

@torch.no_grad()
def test_older_files_lack_some(tmp_path):
    want,have = stylegan3(),stylegan3()
    for name,m in want.named_modules():
        if hasattr(m, 'magnitude_ema'): m.magnitude_ema.fill_(1.)
    ours = read(tmp_path, snapshot(without(have, 'magnitude_ema', 'up_filter', 'down_filter', 'transform')))
    same_images(want, ours)
    ours = read(tmp_path, snapshot(without(stylegan2(c_dim=3), 'w_avg', 'resample_filter')))
    z,c = torch.randn(5000, 16),torch.randint(3, (5000,))
    assert (ours.mapping(z, c)[:,0].mean(0) - ours.mapping.w_avg).abs().max() < .05
    same_images(stylegan2(), read(tmp_path, snapshot(without(stylegan2(), 'resample_filter'))))

def test_without_noise(tmp_path):
    G = stylegan2()
    for m in list(G.modules()):
        if 'noise_const' in m._buffers: del m._buffers['noise_const'], m._parameters['noise_strength']
    ours,want = read(tmp_path, snapshot(G, kwargs=arguments(G) | dict(use_noise=False))),stylegan2()
    with torch.no_grad(): assert torch.equal(ours(torch.ones(1, 16)), want(torch.ones(1, 16), noise_mode='none'))

def test_half_precision_weights(tmp_path):
    G = stylegan3().half()
    same_images(G.float(), read(tmp_path, snapshot(stylegan3().half())))

def test_other_networks(tmp_path):
    G,other = stylegan2(seed=0),stylegan2(seed=1)
    data = dumps(
        dict(G=other, D=None, G_ema=G), {g: dict(_init_args=(), _init_kwargs=arguments(g)) for g in (G, other)}
    )
    same_images(other, read(tmp_path, data, 'G'))
    with pytest.raises(UserError, match='choose from G, G_ema'): read(tmp_path, data, 'D')

@pytest.mark.parametrize(
    'change,says',
    [
        (dict(architecture='resnet'), 'architecture is resnet'),
        (dict(activation='relu'), 'activation'),
        (dict(wavelets=3), 'wavelets'),
        (dict(img_resolution=10**9), 'img_resolution'),
        (dict(w_dim=13), 'w_dim|shape|asks? for'),
        (dict(channel_max=10**6), 'channel_max'),
        (dict(img_resolution=24), 'power of two'),
        (dict(z_dim='many'), 'z_dim'),
        (dict(channel_base=float('nan')), 'channel_base'),
        (dict(mapping_kwargs=dict(num_layers=10**6)), 'num_layers'),
        (dict(mapping_kwargs=dict(num_layers=3)), 'lacks mapping.fc2'),
        (dict(c_dim=60000), 'lacks mapping.embed'),
        (dict(img_resolution=8), 'no use'),
    ],
)
def test_settings_that_do_not_fit(tmp_path, change, says):
    G = stylegan2()
    refused(tmp_path, snapshot(G, kwargs=arguments(G) | change), says)

def test_not_finite(tmp_path):
    G = stylegan2()
    G.synthesis.b4.const.data[0,0,0] = float('nan')
    refused(tmp_path, snapshot(G), 'finite')

# What is no snapshot

class Call:
    def __init__(self, f, *args): self.f,self.args = f,args
    def __reduce__(self): return self.f,self.args

def test_foreign_files(tmp_path):
    zipped,old = io.BytesIO(),io.BytesIO()
    torch.save(dict(g_ema=dict(a=torch.ones(2))), zipped)
    torch.save(dict(g_ema=dict(a=torch.ones(2))), old, _use_new_zipfile_serialization=False)
    refused(tmp_path, zipped.getvalue(), 'torch.save')
    refused(tmp_path, old.getvalue(), 'torch.save')
    refused(tmp_path, b'\x80\x03cdnnlib.tflib.network\nNetwork\nq\x00)\x81q\x01.', 'TensorFlow')
    refused(tmp_path, b'<!DOCTYPE html><html></html>', 'web page')
    refused(tmp_path, b'', 'empty')
    refused(tmp_path, b'version https://git-lfs', 'damaged, or no snapshot')
    refused(tmp_path, pickle.dumps(dict(a=1)), 'no networks')
    refused(tmp_path, pickle.dumps('G_ema'), 'no networks')
    refused(tmp_path, dumps(dict(G_ema=torch.nn.Linear(2, 2))), 'neither')
    with pytest.raises(UserError, match='no such file'): read_snapshot(tmp_path/'none.pkl')
    with pytest.raises(UserError, match='directory'): read_snapshot(tmp_path)
    with pytest.raises(UserError, match='/dev/zero'): read_snapshot('/dev/zero')

# Hostile files

def storage(data):
    return b'\x80\x02ctorch.storage\n_load_from_bytes\nB' + len(data).to_bytes(4, 'little') + data + b'\x85R.'
def text(s): return b'X' + len(s).to_bytes(4, 'little') + s.encode()

CANARY = 'SOUND_VIDEO_CANARY'
HOSTILE = {
    'os.system': (lambda: pickle.dumps(dict(G_ema=Call(os.system, f'mkdir ${CANARY}'))), r"'(posix|nt)\.system'"),
    'eval': (
        lambda: pickle.dumps(Call(eval, f'__import__("os").mkdir(__import__("os").environ["{CANARY}"])')),
        "'builtins.eval'",
    ),
    'exec, protocol 0': (lambda: pickle.dumps(Call(exec, '1'), 0), "exec'"),
    'getattr': (lambda: pickle.dumps(Call(getattr, 1, 'real')), "'builtins.getattr'"),
    'a dotted name': (
        lambda: b'\x80\x04' + text('collections') + text('OrderedDict.fromkeys') + b'\x93.',
        'OrderedDict.fromkeys',
    ),
    'a name that is no text': (lambda: b'\x80\x04K\x01K\x02\x93.', 'damaged|asks'),
    'numpy objects': (
        lambda: b'\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\0\0\0O8\x85RU\x08aaaaaaaa\x86R.',
        'numpy',
    ),
    'a codec': (lambda: b'\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0hex\x86R.', 'bytes'),
    'INST': (lambda: b'(S"echo had"\nios\nsystem\n.', 'INST'),
    'OBJ': (lambda: b'(cos\nsystem\nS"echo had"\no.', 'system'),
    'EXT1': (lambda: b'\x80\x02\x82\x01.', 'EXT1'),
    'PERSID': (lambda: b'Pid\n.', 'PERSID'),
    'BINPERSID': (lambda: b'K\x01Q.', 'outside'),
    'NEXT_BUFFER': (lambda: b'\x80\x05\x97.', 'NEXT_BUFFER'),
    'NEWOBJ_EX': (lambda: b'\x80\x04ccollections\nOrderedDict\n)}\x92.', 'NEWOBJ_EX'),
    'calling a number': (lambda: b'\x80\x02K\x01)R.', 'cannot be called'),
    'state for a tensor': (lambda: storage(b'abc')[:-1] + b'}b.', 'state'),
    'a list as key': (lambda: b'}]K\x01s.', 'key'),
    'deep tuples as key': (lambda: b'}N' + b'\x85' * 200_000 + b'K\x01s.', 'key'),
    'deep lists': (lambda: b']' * 200_000 + b'a' * 199_999 + b'.', 'no networks'),
    'instructions without end': (lambda: b'\x80\x02' + b']0' * 600_000 + b'.', 'instructions'),
    'a long number': (lambda: b'L' + b'9' * 4000 + b'\n.', 'damaged|no networks'),
    'stack underflow': (lambda: b'0.', 'damaged'),
    'no mark': (lambda: b't.', 'damaged'),
    'unknown memory': (lambda: b'h\x07.', 'damaged'),
    'no end': (lambda: b'N', 'damaged'),
    'empty program': (lambda: b'.', 'damaged'),
}

@pytest.mark.parametrize('name', HOSTILE)
def test_hostile(tmp_path, name):
    make,says = HOSTILE[name]
    refused(tmp_path, make(), says)

def net(state, name='Generator'):
    return Call(
        fake_snapshot._reconstruct_persistent_obj,
        dict(type='class', module_src=fake_snapshot.SOURCE, class_name=name, state=state),
    )

def loop():
    "A network that is its own part."
    own = (
        b'ctorch_utils.persistence\n_reconstruct_persistent_obj\n}('
        + text('class_name')
        + text('Generator')
        + text('state')
        + b'}'
        + text('_modules')
        + b'h\0su\x85Rq\1'
    )
    parts = b''.join(b'h\0' + text(k) + b'h\1s0' for k in ('synthesis', 'b4', 'mapping'))
    return b'\x80\x02}q\0' + own + b'0' + parts + b'0}' + text('G_ema') + b'h\1s.'

def laughs():
    "Thirty networks that all have the next one twice."
    x = net({})
    for _ in range(30): x = net(dict(_modules=dict(b4=x, b8=x)))
    return dumps(dict(G_ema=net(dict(_modules=dict(synthesis=x)))))

@pytest.mark.parametrize('make', [loop, laughs])
def test_networks_that_never_end(tmp_path, make): refused(tmp_path, make(), 'as no snapshot is')

def tampered(change):
    "A snapshot in which one storage was exchanged for another of the same length."
    G = stylegan2()
    buf = io.BytesIO()
    torch.save(
        torch.storage.TypedStorage(wrap_storage=G.mapping.w_avg.untyped_storage(), dtype=torch.float32, _internal=True),
        buf,
        _use_new_zipfile_serialization=False,
    )
    data,old = snapshot(G),buf.getvalue()
    assert data.count(old) == 1
    new = change(old)
    assert len(new) == len(old)
    return data.replace(old, new)

STORAGES = {
    'a nested program': (lambda old: (b'cos\nsystem\n(S"mkdir $SOUND_VIDEO_CANARY"\ntR.' * 99)[:len(old)], 'system'),
    'a count of a billion': (lambda old: old[:-56] + (10**9).to_bytes(8, 'little') + old[-48:], 'another size'),
    'a negative count': (lambda old: old[:-56] + b'\xff'*8 + old[-48:], 'another size'),
    'another magic number': (lambda old: old.replace(b'l\xfc\x9c', b'm\xfc\x9c'), 'format of torch'),
    'another type': (lambda old: old.replace(b'FloatStorage', b'ShortStorage'), 'another size'),
    'an unknown type': (lambda old: old.replace(b'FloatStorage', b'FlootStorage'), 'FlootStorage'),
    'noise': (lambda old: bytes(i*7 % 256 for i in range(len(old))), '.')}

@pytest.mark.parametrize('name', STORAGES)
def test_hostile_storages(tmp_path, name):
    change,says = STORAGES[name]
    refused(tmp_path, tampered(change), says)

def test_views_beyond_their_memory(tmp_path):
    G = stylegan2()
    G.mapping._buffers['w_avg'] = torch.zeros(1).expand(10**9) # a view of one number
    refused(tmp_path, snapshot(G), 'w_avg')
    G.mapping._buffers['w_avg'] = torch.zeros(1).expand(12)    # is fine, if it is not large
    assert torch.equal(read(tmp_path, snapshot(G)).mapping.w_avg, torch.zeros(12))

def test_truncated(tmp_path):
    data = snapshot(stylegan2(img_resolution=8))
    for n in [*range(1, 60), *range(60, len(data), max(1, len(data)//150))]: refused(tmp_path, data[:n])

FUZZ = '''
import random, sys, time
from pathlib import Path
from sound_video.core.errors import UserError
from sound_video.stylegan.snapshots import read_snapshot
data, folder, rng = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), random.Random(1)
likely = b'}](.RtbsueaQc\\x85\\x86\\x87\\x93\\x94hjqr0123456789BCKMJ' # instructions
small = [i for i in range(len(data)) if data[i:i+1] in likely]
def mutate():
    d = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        i = rng.choice(small) if rng.random() < .6 else rng.randrange(len(d))
        i = min(i, len(d) - 1)
        how = rng.randrange(6)
        if how == 0: d[i] ^= 1 << rng.randrange(8)
        elif how == 1: d[i] = rng.randrange(256)
        elif how == 2: del d[i:i+rng.randrange(1, 9)]
        elif how == 3:
            d[i:i] = rng.choice([b'cos\\nsystem\\n', b'\\x85R', b'0', b'2', b'(', b'\\x8e' + b'\\xff'*8,
                b'\\x8b\\xff\\xff\\xff\\x7f', bytes([rng.randrange(256)])])
        elif how == 4: j = rng.randrange(len(d)); d[i:i+40] = d[j:j+40]
        else: d[i:i+4] = rng.choice([b'\\xff\\xff\\xff\\xff', b'\\xff\\xff\\xff\\x7f', bytes(4)])
    return bytes(d)
read_snapshot(sys.argv[1]) # imports what reading needs
read = refused = 0
slowest = 0.
start = time.process_time()
for n in range(int(sys.argv[3])):
    (folder/'f.pkl').write_bytes(mutate())
    t = time.process_time()
    try: read_snapshot(folder/'f.pkl'); read += 1
    except UserError as e: assert '\\n' not in str(e), str(e); refused += 1
    slowest = max(slowest, time.process_time() - t)
assert not {'torch_utils', 'dnnlib', 'pickle5'} & set(sys.modules)
peak = int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) / 1000
print(read, refused, slowest, peak, time.process_time() - start)
'''

@pytest.mark.parametrize('kind', ['StyleGAN2', 'StyleGAN3'])
def test_fuzz(tmp_path, kind):
    "A thousand altered files: each is read or refused, soon, and in little memory."
    G = (
        stylegan2(img_resolution=8, channel_max=4, w_dim=4, z_dim=4, num_layers=1)
        if kind == 'StyleGAN2'
        else stylegan3(num_layers=3, channel_max=4, w_dim=4, z_dim=4)
    )
    (tmp_path/'whole.pkl').write_bytes(snapshot(G))
    r = subprocess.run(
        [sys.executable, '-c', FUZZ, tmp_path / 'whole.pkl', tmp_path, '500'],
        capture_output=True,
        text=True,
        env=dict(ENV, SOUND_VIDEO_CANARY=str(tmp_path / 'canary')),
        timeout=300,
    )
    assert not r.returncode, r.stderr[-2000:]
    read,refused,slowest,mb,seconds = map(float, r.stdout.split())
    assert read + refused == 500 and read > 5 and refused > 250
    assert slowest < 5 and mb < 1000 and seconds < 60

BOMBS = '''
import sys
from sound_video.core.errors import UserError
from sound_video.stylegan.snapshots import read_snapshot
for f in sys.argv[1:]:
    try: read_snapshot(f); sys.exit('was read')
    except UserError: pass
print(int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) / 1000)
'''

def test_memory_bombs(tmp_path):
    G = stylegan2()
    big = {
        k: arguments(G) | {k: v}
        for k, v in dict(
            w_dim=8192, z_dim=8192, c_dim=65536, img_resolution=4096, channel_base=2**20, channel_max=8192
        ).items()
    }
    bombs = {
        **{k: snapshot(G, kwargs=kw) for k, kw in big.items()},
        'all': snapshot(
            G, kwargs=arguments(G) | dict(img_resolution=4096, channel_base=2**20, channel_max=8192, w_dim=8192)
        ),
        'lists': b']' * 5_000_000 + b'.',
        'long text': b'\x8d' + (2**40).to_bytes(8, 'little') + b'x',
        'long number': b'\x8b\xff\xff\xff\x7f',
        'frames': b'\x80\x04\x95' + b'\xff' * 8 + b'.',
        'memory': tampered(STORAGES['a count of a billion'][0]),
        'copies': b'\x80\x02' + b'X\x00\x00\x10\x00' + b'a' * 2**20 + b'q\x00' + b'h\x00\x86' * 300_000 + b'.',
    }
    for name,data in bombs.items(): (tmp_path/f'{name}.pkl').write_bytes(data)
    r = subprocess.run(
        [sys.executable, '-c', BOMBS, *sorted(map(str, tmp_path.glob('*.pkl')))],
        capture_output=True,
        text=True,
        env=ENV,
        timeout=120,
    )
    assert not r.returncode, r.stderr[-2000:]
    assert float(r.stdout) < 1000

# The command

def test_convert_and_generate(tmp_path):
    import numpy as np, soundfile
    from sound_video.media.videos import probe
    from sound_video.app.edit import SoundVideo
    G = KINDS['StyleGAN3-T with classes']()
    (tmp_path/'net.pkl').write_bytes(snapshot(G))
    r = cli('convert', tmp_path/'net.pkl', '-o', tmp_path/'pack')
    assert r.returncode == 0 and 'StyleGAN3-T, 16 pixels, 2 classes' in r.stdout and not r.stderr, r.stderr
    sv = SoundVideo.load(tmp_path/'pack')
    same_images(G, sv.generator)
    t = np.arange(16000) / 16000
    soundfile.write(tmp_path/'tone.wav', .5*np.sin(1500*t)*np.abs(np.sin(3*t)), 16000)
    r = cli(
        'generate',
        tmp_path / 'tone.wav',
        '-o',
        tmp_path / 'out.mp4',
        '--pack',
        tmp_path / 'pack',
        '--class',
        'class 1',
        '--fps',
        '8',
    )
    assert r.returncode == 0 and 'class 1' in r.stdout, r.stderr
    assert abs(probe(tmp_path/'out.mp4').seconds - 1) < 1/8

def test_convert_refuses(tmp_path):
    (tmp_path / 'bad.pkl').write_bytes(HOSTILE['eval'][0]())
    (tmp_path / 'good.pkl').write_bytes(snapshot(stylegan2()))
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'letter.txt').write_text('dear')
    for words, says in [
        (['bad.pkl', 'new'], 'builtins.eval'),
        (['none.pkl', 'new'], 'no such file'),
        (['good.pkl', 'mine'], 'is no pack'),
        (['good.pkl', 'no/where'], 'does not exist'),
        (['good.pkl', 'good.pkl'], 'is no pack'),
    ]:
        r = cli('convert', tmp_path / words[0], '-o', tmp_path / words[1])
        assert r.returncode == 2 and r.stderr.count('\n') == 1 and says in r.stderr and not r.stdout, r.stderr
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ['bad.pkl', 'good.pkl', 'mine']
        and (tmp_path / 'mine' / 'letter.txt').read_text() == 'dear'
    )

# Every network that is accepted makes a frame

def overflowing(**kw):
    G = stylegan2(**kw)
    for k, v in G.state_dict().items():
        if k.endswith(('torgb.weight', 'const')): v.fill_(3e38)
    return G

@pytest.mark.parametrize('make, channels', [(make, c) for make in (stylegan2, stylegan3) for c in (1, 3, 4)])
def test_grey_and_transparent_networks_are_shown(tmp_path, make, channels):
    from sound_video.app.cli import main
    from sound_video.app.edit import SoundVideo
    (tmp_path/'net.pkl').write_bytes(snapshot(make(img_channels=channels)))
    assert main(['convert', str(tmp_path/'net.pkl'), '-o', str(tmp_path/'pack')]) == 0
    sv = SoundVideo.load(tmp_path/'pack')
    frame = next(sv.generate((.1 * torch.randn(1, 8000), 8000), fps=5).frames())
    assert frame.shape == (16, 16, 3) and bool((frame == frame[..., :1]).all()) == (channels == 1)
    with torch.no_grad(): x = sv.generator(torch.randn(1, sv.generator.cfg.z_dim))
    assert x.shape[1] == channels # what it makes is as it was; only what is shown is not

def test_transparent_is_on_white():
    from sound_video.core.arrays import to_uint8
    x = torch.full((1, 4, 1, 3), -1.); x[0, 3, 0] = torch.tensor([-1., 1., -9.]) # black: transparent, opaque, beyond
    assert to_uint8(x)[0, 0, :, 0].tolist() == [255, 0, 255]

@pytest.mark.parametrize(
    'make, says',
    [
        (lambda: stylegan2(img_channels=2), '2 channels'),
        (lambda: stylegan3(img_channels=5), '5 channels'),
        (overflowing, 'not finite'),
        (lambda: overflowing(img_channels=1), 'not finite'),
    ],
)
def test_what_cannot_be_shown_is_refused_and_leaves_nothing(tmp_path, capsys, make, says):
    from sound_video.app.cli import main

    (tmp_path / 'net.pkl').write_bytes(snapshot(make()))
    (tmp_path / 'good.pkl').write_bytes(snapshot(stylegan2()))
    for there in (['good.pkl', 'net.pkl'], ['good.pkl', 'net.pkl', 'pack']):  # without a pack, and with one that stays
        before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
        assert main(['convert', str(tmp_path / 'net.pkl'), '-o', str(tmp_path / 'pack')]) == 2
        out, err = capsys.readouterr()
        assert says in err and 'net.pkl' in err and err.count('\n') == 1 and not out
        assert sorted(p.name for p in tmp_path.iterdir()) == there and before == {
            p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()
        }
        assert main(['convert', str(tmp_path / 'good.pkl'), '-o', str(tmp_path / 'pack')]) == 0
        capsys.readouterr()
