"""StyleGAN3: the numbers of the reference implementation, settings of all kinds, both ways to compute, training with
resumption, mistakes."""
import json, os, sys
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file
from fastai.callback.progress import ProgressCallback
from fastcore.basics import noop
from sound_video.core.callbacks import Checkpoint, Resume
from sound_video.stylegan.adversarial import GANModels, path_lengths, stylegan_learner
from sound_video.core.errors import UserError
from sound_video.stylegan import operators as ops
from sound_video.stylegan import stylegan2 as stylegan
from sound_video.stylegan.operators import channels_last, winograd_conv
from sound_video.stylegan.stylegan2 import Discriminator, half_precision
from sound_video.stylegan.stylegan3 import (
    Recorded,
    StyleGAN3,
    StyleGAN3Config,
    transformed_input,
    shift_matrix,
    turn_matrix,
)

sys.path.insert(0, str(Path(__file__).parents[1]/'benchmarks'))
import bench_precision

parity = Path(os.environ.get('SOUND_VIDEO_PARITY', Path(__file__).parents[2]/'shared'/'parity'))
small = dict(z_dim=8, w_dim=8, img_resolution=16, channel_base=128, channel_max=12, num_layers=5)
KINDS = {
    'T': {},
    'R': dict(conv_kernel=1, use_radial_filters=True),
    'classes': dict(c_dim=3),
    'no clamp': dict(conv_clamp=None),
    'small clamp': dict(conv_clamp=0.5),
    'filters of 8': dict(filter_size=8),
    'no upsampling in the activation': dict(lrelu_upsampling=1),
    'upsampling by 4': dict(lrelu_upsampling=4),
    'margin 3': dict(margin_size=3),
    'other cutoffs': dict(first_cutoff=1.5, first_stopband=5.0, last_stopband_rel=1.5),
    'critical 3': dict(num_critical=3),
    'radial, 3 × 3': dict(use_radial_filters=True),
    'grey': dict(img_channels=1),
    '64 pixels': dict(img_resolution=64, channel_base=1024, channel_max=96),
    '5 × 5': dict(conv_kernel=5),
}

@pytest.fixture(autouse=True)
def one_thread():
    n = torch.get_num_threads(); torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

def relative(a, b): return ((a - b).abs().max() / (b.max() - b.min())).item()

def files(): # of reference numbers: (name, its arguments)
    for f in sorted(parity.glob('*.json')):
        d = json.loads(f.read_text())
        if 'use_radial_filters' in d or 'magnitude_ema_beta' in d or f.stem.startswith('stylegan3'): yield f.stem,d

@pytest.mark.parametrize('name,d', list(files()) or [('stylegan3', None)])
@torch.no_grad()
def test_parity(name, d):
    if d is None: pytest.skip('no reference numbers here')
    G = StyleGAN3(StyleGAN3Config.from_dict(d)).eval()
    ours = {k: v.clone() for k,v in G.state_dict().items() if 'filter' in k}
    G.load_state_dict(load_file(parity/f'{name}.weights.safetensors'))
    for k,f in ours.items(): torch.testing.assert_close(f, G.state_dict()[k], rtol=1e-5, atol=1e-6)
    want = load_file(parity/f'{name}.expected.safetensors')
    z,c = want['z'],want.get('c')
    assert relative(G.mapping(z, c), want['w']) < 1e-4
    assert relative(G.mapping(z, c, psi=.7), want['w_truncated']) < 1e-4
    for kind in ('w', 'wplus'):
        img = want['images' if kind == 'w' else 'wplus_images']
        assert relative(G.synthesis(want[kind]), img) < 1e-4
        with torch.enable_grad(): assert relative(G.synthesis(want[kind]).detach(), img) < 1e-4
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast('cpu', dtype): assert relative(G.synthesis(want['w']), want['images']) < .01

