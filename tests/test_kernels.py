"""GPU kernels where there is no GPU: that they compile, and that their sources, run thread by thread on the CPU,
compute what they should.
Then the registered operators, the dispatcher, and the cache. With a GPU, the same comparisons there, on streams and in
CUDA graphs."""
import ctypes, itertools, math, os, shutil, stat, subprocess, sys, time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
import pytest, torch
from torch.autograd import gradcheck, gradgradcheck
from sound_video.stylegan import filtered_lrelu as filtered
from sound_video.stylegan import kernels
from sound_video.stylegan import cpu_extension as native
from sound_video.stylegan import operators as ops
from sound_video.core.errors import UserError
import emulator
from together import needs_fork, together

try: NVRTC = kernels.nvrtc_version()
except (ImportError, RuntimeError): NVRTC = None
needs_nvrtc = pytest.mark.skipif(not NVRTC, reason='no NVRTC here: it comes with PyTorch for CUDA')
needs_gxx = pytest.mark.skipif(not emulator.compiler(), reason='no g++ here to run kernels on the CPU with')
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here')

DTYPES = torch.float32, torch.float16, torch.bfloat16, torch.float64
FACTORS = list(itertools.product((1, 2, 4), (1, 2, 4)))
CASES = [(torch.float32, *ud) for ud in FACTORS] + [*zip(DTYPES[1:], (2, 4, 1), (2, 1, 4))]
OPS = 'bias_act_op bias_act_masked_op upfirdn2d_op filtered_lrelu_op filtered_masked_op'.split()

def rand(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)

def guarded(x):
    "The same numbers as a view into a larger tensor of NaN, with strides of no standard layout."
    B,C,H,W = x.shape
    big = x.new_full((B+2, H+2, C+2, 2*W+3), math.nan).transpose(1, 2)
    view = big[1:-1,1:-1,1:-1,1:-2:2]
    return view.copy_(x)

LAYOUTS = dict(
    contiguous=lambda x: x.contiguous(),
    channels_last=lambda x: x.contiguous(memory_format=torch.channels_last),
    guarded=guarded,
)

def near(got, want, units=2.):
    "Equal to some units of rounding of the largest value."
    assert got.dtype == want.dtype and got.shape == want.shape
    eps,smallest = torch.finfo(got.dtype).eps, torch.finfo(got.dtype).smallest_normal
    got,want = got.detach().double(), want.detach().double()
    limit = (
        max(units * eps, 32 * eps if eps < 1e-10 else 2**-18) * float(want.abs().max()) + 4 * eps * smallest
    )  # sums of products are in float32
    worst = float((got - want).abs().max())
    assert worst <= limit, (worst, limit)

@pytest.fixture
def emulated(monkeypatch):
    "Kernels run on the CPU, in memory that is NaN where nothing was written; gives the names of what ran."
    ran = []
    def run(launch, device): ran.append(launch.name); emulator.run(launch)
    monkeypatch.setattr(kernels, 'run', run)
    torch.use_deterministic_algorithms(True)
    yield ran
    torch.use_deterministic_algorithms(False)

@pytest.fixture
def operators(emulated):
    "The registered operators run emulated kernels for tensors on the CPU."
    for name in OPS:
        getattr(kernels, name).register_kernel('cpu')(
            getattr(kernels, '_' + {'filtered_masked_op': 'filtered_masked'}.get(name, name[:-3]) + '_gpu')
        )
    yield emulated
    for name in OPS: getattr(kernels, name).register_kernel('cpu')(getattr(kernels, '_' + name[:-3]))

# ---------------------------------------------------------------- compiling
def a_launch_of_each():
    "Every kernel in every mode and precision."
    for dtype in DTYPES:
        x = torch.zeros(1, 8, 40, 40, dtype=dtype)
        f,codes = torch.ones(12, dtype=kernels._wide(x[:0]).dtype), torch.zeros(8, dtype=torch.uint8)
        for mode in range(3):
            yield kernels.launch_bias_act(x, None, x, codes, .2, 1., 1., mode)
            yield kernels.launch_filtered_lrelu(
                x, None, f, f, x, codes, 4, 2, (9, 10), (mode, mode), (80, 80), False, 0.2, 1.0, 1.0, (2.0, 1.0), mode
            )
        yield kernels.launch_upfirdn2d(x, f, x, 2, 1, 5, 6, False, 1.)
        yield kernels.launch_upfirdn2d(x, f[:,None]*f, x, 1, 2, 5, 6, False, 1.)
        last = x.contiguous(memory_format=torch.channels_last)
        yield kernels.launch_upfirdn2d(last, f, last, 2, 1, 5, 6, False, 1.)

@needs_nvrtc
@pytest.mark.parametrize('arch', ['sm_100', 'compute_75'])
def test_compiles(arch):
    seen = set()
    for launch in a_launch_of_each():
        start = time.perf_counter()
        code = kernels.compile_kernel(launch.name, launch.defines, arch)
        assert time.perf_counter() - start < 20 # about 0.1 s on an idle machine
        if arch.startswith('sm_'): assert code[:4] == b'\x7fELF' and launch.name.encode() in code
        else: assert f'.entry {launch.name}('.encode() in code and b'.target sm_75' in code
        seen.add(launch.name)
    assert seen == {p.stem for p in kernels.source_folder().glob('*.cu')}

