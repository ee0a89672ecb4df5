"C++ for the CPU: what it computes, whatever the sizes and threads; that it is compiled once, and missed without harm."
import os, stat, subprocess, sys, threading
import pytest, torch, torch.nn.functional as F
from sound_video.stylegan import filtered_lrelu as filtered
from sound_video.stylegan import cpu_extension as native
from sound_video.stylegan import operators as ops
from sound_video.core.errors import UserError
from sound_video.stylegan.stylegan2 import Generator, StyleGAN2Config
from together import needs_fork, together

needs_compiler = pytest.mark.skipif(not native.compiler(), reason='no C++ compiler here')

def rand(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
def off(got, want): return float((got - want).abs().max() / (want.max() - want.min()))

@pytest.fixture
def threads():
    n = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(n)

@pytest.fixture
def anew(monkeypatch, tmp_path):
    "As if nothing had been compiled on this machine."
    monkeypatch.setenv('SOUND_VIDEO_CACHE', str(tmp_path/'cache'))
    native._library.cache_clear()
    yield tmp_path/'cache'
    native._library.cache_clear()

# ---------------------------------------------------------------- arithmetic
@needs_compiler
@pytest.mark.parametrize(
    'B,I,O,H,W,k,pad',
    [
        (2, 64, 64, 36, 36, 3, 2),
        (3, 70, 65, 17, 23, 3, 1),
        (1, 1, 1, 3, 3, 3, 0),
        (1, 5, 3, 30, 7, 3, 2),
        (9, 130, 33, 4, 4, 3, 1),
        (2, 70, 37, 9, 11, 1, 0),
        (1, 1, 1, 1, 1, 1, 0),
        (5, 16, 64, 3, 5, 1, 0),
    ],
)
def test_conv(threads, B, I, O, H, W, k, pad):
    x,w,s,g,b = rand(B, I, H, W), rand(O, I, k, k, seed=1), rand(B, I, seed=2), rand(B, O, seed=3), rand(O, seed=4)
    want = F.conv2d((x * s[:,:,None,None]).double(), w.double(), padding=pad) * g[:,:,None,None]
    for n in (1, 3):
        threads(n)
        for layout in (torch.contiguous_format, torch.channels_last):
            got = native.conv_cpp(x.contiguous(memory_format=layout), w, pad, s, g, b)
            assert (
                got.shape == want.shape and (got - want - b[:, None, None]).abs().max() < 3e-6 * want.abs().max() + 1e-6
            )
    plain = F.conv2d(x, w, padding=pad)
    assert (native.conv_cpp(x, w, pad) - plain).abs().max() < 3e-6 * plain.abs().max() + 1e-6

@needs_compiler
@pytest.mark.parametrize('radial', [False, True])
@pytest.mark.parametrize(
    'up,pad,size',
    [
        (2, (9, 10), (17, 40)),
        (4, (20, 13), (25, 29)),
        (2, (3, 4), (90, 71)),
        (2, (-3, 5), (40, 33)),
        (4, (18, 17), (9, 50)),
        (4, (-5, 60), (30, 12)),
        (2, (30, 40), (1, 1)),
    ],
)
def test_filtered_lrelu(monkeypatch, threads, up, pad, size, radial):
    x, b, s = rand(2, 37, *size), rand(37, seed=1), rand(2, 37, seed=2)
    args = b, filtered.lowpass(6 * up, 8.0, 6.0, 32.0 * up), filtered.lowpass(12, 8.0, 6.0, 64.0, radial), up, 2, pad
    kw = dict(clamp=1.0, scale=s, slope=0.3)
    monkeypatch.setenv('SOUND_VIDEO_IMPL', 'torch')
    want = filtered.filtered_lrelu(x, *args, **kw)
    monkeypatch.setenv('SOUND_VIDEO_IMPL', 'native')
    for n in (1, 3):
        threads(n)
        got = filtered.filtered_lrelu(x, *args, **kw)
        assert got.shape == want.shape and off(got, want) < 3e-6
    assert (want.abs() < 0.999).any() and want.abs().max() > 0.5  # the clamp is met, and not everywhere

@needs_compiler
def test_several_threads_of_python():
    x,w = rand(1, 32, 40, 40), rand(32, 32, 3, 3, seed=1)
    want,got = native.conv_cpp(x, w, 1), [None]*4
    def work(i):
        for _ in range(5): got[i] = native.conv_cpp(x, w, 1)
    several = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in several: t.start()
    for t in several: t.join()
    assert all(torch.equal(g, want) for g in got)

@needs_compiler
@torch.no_grad()
def test_stylegan2_with_and_without(monkeypatch):
    monkeypatch.setattr(ops, '_WORTH', 0)
    torch.manual_seed(0)
    G = Generator(
        StyleGAN2Config(z_dim=8, w_dim=8, img_resolution=32, channel_base=1024, channel_max=40, num_layers=2)
    ).eval()
    for p in G.synthesis.parameters(): p += torch.randn_like(p) * .1
    w,pictures = G.mapping(torch.randn(3, 8)), {}
    for wish in ('torch', 'native'):
        monkeypatch.setenv('SOUND_VIDEO_IMPL', wish)
        pictures[wish] = G.synthesis(w)
    assert off(pictures['native'], pictures['torch']) < 1e-5

def test_small_convolutions_do_without(monkeypatch):
    monkeypatch.setattr(native, 'conv_cpp', lambda *a: pytest.fail('C++ ran'))
    ops.conv2d(rand(1, 8, 9, 9), rand(8, 8, 3, 3), 1)

# ---------------------------------------------------------------- compiling
def compilers(monkeypatch):
    "What is compiled while the test runs."
    calls, real = [], native._compiled
    monkeypatch.setattr(native, '_compiled', lambda *a: (calls.append(a), real(*a))[1])
    return calls

@needs_compiler
def test_compiled_once_and_in_time(anew, monkeypatch):
    calls = compilers(monkeypatch)
    for _ in range(2):
        native._library.cache_clear()
        assert native.extension_unavailable() is None and len(calls) == 1
    file, = anew.iterdir()
    file.write_bytes(file.read_bytes()[:5000]) # as an interrupted copy would leave it
    native._library.cache_clear()
    assert native.extension_unavailable() is None and len(calls) == 2
    monkeypatch.setattr(native, '_processor', lambda: ['another'])
    native._library.cache_clear()
    assert native.extension_unavailable() is None and len(calls) == 3 and len(list(anew.iterdir())) == 2

@needs_compiler
@pytest.mark.skipif(os.name != 'posix', reason='the witness is a shell script')
def test_ninja_builds_it(anew, monkeypatch, tmp_path):
    witness, real = tmp_path / 'ninja', native.ninja()
    witness.write_text(f'#!/bin/sh\ncat "$2/build.ninja" > "{tmp_path}/seen"; exec "{real}" "$@"\n')
    witness.chmod(stat.S_IRWXU)
    monkeypatch.setattr(native, 'ninja', lambda: str(witness))
    assert native.extension_unavailable() is None and native.compiler() in (tmp_path / 'seen').read_text()
    assert native.conv_cpp(torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), 1).sum() == 169