def made(kind, seed=0):
    torch.manual_seed(seed)
    G = StyleGAN3(StyleGAN3Config(**small | KINDS[kind])).eval()
    for k,v in G.state_dict().items():
        if k.endswith('bias'): v += torch.randn_like(v) * .2
        if k.endswith('magnitude_ema'): v.uniform_(.3, 3)
    z = torch.randn(2, 8)
    return G, G.mapping(z, torch.tensor([0, 2]) if G.cfg.c_dim else None)

@pytest.mark.parametrize('kind', KINDS)
def test_all_ways(kind, monkeypatch):
    "In pieces, without gradients, in PyTorch and in C++ where there is a compiler; and as a whole, with gradients."
    monkeypatch.setattr(ops, '_WORTH', 0)
    G,w = made(kind)
    whole = G.synthesis(w)
    assert whole.requires_grad and whole.shape == (2, G.cfg.img_channels, G.cfg.img_resolution, G.cfg.img_resolution)
    for wish in ('torch', 'auto'):
        monkeypatch.setenv('SOUND_VIDEO_IMPL', wish)
        with torch.no_grad(): assert relative(G.synthesis(w), whole) < 1e-5
    monkeypatch.setattr(G.synthesis, 'at_once', 1)
    with torch.no_grad(): assert relative(G.synthesis(w), whole) < 1e-5
    with torch.inference_mode():
        assert relative(G.synthesis(w[1:]), whole[1:]) < 2e-5  # a picture does not depend on its neighbours