@needs_nvrtc
@pytest.mark.parametrize('up,down', FACTORS)
def test_every_factor_fits(up, down):
    for taps,dtype in ((1, torch.float32), (kernels.MOST_TAPS, torch.float16), (kernels.MOST_TAPS//2, torch.float64)):
        x = torch.zeros(1, 8, 80, 80, dtype=dtype)
        f,codes = torch.ones(taps, dtype=kernels._wide(x[:0]).dtype), torch.zeros(8, dtype=torch.uint8)
        for launch in (
            kernels.launch_filtered_lrelu(
                x,
                None,
                f,
                f,
                x,
                codes,
                up,
                down,
                (9, 10),
                (3, 2),
                (80, 80),
                False,
                0.2,
                1.0,
                1.0,
                (2.0, 1.0),
                kernels.MASKED,
            ),
            kernels.launch_upfirdn2d(x, f, x, up, down, 5, 6, False, 1.0),
        ):
            assert launch.shared <= 48*1024
            if taps > 1: kernels.compile_kernel(launch.name, launch.defines, 'sm_90')

# ---------------------------------------------------------------- arithmetic, thread by thread
@needs_gxx
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_bias_act(emulated, dtype, layout):
    for shape in ((3, 5, 7, 9), (1, 8, 4, 4), (64, 3, 1, 5), (1, 1, 1, 1)):
        x,b = LAYOUTS[layout](rand(*shape, dtype=dtype)), rand(shape[1], dtype=dtype, seed=1)
        for bias,slope,clamp in ((b, .2, 1.), (None, 0., math.inf), (b, 1., .5)):
            y,codes = kernels._bias_act_gpu(x, bias, slope, 1.5, clamp, True)
            want,want_codes = kernels._bias_act(x, bias, slope, 1.5, clamp, True)
            near(y, want); near(y, kernels.bias_act_ref(x, bias, slope, 1.5, None if clamp == math.inf else clamp))
            assert y.stride() == want.stride() and torch.equal(codes, want_codes)
            assert torch.equal(kernels._bias_act_gpu(x, bias, slope, 1.5, clamp, False)[0], y)
            args = codes, slope, 1.5, kernels._last(kernels._dense(x))
            near(kernels._bias_act_masked_gpu(x, *args), kernels._bias_act_masked(x, *args))
    assert set(emulated) == {'bias_act'}

@needs_gxx
def test_bias_act_of_odd_memory(emulated):
    x = rand(100)[1:-1].view(2, 49) # two dimensions, and not at a multiple of 16 bytes
    near(
        kernels._bias_act_gpu(x, rand(49, seed=1), 0.2, 1.5, 1.0, True)[0],
        kernels.bias_act_ref(x, rand(49, seed=1), 0.2, 1.5, 1.0),
    )
    odd = torch.tensor([[math.nan, math.inf, -math.inf, 0., -0.]])
    y = kernels._bias_act_gpu(odd, None, .2, 1., 3., True)[0]
    assert y[0,0].isnan() and y[0,1:].tolist() == [3., -3., 0., 0.]

@needs_gxx
@pytest.mark.parametrize('dtype,up,down', CASES, ids=str)
def test_upfirdn2d(emulated, dtype, up, down):
    line,rectangle = rand(4, seed=1), rand(3, 5, seed=2)
    for shape,pads,flip in (((2, 8, 11, 13), [3,-1,2,5], False), ((64, 1, 5, 3), [4,4,4,4], True)):
        for layout,f in itertools.product(LAYOUTS.values(), (line, rectangle, None)):
            x = layout(rand(*shape, dtype=dtype))
            y = kernels._upfirdn2d_gpu(x, f, up, down, pads, flip, -3.)
            near(y, kernels.upfirdn2d_ref(x, f, up, down, pads, flip, -3.))
            assert kernels._last(y) == kernels._last(x) or 1 in y.shape
    assert set(emulated) == {'upfirdn2d', 'upfirdn2d_direct'}

@needs_gxx
@pytest.mark.parametrize('dtype,up,down', CASES, ids=str)
def test_filtered_lrelu(emulated, dtype, up, down):
    for i, (shape, pads, fu, fd, bias) in enumerate(
        (
            ((2, 3, 11, 13), [9, 10, 11, 12], rand(12, seed=1), rand(8, seed=2), True),
            ((64, 1, 4, 5), [1, 0, 3, 2], rand(3, seed=1), None, False),
            ((1, 2, 21, 19), [-1, 7, 6, -2], None, rand(5, seed=3), True),
        )
    ):
        x = list(LAYOUTS.values())[i](rand(*shape, dtype=dtype))
        b = rand(shape[1], dtype=dtype, seed=4) if bias else None
        y,codes = kernels._filtered_lrelu_gpu(x, b, fu, fd, up, down, pads, .2, 1.5, 2., i == 1, True)
        near(y, kernels.filtered_lrelu_ref(x, fu, fd, b, up, down, pads, 1.5, .2, 2., i == 1))
        want_codes = kernels._filtered_lrelu(x, b, fu, fd, up, down, pads, .2, 1.5, 2., i == 1, True)[1]
        assert (
            codes.shape == want_codes.shape and (codes != want_codes).float().mean() < 1e-3
        )  # a sum that is almost zero may get either sign
        assert torch.equal(y, kernels._filtered_lrelu_gpu(x, b, fu, fd, up, down, pads, .2, 1.5, 2., i == 1, False)[0])
    assert set(emulated) == {'filtered_lrelu'}

@needs_gxx
@pytest.mark.parametrize('pad,crop', [((3, 5), (0, 1)), ((-2, 1), (7, 10)), ((0, 6), (-1, -3))])
def test_filtered_masked(emulated, pad, crop):
    x,fu,fd = guarded(rand(2, 2, 9, 14)), rand(6, seed=1), rand(7, seed=2)
    for up,down in FACTORS:
        mid = [up*n + p for n,p in zip(x.shape[2:], (2, -3))]
        out = [(m + 3)//down for m in mid]
        codes = torch.randint(
            0, 3, (2, 2, mid[1], mid[0]), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
        )
        args = (
            x,
            kernels.pack_codes(codes).mT.contiguous(),
            fu,
            fd,
            up,
            down,
            pad,
            crop,
            mid,
            out,
            0.2,
            1.5,
            [2.0, 0.5],
            True,
        )
        near(kernels._filtered_masked_gpu(*args), kernels._filtered_masked(*args))

@needs_gxx
def test_many_tiles(emulated):
    x,f = rand(1, 2, 71, 45), rand(12, seed=1)
    near(
        kernels._upfirdn2d_gpu(x, f, 2, 1, [6, 5, 6, 5], False, 4.0),
        kernels.upfirdn2d_ref(x, f, 2, 1, (6, 5, 6, 5), False, 4.0),
    )
    args = x, None, f, f, 2, 2, [11]*4, .2, 1.5, 2., False, True
    (y,codes),(want,want_codes) = kernels._filtered_lrelu_gpu(*args), kernels._filtered_lrelu(*args)
    near(y, want)
    assert (codes != want_codes).float().mean() < 1e-3

@needs_gxx
def test_order_of_threads_does_not_matter(monkeypatch):
    def outputs(backwards):
        monkeypatch.setattr(kernels, 'run', lambda launch, device: emulator.run(launch, backwards=backwards))
        x,f = rand(1, 2, 37, 41), rand(12, seed=1)
        return kernels._upfirdn2d_gpu(x, f, 2, 2, [6] * 4, False, 4.0), *kernels._filtered_lrelu_gpu(
            x, None, f, f, 2, 2, [11] * 4, 0.2, 1.5, 2.0, False, True
        )
    assert all(torch.equal(a, b) for a,b in zip(outputs(False), outputs(True)))

@needs_gxx
@pytest.mark.parametrize('barrier', range(4))
def test_a_missing_barrier_would_be_noticed(monkeypatch, tmp_path, barrier):
    folder = shutil.copytree(kernels.source_folder(), tmp_path/'cuda')
    parts = (folder/'filtered_lrelu.cu').read_text().split('__syncthreads();')
    assert len(parts) == 5
    (folder / 'filtered_lrelu.cu').write_text(
        '__syncthreads();'.join(parts[: barrier + 1]) + '__syncthreads();'.join(parts[barrier + 1 :])
    )
    x,f = rand(1, 1, 20, 20), rand(12, seed=1)
    want = kernels.filtered_lrelu_ref(x, f, f, None, 2, 2, 11)
    monkeypatch.setattr(kernels, 'source_folder', lambda: folder)
    monkeypatch.setattr(emulator, 'loaded', emulator.loaded.__wrapped__)
    monkeypatch.setattr(emulator, 'folder', lambda: tmp_path)
    got = []
    for backwards in (False, True):
        monkeypatch.setattr(kernels, 'run', lambda launch, device: emulator.run(launch, backwards=backwards))
        got.append(
            kernels._filtered_lrelu_gpu(
                x, None, f, f, 2, 2, [11] * 4, kernels.LRELU_SLOPE, kernels.LRELU_GAIN, math.inf, False, False
            )[0]
        )
    assert not all(torch.allclose(g, want, atol=1e-3) for g in got)

# ---------------------------------------------------------------- gradients, through emulated kernels and through
# definitions
def functions(x64):
    "The operators as functions of what has gradients."
    fu,fd = rand(6, seed=1).double(), rand(5, seed=2).double()
    yield lambda x,b: kernels.bias_act_op(x, b, .2, 1.5, 1., True)[0]
    yield lambda x,b: kernels.upfirdn2d_op(x, fu, 2, 1, [3,2,-1,4], False, 3.)
    yield lambda x,b: kernels.upfirdn2d_op(x, fu[:3,None]*fd, 1, 2, [3,2,-1,4], True, 3.)
    yield lambda x,b: kernels.filtered_lrelu_op(x, b, fu, fd, 2, 2, [5,4,3,6], .2, 1.5, .8, False, True)[0]
    yield lambda x,b: kernels.filtered_lrelu_op(x, b, fu, None, 4, 1, [2,2,2,2], 0., 1.5, math.inf, True, True)[0]

def check_gradients():
    x,b = rand(1, 2, 2, 3, dtype=torch.float64).requires_grad_(), rand(2, dtype=torch.float64, seed=5).requires_grad_()
    for f in functions(x):
        assert gradcheck(f, (x, b), eps=1e-6) and gradgradcheck(f, (x, b), eps=1e-6)

def test_gradients_of_definitions(): check_gradients()

@needs_gxx
def test_gradients_of_kernels(operators):
    check_gradients()
    assert {'bias_act', 'upfirdn2d', 'upfirdn2d_direct', 'filtered_lrelu'} == set(operators)

def test_gradients_of_arrangements():
    x, b, f = (
        rand(2, 2, 3, 4, dtype=torch.float64).requires_grad_(),
        rand(2, dtype=torch.float64, seed=5).requires_grad_(),
        rand(6, seed=1).double(),
    )
    for g in (
        lambda x, b: kernels.bias_act_cpu(x, b, clamp=1.0),
        lambda x, b: kernels.upfirdn2d_cpu(x, f, 2, 4, 4),
        lambda x, b: kernels.filtered_lrelu_cpu(x, f, f, b, 2, 2, 5, clamp=0.8),
    ):
        assert gradcheck(g, (x, b)) and gradgradcheck(g, (x, b))

def ladder(f, x, b):
    "Value, gradients, gradients of gradients."
    x,b = x.detach().requires_grad_(), b.detach().requires_grad_()
    y = f(x, b)
    probe = rand(*y.shape, seed=9).to(y.device) / y.numel()**.5 # so that nothing overflows in half precision
    first = torch.autograd.grad((y.float().square() * probe).sum(), (x, b), create_graph=True)
    second = torch.autograd.grad(sum(g.float().square().sum() for g in first), (x, b))
    return y, *first, *second

@needs_gxx
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
@pytest.mark.parametrize('dtype', DTYPES[:3], ids=str)
def test_ladder_in_every_precision(operators, dtype, layout):
    f,b,x = rand(6, seed=1)/2, rand(3, dtype=dtype, seed=5), LAYOUTS[layout](rand(2, 3, 9, 11, dtype=dtype))
    got = ladder(lambda x,b: kernels.filtered_lrelu_op(x, b, f, f, 2, 2, [5]*4, .2, 1.5, 9., False, True)[0], x, b)
    want = ladder(lambda x,b: kernels.filtered_lrelu_ref(x, f, f, b, 2, 2, 5, 1.5, .2, 9.), x, b)
    for g,w in zip(got, want): near(g, w, units=16) # the half precisions round between operators

# ---------------------------------------------------------------- what PyTorch demands of operators
@pytest.mark.parametrize('name', OPS)
def test_opcheck(name):
    x,b,f = rand(2, 3, 5, 6).requires_grad_(), rand(3, seed=1).requires_grad_(), rand(4, seed=2)
    plain = rand(2, 3, 5, 6)
    y,codes = kernels._bias_act(plain, None, .2, 1.5, 1., True)
    last = plain.contiguous(memory_format=torch.channels_last).requires_grad_()
    mid,_ = kernels._filtered_sizes(plain, f, f, 2, 2, [3]*4)
    fine = kernels._filtered_lrelu(plain, None, f, f, 2, 2, [3]*4, .2, 1.5, 1., False, True)[1]
    samples = dict(
        bias_act_op=[
            (x, b, 0.2, 1.5, 1.0, True),
            (last, None, 0.2, 1.5, math.inf, True),
            (plain, None, 0.2, 1.5, 1.0, False),
        ],
        bias_act_masked_op=[(x, codes, 0.2, 1.5, False)],
        upfirdn2d_op=[(x, f, 2, 1, [3, -1, 2, 2], False, 4.0), (last, None, 1, 2, [1] * 4, True, 1.0)],
        filtered_lrelu_op=[
            (x, b, f, f, 2, 2, [3] * 4, 0.2, 1.5, 1.0, False, True),
            (plain, None, f, None, 2, 1, [3] * 4, 0.2, 1.5, math.inf, False, False),
        ],
        filtered_masked_op=[(x, fine, f, f, 2, 2, [3, 3], [0, 0], mid, [5, 6], 0.2, 1.5, [2.0, 1.0], False)],
    )
    for args in samples[name]: torch.library.opcheck(getattr(kernels, name), args)

def test_compile_sees_one_graph():
    x,b,f = rand(2, 3, 6, 6).requires_grad_(), rand(3, seed=1), rand(4, seed=2)
    def network(x):
        return (
            kernels.filtered_lrelu_op(x, b, f, f, 2, 2, [3] * 4, 0.2, 1.5, 1.0, False, True)[0].square().sum()
            + kernels.filtered_lrelu_cuda(x, f, f, b, 2, 2, 3).sum()
        )
    compiled = torch.compile(network, backend='aot_eager', fullgraph=True)
    a,c = network(x), compiled(x)
    torch.testing.assert_close(a, c)
    torch.testing.assert_close(*(torch.autograd.grad(y, x)[0] for y in (a, c)))

# ---------------------------------------------------------------- dispatcher
@pytest.mark.parametrize('call,says', [
    (lambda x: kernels.bias_act_cuda(x, impl='gpu'), 'choose from'),
    (lambda x: kernels.upfirdn2d(x, torch.ones(2, 2), impl='cpu'), 'rectangles'),
    (lambda x: kernels.bias_act_cuda(x, torch.ones(4)), 'bias'),
    (lambda x: kernels.upfirdn2d(x, torch.ones(40)), 'nothing would be left'),
    (lambda x: kernels.upfirdn2d(x, torch.ones(1, 1, 1)), 'line'),
    (lambda x: kernels.filtered_lrelu_cuda(x, up=0), 'at least 1'),
    (lambda x: kernels.filtered_lrelu_cuda(x, torch.ones(3, device='meta')), 'move one'),
    (lambda x: kernels.filtered_lrelu_cuda(x[0]), r'\[B, C, H, W\]')])
def test_mistakes(call, says):
    with pytest.raises(UserError, match=says) as e: call(rand(1, 3, 5, 5))
    assert '\n' not in str(e.value)

@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu_is_said():
    with pytest.raises(UserError, match='device'): kernels.bias_act_cuda(rand(1, 3), impl='cuda')
    assert kernels.gpu_unavailable(0) == 'PyTorch sees no GPU'
    assert kernels.kernel_state()['runs'] == 'cpu' and kernels.kernel_line().startswith('none, as PyTorch sees no GPU')

def test_falling_back_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(kernels, '_SAID', set())
    x = rand(1, 1, 5, 5)
    for _ in range(3): kernels.upfirdn2d(x, torch.ones(2, 2), impl='auto')
    said = capsys.readouterr()
    assert said.err.count('\n') == 1 and 'rectangles' in said.err and not said.out

def test_a_gpu_without_kernels_computes_and_says_so(capsys, monkeypatch):
    monkeypatch.setattr(kernels, '_SAID', set())
    monkeypatch.setattr(kernels, 'gpu_unavailable', lambda device: 'the moon is full')
    run = kernels._or_definition(lambda *a: pytest.fail('the kernel ran'), kernels._upfirdn2d)
    x,f = rand(1, 1, 5, 5), rand(4)
    for _ in range(2):
        assert torch.equal(
            run(x, f, 2, 1, [2, 1, 2, 1], False, 4.0), kernels.upfirdn2d_ref(x, f, 2, 1, (2, 1, 2, 1), False, 4.0)
        )
    assert (
        capsys.readouterr().err
        == 'sound_video: the GPU runs without kernels of its own, which is slow: the moon is full\n'
    )

@pytest.mark.parametrize(
    'wish,there,gives',
    [
        ('auto', True, 'native'),
        ('auto', False, 'cpu'),
        ('torch', True, 'cpu'),
        ('native', True, 'native'),
        ('native', False, 'is not there: a wet fish'),
        ('cuda', True, 'cpu'),
        ('fish', True, 'choose from auto'),
    ],
)
def test_what_runs_on_a_cpu(monkeypatch, wish, there, gives):
    monkeypatch.setenv('SOUND_VIDEO_IMPL', wish)
    monkeypatch.setattr(native, 'extension_unavailable', lambda: None if there else 'a wet fish')
    pick = lambda lack=None: kernels.choose('auto', rand(1), native_lack=lack)
    if gives in ('native', 'cpu'): assert pick() == gives and pick('something') == 'cpu'
    else:
        with pytest.raises(UserError, match=gives): pick()

def test_native_is_for_float32_without_gradients():
    x = rand(2)
    assert kernels.native_lacks(None, x, None) is None and kernels.native_lacks('fish', x) == 'fish'
    assert 'float32' in kernels.native_lacks(None, x, x.half()) and 'gradients' in kernels.native_lacks(
        None, x.requires_grad_()
    )
    with torch.no_grad(): assert kernels.native_lacks(None, x) is None

@pytest.mark.parametrize(
    'wish,why,gives',
    [
        ('auto', None, 'cuda'),
        ('torch', None, 'ref'),
        ('cuda', None, 'cuda'),
        ('auto', 'a wet fish', 'ref'),
        ('cuda', 'a wet fish', None),
    ],
)
def test_what_runs_on_a_gpu(monkeypatch, capsys, wish, why, gives):
    monkeypatch.setattr(kernels, '_SAID', set())
    monkeypatch.setenv('SOUND_VIDEO_IMPL', wish)
    monkeypatch.setattr(kernels, 'gpu_unavailable', lambda device: why)
    x = SimpleNamespace(device=torch.device('cuda', 0))
    if gives: assert [kernels.choose('auto', x, native_lack=None) for _ in range(2)] == [gives]*2
    else:
        with pytest.raises(UserError, match='a wet fish'): kernels.choose('auto', x)
    assert capsys.readouterr().err.count('\n') == (1 if gives == 'ref' and why else 0)

def seem_on_gpu(monkeypatch, call):
    "The result of `call`, in which operators take the way of GPUs, with definitions for kernels."
    with monkeypatch.context() as m:
        for module in (ops, filtered): m.setattr(module, 'choose', lambda impl, x, *a, **kw: 'cuda')
        m.setattr(torch.Tensor, 'is_cuda', property(lambda t: True))
        return call()

def test_networks_ask_kernels_for_the_same(monkeypatch):
    x,b,f = rand(2, 3, 9, 12).requires_grad_(), rand(3, seed=1), ops.fir()
    up,down = filtered.lowpass(12, 8., 6., 64.), filtered.lowpass(12, 8., 6., 64.)
    for call in (
        lambda: ops.blur(x, f, 2),
        lambda: ops.blur(x, f, 1, gain=3.0, down=2),
        lambda: ops.enlarge(x, f),
        lambda: ops.finish(x * 3, 2.0),
        lambda: ops.finish(x * 3),
        lambda: filtered.filtered_lrelu(x, b, up, down, 2, 2, (9, 8), clamp=1.0, scale=rand(2, 3, seed=2)),
        lambda: filtered.filtered_lrelu(x, b, up, filtered.lowpass(12, 8.0, 6.0, 64.0, True), 2, 2, (9, 8)),
    ):
        near(seem_on_gpu(monkeypatch, call), call(), 16)

def test_learning_filters_take_the_definition():
    assert 'gradients of filters' in kernels._kernels_lack(rand(1, 1, 5, 5), 1, 1, rand(3).requires_grad_())
    assert (
        kernels._kernels_lack(rand(1, 1, 5, 5), 3, 1)
        and kernels._kernels_lack(rand(1, 1, 5, 5), 1, 1, rand(25))
        and not kernels._kernels_lack(rand(1, 1, 5, 5), 4, 2, rand(24))
    )

# ---------------------------------------------------------------- cache
CASE = 'bias_act', (('SCALAR', 'float'), ('PACK', 4), ('ALIGN', 16), ('MODE', 0), ('INDEX', 'unsigned')), 'sm_90'

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('SOUND_VIDEO_CACHE', str(tmp_path/'deep'/'cache'))
    return tmp_path/'deep'/'cache'

@pytest.fixture
def compiled(monkeypatch):
    "What is compiled while the test runs."
    names, real = [], kernels.compile_kernel
    monkeypatch.setattr(kernels, 'compile_kernel', lambda *a: (names.append(a), real(*a))[1])
    return names

@needs_nvrtc
def test_cache_is_used(cache, compiled):
    a,b = kernels.cached_kernel(*CASE), kernels.cached_kernel(*CASE)
    assert a == b and len(compiled) == 1 and len(list(cache.iterdir())) == 1

@needs_nvrtc
@pytest.mark.parametrize('what', ['source', 'macros', 'arch', 'compiler'])
def test_cache_knows_what_matters(cache, compiled, monkeypatch, what):
    kernels.cached_kernel(*CASE)
    case = list(CASE)
    if what == 'source':
        sources = kernels._sources() | {'common.cuh': kernels._sources()['common.cuh'] + '// changed\n'}
        monkeypatch.setattr(kernels, '_sources', lambda: sources)
    if what == 'macros': case[1] = (*CASE[1][:3], ('MODE', 1), CASE[1][4])
    if what == 'arch': case[2] = 'sm_80'
    if what == 'compiler': monkeypatch.setattr(kernels, 'nvrtc_version', lambda: '99.0')
    kernels.cached_kernel(*case)
    assert len(compiled) == 2 and len(list(cache.iterdir())) == 2

@needs_nvrtc
@pytest.mark.parametrize(
    'damage', [lambda d: d[:500], lambda d: b'', lambda d: d[:-1] + bytes([d[-1] ^ 1])], ids=['cut', 'empty', 'flipped']
)
def test_damaged_files_are_compiled_anew(cache, compiled, damage):
    code = kernels.cached_kernel(*CASE)
    file, = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert kernels.cached_kernel(*CASE) == code and len(compiled) == 2
    assert kernels.cached_kernel(*CASE) == code and len(compiled) == 2 # mended

@needs_nvrtc
@pytest.mark.parametrize('place', ['a file in the way', 'no home'])
def test_without_a_place_it_stays_in_memory(tmp_path, monkeypatch, place):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('SOUND_VIDEO_CACHE', str(tmp_path/'file'/'cache'))
    if place == 'no home':
        monkeypatch.delenv('SOUND_VIDEO_CACHE'); monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
        def homeless(): raise RuntimeError('Could not determine home directory.')
        monkeypatch.setattr(Path, 'home', homeless)
        assert kernels.cache_folder() is None
    assert kernels.cached_kernel(*CASE)[:4] == b'\x7fELF'
    assert [p.name for p in tmp_path.iterdir()] == ['file']

@needs_nvrtc
@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='everything can be written by this user')
def test_read_only_folder(cache):
    cache.mkdir(parents=True); cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try: assert kernels.cached_kernel(*CASE)[:4] == b'\x7fELF' and not list(cache.iterdir())
    finally: cache.chmod(stat.S_IRWXU)

@needs_nvrtc
def test_no_space_left(cache, monkeypatch):
    def full(self, data): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(Path, 'write_bytes', full)
    assert kernels.cached_kernel(*CASE)[:4] == b'\x7fELF' and not list(cache.iterdir())

@needs_nvrtc
@needs_fork
def test_processes_that_start_together(cache):
    first, *others = together(3, kernels.cached_kernel, *CASE)
    assert all(code == first for code in others)
    file, = cache.iterdir() # and no temporary one
    assert native.kept(file) == first

def test_importing_compiles_nothing(tmp_path):
    "Neither for the GPU nor for the CPU."
    script = (
        'import sys, sound_video.stylegan.kernels, sound_video.stylegan.stylegan3; print([m for m in sys.modules if'
        ' m.startswith(("cuda.bindings.nvrtc", "cuda.bindings.driver"))])'
    )
    said = subprocess.check_output(
        [sys.executable, '-c', script], env=os.environ | {'SOUND_VIDEO_CACHE': str(tmp_path / 'cache')}, text=True
    )
    assert said.strip() == '[]' and not (tmp_path/'cache').exists()

# ---------------------------------------------------------------- the driver, played by the test
@pytest.fixture
def actor(monkeypatch, cache):
    "A driver that notes what it is asked for; `refuse` holds code that it will not load."
    driver = pytest.importorskip('cuda.bindings.driver')
    note = SimpleNamespace(launched=[], loads=0, refuse=0, mode=[])
    ok = driver.CUresult.CUDA_SUCCESS

    def load(address):
        note.loads += 1
        assert ctypes.string_at(address, 4) == b'\x7fELF'
        return (driver.CUresult.CUDA_ERROR_INVALID_IMAGE, None) if note.loads <= note.refuse else (ok, 'module')

    def launch(*a):
        note.launched.append((*a[:9], ctypes.c_void_p.from_address(a[9]).value, a[10]))
        return (ok,)

    def swap(mode):
        note.mode.append(mode)
        return ok, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL

    fakes = dict(
        cuInit=lambda n: (ok,),
        cuDeviceGet=lambda i: (ok, i),
        cuDevicePrimaryCtxRetain=lambda d: (ok, 'context'),
        cuCtxSetCurrent=lambda c: (ok,),
        cuModuleLoadData=load,
        cuModuleGetFunction=lambda m, name: (ok, (m, name)),
        cuLaunchKernel=launch,
        cuThreadExchangeStreamCaptureMode=swap,
    )
    for name, f in fakes.items():
        monkeypatch.setattr(driver, name, f)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda d: (9, 0))
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda d: SimpleNamespace(cuda_stream=7))
    monkeypatch.setattr(torch.cuda, 'device', lambda d: nullcontext())
    monkeypatch.setattr(kernels, '_FUNCTIONS', {})
    kernels._context.cache_clear()
    kernels.gpu_unavailable.cache_clear()
    yield note
    kernels._context.cache_clear()
    kernels.gpu_unavailable.cache_clear()

