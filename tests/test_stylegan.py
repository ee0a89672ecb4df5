"StyleGAN2: the numbers of the reference implementation, interruption and resumption, growing, augmentation, mistakes."
import json, os
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file
from fastai.callback.progress import ProgressCallback
from fastcore.basics import noop
from fastai.callback.core import Callback
from sound_video.core.errors import UserError
from sound_video.stylegan.operators import blur, enlarge, fir
from sound_video.stylegan.stylegan2 import Discriminator, Generator, StyleGAN2Config
from sound_video.stylegan.ada import augment
from sound_video.core.callbacks import Checkpoint, Resume, read_checkpoint
from sound_video.stylegan.adversarial import GANModels, GANState, grow, r1_penalty, stylegan_learner

parity = Path(os.environ.get('SOUND_VIDEO_PARITY', Path(__file__).parents[2]/'shared'/'parity'))
cfg = StyleGAN2Config(z_dim=8, w_dim=8, c_dim=3, img_resolution=16, channel_base=128, channel_max=16, num_layers=2)

@pytest.fixture(autouse=True)
def one_thread():
    n = torch.get_num_threads(); torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

def relative(a, b): return ((a - b).abs().max() / (b.max() - b.min())).item()

@pytest.mark.parametrize('name', ['stylegan2', 'stylegan2-c5'])
@torch.no_grad()
def test_parity(name):
    if not (parity/f'{name}.json').exists(): pytest.skip('no reference numbers here')
    G = Generator(StyleGAN2Config.from_dict(json.loads((parity/f'{name}.json').read_text())))
    G.load_state_dict(load_file(parity/f'{name}.weights.safetensors'))
    want = load_file(parity/f'{name}.expected.safetensors')
    z,c = want['z'],want.get('c')
    assert relative(G.mapping(z, c), want['w']) < 1e-4
    assert relative(G.mapping(z, c, psi=.7), want['w_truncated']) < 1e-4
    assert relative(G.synthesis(want['w']), want['images']) < 1e-4
    assert relative(G.synthesis(want['wplus']), want['wplus_images']) < 1e-4
    if c is not None: assert torch.equal(G.mapping(z, c.argmax(1)), G.mapping(z, c))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast('cpu', dtype): assert relative(G.synthesis(want['w']), want['images']) < .01

class Noise:
    "Batches that depend on torch's random generator, as a loader's do."
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __iter__(self):
        for _ in range(self.n): yield torch.rand(4, 3, 16, 16)*2 - 1, torch.randint(0, 3, (4,))

class StopAt(Callback):
    order = 95
    def __init__(self, images): self.images_wanted = images
    def after_batch(self):
        if self.learn.state.images >= self.images_wanted: raise KeyboardInterrupt

def learner(cbs=None, **kwargs):
    torch.manual_seed(5)
    learn = stylegan_learner(
        Noise(5), kwargs.pop('cfg', cfg), path_length=2.0, ada_target=0.1, half_life=100, cbs=cbs, **kwargs
    )
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn

def kept(file):
    learn = learner()
    return learn.add_cb(Checkpoint(file, learn.state, 1000))

def resumed(file, **kwargs):
    learn = learner(**kwargs)
    learn.fit(1, cbs=Resume(file, learn.state))

def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )

@pytest.fixture(scope='module')
def whole():
    (learn := learner()).fit(3)
    return learn

@pytest.mark.parametrize('stop,every', [(28, 12), (20, 20), (8, 4), (36, 4)])
def test_resume_bit_for_bit(tmp_path, whole, stop, every):
    states = [GANState(), GANState()]
    first = learner([Checkpoint(tmp_path/'state.pt', states[0], every), StopAt(stop)], state=states[0])
    with pytest.raises(KeyboardInterrupt): first.fit(3)
    assert not same(whole, first)
    torch.manual_seed(99)
    second = learner([Checkpoint(tmp_path/'state.pt', states[1], every)], state=states[1])
    second.fit(3, cbs=Resume(tmp_path/'state.pt', states[1]))
    assert second.state == whole.state and whole.state.images == 60
    assert same(whole, second)
    assert {p.name for p in tmp_path.iterdir()} <= {'state.pt', 'state.1.pt'}

def test_resume_bfloat16(tmp_path):
    kw = dict(precision=torch.bfloat16, noise_mode='none', mixing=0.)
    whole = learner(**kw); whole.fit(2)
    state = GANState()
    first = learner([Checkpoint(tmp_path/'state.pt', state, 4), StopAt(24)], state=state, **kw)
    with pytest.raises(KeyboardInterrupt): first.fit(2)
    second = learner(**kw); second.fit(2, cbs=Resume(tmp_path/'state.pt', second.state))
    assert same(whole, second)

def test_finished_training_stays_as_it_is(tmp_path):
    done = kept(tmp_path/'state.pt'); done.fit(1)
    again = learner(); again.fit(1, cbs=Resume(tmp_path/'state.pt', again.state))
    assert same(done, again)