@pytest.mark.parametrize('kind', ['2', 't', 'r'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(kind, dtype):
    G = bench_precision.network(kind, 32)
    off,low,high = bench_precision.differences(G, dtype, 12)
    assert off.max() < .01 * (high.max() - low.min()) and off.max() > 0

@pytest.mark.parametrize(
    'dtype,as_on_a_gpu', [(torch.float16, False), (torch.bfloat16, False), (torch.float16, True)], ids=str
)
def test_half_precision_of_a_trained_network(monkeypatch, dtype, as_on_a_gpu):
    if as_on_a_gpu:
        monkeypatch.setattr(
            stylegan, 'half_precision', lambda w, learning: half_precision(w, True)
        )  # what lies between convolutions, too
    off,low,high = bench_precision.differences(bench_precision.network('mini', 64), dtype, 66) # one of each class
    most = .01 if dtype == torch.float16 else .02 # of the range: bfloat16 has three bits less
    assert (off < most * (high - low)).all() and off.max() > 0

@torch.no_grad()
def test_float16_survives_large_numbers():
    G = bench_precision.network('2', 16)
    for name,p in G.synthesis.named_parameters():
        if name.endswith('weight') and 'affine' not in name and 'torgb' not in name: p *= 1e4
        if 'affine' in name: p *= 100
    w = G.mapping(torch.randn(4, 64))
    with torch.autocast('cpu', torch.float16): assert G.synthesis(w).isfinite().all()

def test_recording_needs_a_gpu():
    with pytest.raises(UserError, match='on the CPU'): Recorded(made('T')[0], 1)

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('kind', ['2', 't', 'r'])
def test_recorded(kind, dtype):
    G = bench_precision.network(kind, 32).cuda()
    play = Recorded(G, 3, dtype)
    for seed in (0, 1):
        w = G.mapping(torch.randn(3, 64, generator=torch.Generator().manual_seed(seed)).cuda()).detach()
        with torch.no_grad(), torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
            torch.testing.assert_close(play(w), G.synthesis(w), rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match='was recorded'): play(w[:1])

@pytest.mark.parametrize('kind', ['T', 'R', 'small clamp'])
def test_second_gradients(kind):
    G,w = made(kind)
    w = w.detach().requires_grad_()
    lengths = path_lengths(G.synthesis, w)
    lengths.square().sum().backward()
    assert lengths.shape == (2,) and w.grad.isfinite().all() and w.grad.abs().max() > 0
    for name,p in G.synthesis.named_parameters():
        if not name.startswith(G.synthesis.layer_names[-1] + '.bias'):
            assert p.grad is None or p.grad.isfinite().all(), name
    assert G.synthesis.get_submodule(G.synthesis.layer_names[1]).weight.grad.abs().max() > 0

def test_gradient_is_the_slope():
    G,w = made('R')
    w,step = w.detach().requires_grad_(),torch.randn_like(w) * 1e-2
    g, = torch.autograd.grad(G.synthesis(w).square().sum(), w)
    with torch.no_grad(): rise = G.synthesis(w + step).square().sum() - G.synthesis(w - step).square().sum()
    assert abs(rise / (2*(g*step).sum()) - 1) < .02

@pytest.mark.parametrize('kind', KINDS)
def test_settings_survive(kind):
    cfg = StyleGAN3Config(**small | KINDS[kind])
    assert StyleGAN3Config.from_dict(json.loads(json.dumps(cfg.to_dict()))) == cfg

def test_winograd():
    torch.manual_seed(0)
    for B, I, O, H, W, pad in [
        (1, 64, 64, 36, 36, 2),
        (3, 70, 65, 17, 23, 1),
        (1, 64, 80, 300, 7, 2),
        (9, 64, 64, 6, 300, 1),
    ]:
        x,w = channels_last(torch.randn(B, I, H, W)),torch.randn(O, I, 3, 3)
        want = torch.nn.functional.conv2d(x.double(), w.double(), padding=pad)
        assert relative(winograd_conv(x, w, pad), want) < 1e-5

def test_moves_with_the_input():
    G,w = made('R')
    for turned in (shift_matrix(.1, 0), turn_matrix(1.)):
        with torch.no_grad():
            before = G.synthesis(w)
            with transformed_input(G, turned): assert relative(G.synthesis(w), before) > .05
            assert torch.equal(G.synthesis(w), before)

class Data:
    "Batches that depend on torch's random generator."
    def __len__(self): return 4
    def __iter__(self):
        for _ in range(4): yield torch.rand(4, 3, 16, 16)*2 - 1,torch.randint(0, 3, (4,))

def learner(kind, **kw):
    torch.manual_seed(5)
    cfg = StyleGAN3Config(**small | KINDS[kind] | dict(c_dim=3))
    learn = stylegan_learner(
        Data(), cfg, GANModels(StyleGAN3(cfg), Discriminator(cfg)), path_length=2.0, mixing=0.0, half_life=100, **kw
    )
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn

def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )

@pytest.mark.parametrize('kind', ['T', 'R'])
def test_training_resumes_bit_for_bit(tmp_path, kind):
    whole = learner(kind)
    whole.fit(2)
    first = learner(kind)
    first.fit(1, cbs=Checkpoint(tmp_path/'state.pt', first.state, 16))
    assert not same(whole, first)
    second = learner(kind)
    second.fit(2, cbs=Resume(tmp_path/'state.pt', second.state))
    assert same(whole, second)
    name = first.model.G.synthesis.layer_names[2]
    assert first.model.G.synthesis.get_submodule(name).magnitude_ema != 1  # was tracked
    assert not torch.equal(
        first.model.G.synthesis.get_submodule(name).weight, learner(kind).model.G.synthesis.get_submodule(name).weight
    )

def test_bfloat16_training():
    learn = learner('T', precision=torch.bfloat16); learn.fit(1)
    assert all(p.isfinite().all() for p in learn.model.parameters())

def test_mistakes():
    for kw,says in [(dict(img_resolution=48), 'power of two'), (dict(num_critical=5, num_layers=5), 'num_critical')]:
        with pytest.raises(UserError, match=says): StyleGAN3Config(**kw)
    G,w = made('T')
    with pytest.raises(UserError, match=r'must be \[B, 7, 8\]'): G.synthesis(w[:,1:])
    with pytest.raises(UserError, match='z is'): G.mapping(torch.randn(2, 9))
    with pytest.raises(UserError, match='3 classes'): made('classes')[0].mapping(torch.randn(2, 8))