@needs_nvrtc
def test_launching(actor, monkeypatch):
    x = rand(2, 3, 5, 5)
    launch = kernels.launch_bias_act(x, None, torch.empty_like(x), None, .2, 1., 1., kernels.PLAIN)
    monkeypatch.setattr(torch.Tensor, 'device', SimpleNamespace(index=0))
    for _ in range(2): kernels.run(launch, 0)
    first,second = actor.launched
    assert (
        first == second
        and first[:8] == (('module', b'bias_act'), launch.grid, 1, 1, 256, 1, 1, 0)
        and int(first[8]) == 7
    )
    assert first[9] == ctypes.addressof(launch.args) and actor.loads == 1
    assert actor.mode[-1] == 0 or actor.mode[-1].name.endswith('GLOBAL') # the capture mode is put back

@needs_nvrtc
def test_code_that_the_driver_refuses_is_compiled_anew(actor, compiled):
    actor.refuse = 1
    assert kernels.gpu_unavailable(0) is None and actor.loads == 2 and len(compiled) == 2

@needs_nvrtc
def test_a_driver_that_refuses_everything(actor):
    actor.refuse = 9
    assert 'CUDA_ERROR_INVALID_IMAGE' in kernels.gpu_unavailable(0) and '\n' not in kernels.gpu_unavailable(0)
    assert kernels.kernel_state()['runs'] == 'ref'