def test_wrong_checkpoint(tmp_path):
    kept(tmp_path/'state.pt').fit(1)
    with pytest.raises(UserError, match='w_dim'):
        resumed(tmp_path/'state.pt', cfg=StyleGAN2Config(**cfg.to_dict() | dict(w_dim=9)))
    with pytest.raises(UserError, match='no such checkpoint'): resumed(tmp_path/'none.pt')
    (tmp_path/'text.pt').write_text('hello')
    with pytest.raises(UserError, match='not a checkpoint'): resumed(tmp_path/'text.pt')

def test_a_checkpoint_keeps_what_the_learner_counts(tmp_path):
    with pytest.raises(ValueError, match='learn.state'):
        learner([Checkpoint(tmp_path/'state.pt', GANState())]).fit(1)

def test_checkpoint_executes_nothing(tmp_path):
    class Bad:
        def __reduce__(self): return (os.mkdir, (str(tmp_path/'executed'),))
    torch.save(Bad(), tmp_path/'bad.pt')
    with pytest.raises(UserError): read_checkpoint(tmp_path/'bad.pt')
    assert not (tmp_path/'executed').exists()

def test_fastai_dataloaders():
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    data = [(torch.rand(3, 16, 16), i % 3) for i in range(8)]
    dl = DataLoader(data, bs=4, shuffle=True, num_workers=0, drop_last=True)
    learn = stylegan_learner(DataLoaders(dl, dl), cfg)
    learn.remove_cb(ProgressCallback); learn.logger = noop
    learn.fit(2)
    assert learn.state.images == 16

@torch.no_grad()
def test_grow_two_steps():
    small = GANModels(
        Generator(cfg8 := StyleGAN2Config(**cfg.to_dict() | dict(img_resolution=8, channel_base=256))),
        Discriminator(cfg8),
    )
    large = grow(small, 32)
    z,c,f = torch.randn(4, 8), torch.arange(4) % 3, fir()
    a,b = small.G(z, c), large.G(z, c)
    torch.testing.assert_close(enlarge(enlarge(a, f), f), b)
    x = torch.randn(4, 3, 32, 32)
    reduced = blur(blur(x, f, 1, down=2), f, 1, down=2)
    torch.testing.assert_close(large.D(x, c), small.D(reduced, c), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(large.ema(z, c), large.G(z, c))

def test_grow_needs_channels():
    with pytest.raises(UserError, match='channels'): grow(Discriminator(cfg), 64)

def test_augment_is_unbiased_and_differentiable():
    x = torch.rand(64, 3, 16, 16)
    assert augment(x, 0.) is x
    torch.manual_seed(0); y = augment(x, .5)
    assert y.shape == x.shape and y.isfinite().all() and not torch.equal(x, y)
    same_as_before = (y - x).flatten(1).abs().amax(1) < 1e-4
    torch.manual_seed(0); rare = augment(x, .01)
    assert ((rare - x).flatten(1).abs().amax(1) < 1e-4).float().mean() > .6 > same_as_before.float().mean()
    w = torch.ones(3, requires_grad=True)
    torch.manual_seed(0)
    r1_penalty(lambda x: (augment(x, .5).square() * w[:,None,None]).sum((1,2,3)), x).backward()
    assert w.grad.isfinite().all() and (w.grad > 0).all()

@pytest.mark.parametrize('scores,up', [(1., True), (-1., False)])
def test_adaptive_p(scores, up):
    learn = learner(state=GANState(p=.5))
    learn.turn,learn.seen = 'discriminator', dict(real_scores=torch.full((4,), scores))
    learn.xb = (torch.zeros(4, 3, 16, 16),)
    for learn.state.steps in range(4): learn.adaptive_augment.after_step()
    assert learn.state.p == pytest.approx(.5 + (16/500_000 if up else -16/500_000))
    assert learn.state.r_t == scores

def test_mistakes():
    with pytest.raises(UserError, match='power of two'): StyleGAN2Config(img_resolution=48)
    with pytest.raises(UserError, match='different configurations'):
        GANModels(Generator(cfg), Discriminator(StyleGAN2Config(**cfg.to_dict() | dict(c_dim=0))))
    with pytest.raises(UserError, match='must have a length'): stylegan_learner(iter([]), cfg)
    G = Generator(cfg)
    with pytest.raises(UserError, match='3 classes'): G.mapping(torch.randn(2, 8))
    with pytest.raises(UserError, match='z is'): G.mapping(torch.randn(2, 9), torch.zeros(2).long())
    with pytest.raises(UserError, match='noise_mode'): G.synthesis(torch.randn(2, 6, 8), noise_mode='loud')

@pytest.mark.parametrize('B', [1, 3, 4, 6])
def test_any_batch(B):
    D = Discriminator(cfg)
    assert D(torch.rand(B, 3, 16, 16), torch.zeros(B).long()).shape == (B,)

def test_clamp_bounds_activations():
    torch.manual_seed(0)
    loud = Generator(StyleGAN2Config(**cfg.to_dict() | dict(conv_clamp=1e-3)))
    assert loud(torch.randn(2, 8), torch.tensor([0, 1])).abs().max() < .01