def test_without_ninja(anew, monkeypatch):
    monkeypatch.setattr(native, 'compiler', lambda: sys.executable)
    monkeypatch.setattr(native, 'ninja', lambda: None)
    assert (
        'pip install ninja' in native.extension_unavailable() and native.extension_unavailable() in native.native_line()
    )

@pytest.mark.skipif(os.name != 'posix', reason='the compiler is a shell script')
def test_a_compiler_that_hangs_is_stopped(anew, monkeypatch, tmp_path):
    monkeypatch.setattr(native, '_PATIENCE', 2)
    monkeypatch.setattr(
        native,
        'compiler',
        lambda: broken(tmp_path, f'[ "$1" = --version ] && exit 0; echo $$ >> "{tmp_path}/started"; exec sleep 60'),
    )
    assert 'more than 2 seconds' in native.extension_unavailable()
    state = lambda pid: subprocess.run(['ps', '-o', 'stat=', '-p', pid], capture_output=True, text=True).stdout.strip()
    started = (tmp_path/'started').read_text().split()
    assert started and all(state(pid)[:1] in ('', 'Z') for pid in started) # gone, or ended and not yet taken note of

def computed(): return native.conv_cpp(torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), 1).sum().item()

@needs_compiler
@needs_fork
def test_processes_that_start_together(anew):
    assert together(2, computed) == [169.]*2
    file, = anew.iterdir()
    assert native.kept(file)