# ---------------------------------------------------------------- on a GPU
def gpu_cases():
    f,g = rand(12, seed=1)/4, rand(4, seed=2)/2
    yield 'bias_act', lambda impl: lambda x,b: kernels.bias_act_cuda(x, b, clamp=2., impl=impl)
    yield 'blur', lambda impl: lambda x,b: kernels.upfirdn2d(x, g.to(x.device), padding=2, impl=impl)
    yield 'rectangle', lambda impl: lambda x,b: kernels.upfirdn2d(x, (f[:5,None]*g).to(x.device), 1, 2, 3, impl=impl)
    for up,down in FACTORS:
        yield f'upfirdn2d-{up}-{down}', lambda impl, up=up, down=down: lambda x, b: kernels.upfirdn2d(
            x, g.to(x.device), up, down, (3, -1, 2, 5), impl=impl
        )
        yield f'filtered-{up}-{down}', lambda impl, up=up, down=down: lambda x, b: kernels.filtered_lrelu_cuda(
            x, f.to(x.device), f.to(x.device), b, up, down, 11, clamp=9.0, impl=impl
        )

GPU_CASES = dict(gpu_cases())

@needs_gpu
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('case', GPU_CASES)
def test_gpu(case, dtype):
    for shape,layout in itertools.product(((1, 3, 7, 9), (3, 8, 33, 65), (64, 16, 16, 16)), LAYOUTS.values()):
        x,b = layout(rand(*shape, dtype=dtype).cuda()), rand(shape[1], dtype=dtype, seed=5).cuda()
        got,want = (ladder_where_it_leads(GPU_CASES[case](impl), x, b) for impl in ('cuda', 'ref'))
        for g,w in zip(got, want): near(g, w, units=16)

def ladder_where_it_leads(f, x, b):
    "`ladder`, with zeros where an operator does not use the bias."
    return ladder(lambda x,b: f(x, b) + 0*b.sum(), x, b)

@needs_gpu
def test_gpu_gradcheck():
    x, b = (
        rand(2, 2, 3, 4, dtype=torch.float64).cuda().requires_grad_(),
        rand(2, dtype=torch.float64, seed=5).cuda().requires_grad_(),
    )
    f = rand(6, seed=1).double().cuda()
    for g in (
        lambda x, b: kernels.bias_act_cuda(x, b, clamp=1.0, impl='cuda'),
        lambda x, b: kernels.upfirdn2d(x, f, 2, 1, 3, impl='cuda'),
        lambda x, b: kernels.filtered_lrelu_cuda(x, f, f, b, 2, 2, 5, clamp=0.8, impl='cuda'),
    ):
        assert gradcheck(g, (x, b)) and gradgradcheck(g, (x, b))

@needs_gpu
def test_gpu_other_stream():
    x,f = rand(4, 8, 64, 64).cuda(), rand(12, seed=1).cuda()
    want = kernels.filtered_lrelu_cuda(x, f, f, None, 2, 2, 11, impl='ref')
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000) # what follows must wait for this, and for nothing else
        y = x * 1
        got = kernels.filtered_lrelu_cuda(y, f, f, None, 2, 2, 11, impl='cuda')
        assert not stream.query()
    stream.synchronize()
    near(got, want, 16)