@needs_compiler
def test_a_folder_that_cannot_be_written(anew):
    anew.write_text('in the way')
    assert native.extension_unavailable() is None and anew.read_text() == 'in the way'

def broken(tmp_path, text):
    path = tmp_path/'c++'
    path.write_text('#!/bin/sh\n' + text); path.chmod(stat.S_IRWXU)
    return str(path)

@pytest.mark.skipif(os.name != 'posix', reason='the broken compilers are shell scripts')
@pytest.mark.parametrize(
    'text,says',
    [
        ('echo "out of ink" >&2; exit 1', 'out of ink'),
        ('[ "$1" = --version ] && exit 0; exec sleep 9', 'more than'),
        ('[ "$1" = --version ] && exit 0; for o; do :; done; echo nonsense > "$o"', ''),
    ],
)
def test_without_a_compiler_that_works(anew, monkeypatch, tmp_path, text, says):
    monkeypatch.setattr(native, '_PATIENCE', .3)
    monkeypatch.setattr(native, 'compiler', lambda: broken(tmp_path, text))
    why = native.extension_unavailable()
    assert why and says in why and '\n' not in why and why in native.native_line()
    x,w = rand(1, 64, 32, 32), rand(64, 64, 3, 3)
    monkeypatch.setattr(ops, '_WORTH', 0)
    torch.testing.assert_close(ops.conv2d(x, w, 1), F.conv2d(x, w, padding=1), rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match='no C'): native.conv_cpp(x, w, 1)

def test_without_a_compiler(anew, monkeypatch, capsys):
    monkeypatch.setenv('PATH', ''); monkeypatch.delenv('CXX', raising=False)
    assert native.compiler() is None and 'install g++' in native.native_line()
    f = filtered.lowpass(12, 8., 6., 64.)
    assert filtered.filtered_lrelu(rand(1, 3, 9, 9), rand(3), f, f, 2, 2, (9, 10)).isfinite().all()
    said = capsys.readouterr()
    assert said.out == said.err == ''

# ---------------------------------------------------------------- memory
def test_memory_is_used_again_and_never_twice():
    a = native.empty(600, 600); a.fill_(1.)
    b = native.empty(600, 600); b.fill_(2.)
    assert (a == 1).all() and a.data_ptr() != b.data_ptr()
    place,part = a.data_ptr(), a[3]
    del a
    assert native.empty(600, 600).data_ptr() != place and (part == 1).all()
    del part
    assert place in [native.empty(600, 600).data_ptr() for _ in range(1)] + [p.data_ptr() for p in native._FREE]

def test_the_store_is_bounded(monkeypatch):
    monkeypatch.setattr(native, '_FREE', []); monkeypatch.setattr(native, '_STORE', 10*2**20)
    for n in (4, 1, 8): native._give_back(torch.empty(n*2**18))
    assert [len(p) for p in native._FREE] == [8*2**18] # the largest stays

def test_pieces_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(native, '_FREE', [])
    for n in (300, 600, 1300, 2700): native.empty(n, 1024) # as pictures grow
    assert [len(p) for p in native._FREE] == [2700*1024]
    small = native.empty(300, 1024) # too small for a piece so large
    assert len(native._FREE) == 1 and small.numel() == 300*1024
    del small
    assert [len(p)//1024 for p in native._FREE] == [300, 2700]