@needs_gpu
def test_gpu_graph():
    x, b, f = rand(4, 8, 32, 32).cuda(), rand(8, seed=5).cuda(), rand(12, seed=1).cuda()

    def step():
        return kernels.upfirdn2d(
            kernels.bias_act_cuda(kernels.filtered_lrelu_cuda(x, f, f, b, 2, 2, 11, impl='cuda'), b, impl='cuda'),
            f,
            2,
            1,
            5,
            impl='cuda',
        )

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = step()
    x.copy_(rand(4, 8, 32, 32, seed=7))
    graph.replay()
    near(y.clone(), step(), 16)

@needs_gpu
def test_gpu_graph_may_be_the_first_use():
    script = '''import torch
from sound_video.stylegan import kernels
x = torch.randn(2, 3, 9, 9, device='cuda'); f = torch.ones(4, device='cuda')
torch.cuda.synchronize(); g = torch.cuda.CUDAGraph()
with torch.cuda.graph(g): y = kernels.upfirdn2d(x, f, 2, 1, 2, impl='cuda')
g.replay(); assert (y - kernels.upfirdn2d(x, f, 2, 1, 2, impl='ref')).abs().max() < 1e-3'''
    subprocess.run([sys.executable, '-c', script], check=True)

@needs_gpu
@pytest.mark.parametrize('name', OPS[:1] + OPS[2:4])
def test_gpu_opcheck(name):
    x,b,f = rand(2, 3, 5, 6).cuda().requires_grad_(), rand(3, seed=1).cuda().requires_grad_(), rand(4, seed=2).cuda()
    args = dict(
        bias_act_op=(x, b, 0.2, 1.5, 1.0, True),
        upfirdn2d_op=(x, f, 2, 1, [3, -1, 2, 2], False, 4.0),
        filtered_lrelu_op=(x, b, f, f, 2, 2, [3] * 4, 0.2, 1.5, 1.0, False, True),
    )[name]
    torch.library.opcheck(getattr(kernels, name), args)
