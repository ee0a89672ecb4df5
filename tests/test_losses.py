"""Every term of every loss, alone, in one step of the Learner that it belongs to: it moves what it is for to the better
side,
its gradient reaches the weights that it should teach and no others, and with the weight 0 it is not computed.
`python tests/mutate.py` flips and cuts every term in turn and says whether these tests notice."""
import math
import pytest, torch, torch.nn.functional as F
from fastai.callback.core import Callback, CancelFitException
from fastai.data.core import DataLoaders
from fastcore.foundation import L
from sound_video.stylegan import adversarial
from sound_video.hearing import alignment
from sound_video.motion import inversion_training
from sound_video.motion import trajectory_training
from sound_video.stylegan.adversarial import (
    GANModels, GANState, AdaptiveAugment, as_dls, image_moments, moments_distance, path_lengths, r1_penalty,
    stylegan_learner)
from sound_video.core.callbacks import ComputeIn
from sound_video.core.steps import StepLoss, weighted_sum
from sound_video.hearing.clip_training import agreement, clip_learner, contrast
from sound_video.hearing.captions import small_clip
from sound_video.core.devices import seed_all
from sound_video.hearing.encoder import AudioEncoder, EncoderConfig
from sound_video.hearing.alignment import (
    AugmentedViews, AugmentedViewsLoader, hearing_learner, hearing_step, hearing_terms)
from sound_video.hearing.classifier import ClassStep, class_terms
from sound_video.hearing.finetuning import finetune_head
from sound_video.motion.inversion import (
    Inverter, InverterConfig, ImageEncoder, ImageEncoderConfig, latent_statistics)
from sound_video.motion.inversion_training import (
    ImageStep, SoundVectors, image_learner, image_terms, inversion_learner, vector_dls)
from sound_video.motion.trajectory import N_CURVES, TrajectoryConfig, TrajectoryGenerator, latent_axes
from sound_video.stylegan.stylegan2 import Discriminator, Generator, StyleGAN2Config
from sound_video.motion.reactive import layer_groups
from sound_video.motion.trajectory_training import (
    Videos, detail_loss, video_dls, light_loss, log_detail, motion_loss, sound_anchors, trajectory_learner)

FULL = ComputeIn('float32')
CLASSES = ('raining', 'thunder')
cosine = lambda a, b: (a * b).sum(-1) / a.norm(dim=-1) / b.norm(dim=-1)
unit = lambda *size: F.normalize(torch.randn(*size), dim=-1)

# one step of a Learner, and what it would change

class OneStep(Callback):
    "Keeps the gradients of the first step of a turn, and stops there; nothing is changed."
    order = 100
    def __init__(self, turn=None): self.turn, self.grads = turn, None
    def before_step(self):
        if self.turn in (None, getattr(self.learn, 'turn', None)):
            self.grads = {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}
            self.learn.batch = self.xb, self.yb # which the Learner does not keep
            raise CancelFitException
        for p in self.model.parameters(): p.grad = None # of the other turn, whose step is left out

def first_step(learn, turn=None): # -> {name: gradient}
    seed_all(1)
    step = OneStep(turn)
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(step): learn.fit(1)
    learn.opt.zero_grad()
    return step.grads

def difference(a, b):
    "What a term adds to the gradients, from those with it and those without."
    zero = lambda n: torch.zeros_like((a if n in a else b)[n])
    return {n: a.get(n, zero(n)) - b.get(n, zero(n)) for n in {**a, **b}}

def reached(grads): return {n for n, g in grads.items() if g.abs().sum() > 0}
def names(model, part=''): return {n for n, _ in model.named_parameters() if n.startswith(part)}

def improves(learn, grads, measure, turn=None, size=1e-2):
    "How much a measure grows by a small step against the gradients, the same numbers drawn before and after."
    def measured():
        seed_all(1)
        with torch.no_grad(): return float(measure())
    params, before = dict(learn.model.named_parameters()), measured()
    norm = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
    with torch.no_grad():
        for n, g in grads.items(): params[n] -= size / norm * g
        after = measured()
        for n, g in grads.items(): params[n] += size / norm * g
    return after - before

def counted(monkeypatch, module, name):
    "Counts the calls of a function of a module."
    f, calls = getattr(module, name), []
    monkeypatch.setattr(module, name, lambda *a, **k: (calls.append(1), f(*a, **k))[1])
    return calls

# small networks that have learnt nothing

@pytest.fixture(scope='module')
def clip():
    seed_all(0)
    return small_clip().freeze()

def new_generator(size=16):
    seed_all(0)
    return Generator(
        StyleGAN2Config(z_dim=8, w_dim=8, c_dim=2, img_resolution=size, channel_base=128, channel_max=8, num_layers=1)
    )

@pytest.fixture(scope='module')
def frozen(): return new_generator().eval().requires_grad_(False)

# StyleGAN: D logistic (real, fake), G non-saturating, R1, path length, moments, and the sign that ADA follows

def stylegan(**kwargs):
    G = new_generator()
    nets = GANModels(G, Discriminator(G.cfg))
    batch = [(torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([0, 1, 0, 1]))]
    return stylegan_learner(batch, G.cfg, nets, **dict(gamma=0., mixing=0., noise_mode='const') | kwargs)

def scores_of(learn, turn, module, name):
    "The scores that a loss function of a module is given in a turn, with gradients, and the gradients of the weights."
    seen, loss = [], getattr(module, name)
    def kept(*scores):
        for x in scores: x.retain_grad()
        seen.append(scores)
        return loss(*scores)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(module, name, kept)
        grads = first_step(learn, turn)
    return seen, grads

def check_logistic(learn, module, weights=(1.,), scores=lambda D, x, given, *_: [D(x, given)]):
    "Discriminators' losses want real scores up and fake ones down, each as much as the logistic loss says."
    seen, grads = scores_of(learn, 'discriminator', module, 'discriminator_loss')
    with torch.no_grad(): of_real = scores(learn.model.D, *learn.batch[0], *learn.batch[1])
    for (real, fake), weight, want in zip(seen, weights, of_real, strict=True):
        torch.testing.assert_close(real, want)
        assert not torch.allclose(fake, want)
        torch.testing.assert_close(real.grad, -weight * torch.sigmoid(-real) / len(real))
        torch.testing.assert_close(fake.grad, weight * torch.sigmoid(fake) / len(fake))
        assert (real.grad < 0).all() and (fake.grad > 0).all()
    assert reached(grads) <= names(learn.model, 'D.') and set(grads) <= names(learn.model, 'D.')
    return grads

def check_non_saturating(learn, module, weights=(1.,)):
    seen, grads = scores_of(learn, 'generator', module, 'generator_loss')
    for (fake,), weight in zip(seen, weights, strict=True):
        torch.testing.assert_close(fake.grad, -weight * torch.sigmoid(-fake) / len(fake))
    assert set(grads) <= names(learn.model, 'G.')
    return grads

def without(learn, *terms):
    "The Learner without these terms."
    for mine in learn.terms.values():
        for name in terms: mine.pop(name, None)
    return learn

def test_stylegan_discriminator_logistic():
    learn = stylegan()
    assert reached(check_logistic(learn, adversarial)) == names(learn.model, 'D.')

def test_stylegan_generator_non_saturating():
    learn = stylegan()
    grads = check_non_saturating(learn, adversarial)
    still = {n for n in names(learn.model, 'G.') if 'noise_strength' in n} # whatever their gradient
    assert reached(grads) >= names(learn.model, 'G.') - still
    z, c = torch.randn(8, 8), torch.arange(8) % 2
    score = lambda: learn.model.D(learn.model.G.synthesis(learn.model.G.mapping(z, c), 'const'), c).mean()
    assert improves(learn, grads, score) > 0

def slope(D, x, c):
    x = x.clone().requires_grad_()
    with torch.enable_grad(): return torch.autograd.grad(D(x, c).sum(), x)[0].square().sum((1, 2, 3)).mean()

def test_stylegan_r1():
    learn = stylegan(gamma=1.)
    term = difference(first_step(learn, 'discriminator'), first_step(stylegan(), 'discriminator'))
    x, c = learn.dls.train[0]
    assert improves(learn, term, lambda: slope(learn.model.D, x, c)) < 0
    assert reached(term) >= {n for n in names(learn.model, 'D.') if n.endswith('weight') and 'out' not in n} and set(
        term
    ) <= names(learn.model, 'D.')

@pytest.mark.parametrize('path, sign', [(0., -1), (100., 1)])
def test_stylegan_path_length(path, sign):
    learn, without = stylegan(path_length=2.), stylegan()
    learn.state.path = path
    term = difference(first_step(learn, 'generator'), first_step(without, 'generator'))
    G, c = learn.model.G, torch.arange(4) % 2
    def lengths():
        with torch.enable_grad():
            w = G.mapping(torch.randn(4, 8), c).requires_grad_()
            return path_lengths(lambda w: G.synthesis(w, 'const'), w).mean()
    assert sign * improves(learn, term, lengths) > 0 # towards the mean length so far
    assert reached(term) >= {n for n in names(learn.model, 'G.synthesis') if n.endswith('affine.weight')}
    assert any('mapping' in n for n in reached(term)) and set(term) <= names(learn.model, 'G.')

def test_mean_path_length_follows():
    learn = stylegan(path_length=2.)
    class Once(Callback):
        order = 90
        def after_step(self):
            if self.turn == 'generator': raise CancelFitException
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(Once()): learn.fit(1)
    assert learn.state.path > 0

def test_stylegan_moments():
    learn, plain = stylegan(moments=3.), stylegan()
    G, wanted = learn.model.G, image_moments(learn.dls.train[0][0])
    z, c = torch.randn(64, 8), torch.arange(64) % 2
    of_generated = lambda: image_moments(G.synthesis(G.mapping(z, c), 'const'))
    learn.state.moments = torch.stack([wanted, of_generated().detach()])
    term = difference(first_step(learn, 'generator'), first_step(plain, 'generator'))
    assert improves(learn, term, lambda: moments_distance(of_generated(), wanted)) < 0
    assert reached(term) >= {n for n in names(learn.model, 'G.synthesis') if n.endswith('affine.weight')}
    assert set(term) <= names(learn.model, 'G.')

def test_moments_distance_by_hand():
    "In data of mean 0 and variance 4: a mean of 1 is 1/4 away, a mean square of 8 another 16/16."
    moments = lambda mean, square: torch.tensor([mean, square]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    torch.testing.assert_close(moments_distance(moments(1., 8.), moments(0., 4.)), torch.tensor(1.25))

def test_moments_take_a_pattern_away():
    data, drawn = torch.randn(2, 400, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    dots = torch.zeros(2, 6, 6)
    dots[:, ::3, ::3] = 1.
    loss = lambda x: moments_distance(image_moments(x), image_moments(data))
    assert loss(drawn) < .1 * loss(drawn + dots) and loss(drawn) < .1 * loss(drawn * (1 + 2 * dots))
    wrong = (drawn + dots).requires_grad_()
    pull = torch.autograd.grad(loss(wrong), wrong)[0].sum(0)
    assert (pull[:, ::3, ::3] > 0).all() # less of it where the dots are
    assert pull[dots > 0].mean() > 10 * pull[dots == 0].abs().mean()

def test_running_moments_follow():
    "All real images count alike, at first, and a new batch of generated ones a tenth."
    learn, seen = stylegan(moments=3., state=GANState(steps=7000)), [] # whatever the discriminator did alone before
    class Watched(Callback):
        order = 90
        def after_step(self):
            if self.turn == 'generator': seen.append(self.state.moments.clone())
    batches = [(torch.rand(4, 3, 16, 16) + i, torch.tensor([0, 1, 0, 1])) for i in range(3)]
    learn.dls = as_dls(batches)
    made, make = [], learn.make_step
    def kept(*rows):
        made.append(make(*rows))
        return made[-1]
    learn.make_step = kept
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(Watched()): learn.fit(1)
    real = [image_moments(x) for x, _ in batches]
    fake = [image_moments(s.fake.detach()) for s in made[1::2]] # the generator's turns
    torch.testing.assert_close(seen[-1][0], sum(real) / 3)
    torch.testing.assert_close(seen[-1][1], fake[0].lerp(fake[1], .1).lerp(fake[2], .1))

def test_path_lengths_of_a_plain_sum():
    w = torch.randn(6, 3, 5).requires_grad_()
    seed_all(0) # |y| times the root of the dimensions
    y = torch.randn(6, 1, 1, 1).abs().flatten()
    seed_all(0)
    torch.testing.assert_close(
        path_lengths(lambda w: w.sum((1, 2))[:, None, None, None] * torch.ones(1, 1, 1, 1), w).detach(), y * 5**0.5
    )

@pytest.mark.parametrize('sure, p', [(50., .7), (-50., .3)])
def test_augmentation_follows_the_sign_of_real_scores(sure, p):
    "More augmentation where real pictures get positive scores, less where they get negative ones."
    state = GANState(p=.5)
    learn = stylegan(state=state, cbs=AdaptiveAugment(state, target=.6, images=20, every=1))
    score = learn.model.D.forward
    learn.model.D.forward = lambda x, c: 0 * score(x, c) + sure
    class Once(Callback):
        order = 90
        def after_step(self): raise CancelFitException
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(Once()): learn.fit(1)
    assert state.p == pytest.approx(p)

# inversion of sounds: the critic's two, R1, non-saturating, CLIP to the sound, CLIP to the words, the norm

@pytest.fixture(scope='module')
def sounds(clip):
    seed_all(0)
    return SoundVectors(unit(1, 8, clip.dim), unit(2, clip.dim), torch.arange(8) % 2, CLASSES)

def inverting(sounds, G, clip, **kwargs):
    seed_all(0)
    E = Inverter(InverterConfig(clip.dim, G.synthesis.num_ws, 8, z_dim=4, hidden=16), *latent_statistics(G, 64))
    return inversion_learner(vector_dls(sounds, 8), E, G, clip, **dict(pictures=0., near=0., cbs=[FULL]) | kwargs)

def test_inversion_critic_logistic_and_r1(sounds, frozen, clip):
    learn = inverting(sounds, frozen, clip)
    logistic = check_logistic(without(inverting(sounds, frozen, clip), 'r1'), inversion_training)
    assert reached(logistic) == names(learn.model, 'D.')
    term = difference(first_step(learn, 'discriminator'), logistic)
    x, v = torch.randn(8, frozen.synthesis.num_ws, 8), unit(8, clip.dim)
    def slope():
        y = x.clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(learn.model.D(y, v).sum(), y)[0].square().sum((1, 2)).mean()
    assert improves(learn, term, slope) < 0
    assert reached(term) >= {n for n in names(learn.model, 'D.') if n.endswith('weight')} and set(term) <= names(
        learn.model, 'D.'
    )

def made(learn, sounds):
    "Codes of the sounds, by a draw that stays the same."
    v = sounds.vectors[0]
    return v, learn.model.G(v, torch.randn(len(v), learn.model.G.cfg.z_dim))

def test_inversion_non_saturating(sounds, frozen, clip):
    learn = inverting(sounds, frozen, clip)
    grads = check_non_saturating(learn, inversion_training)
    def score():
        v, w = made(learn, sounds)
        return learn.model.D((w - learn.model.G.mean) / learn.model.G.std, v).mean()
    assert improves(learn, grads, score) > 0 and reached(grads) == names(learn.model, 'G.')

def near_to(learn, sounds, G, clip, what):
    def measure():
        _, w = made(learn, sounds)
        return cosine(clip.embed_image(G.synthesis(w)), what).mean()
    return measure

def check_term(with_it, without, measure, better, reach, turn='generator'):
    "The gradient of a term alone improves what it is for, reaches the weights that it should and none but those of G."
    term = difference(first_step(with_it, turn), first_step(without, turn))
    assert better * improves(with_it, term, measure) > 0
    assert reached(term) == reach and set(term) <= names(with_it.model, 'G.')

def test_inversion_clip_to_the_sound(sounds, frozen, clip):
    learn, without = inverting(sounds, frozen, clip, pictures=1., words=0.), inverting(sounds, frozen, clip)
    check_term(learn, without, near_to(learn, sounds, frozen, clip, sounds.vectors[0]), 1, names(learn.model, 'G.'))

def test_inversion_clip_to_the_words(sounds, frozen, clip):
    learn, without = inverting(sounds, frozen, clip, pictures=1.0, words=1.0), inverting(
        sounds, frozen, clip, pictures=1.0, words=0.0
    )
    check_term(
        learn, without, near_to(learn, sounds, frozen, clip, sounds.words[sounds.labels]), 1, names(learn.model, 'G.')
    )

def test_inversion_norm(sounds, frozen, clip):
    learn, without = inverting(sounds, frozen, clip, near=1.), inverting(sounds, frozen, clip)
    size = lambda: ((made(learn, sounds)[1] - learn.model.G.mean) / learn.model.G.std).square().mean()
    check_term(learn, without, size, -1, names(learn.model, 'G.'))

def test_inversion_terms_of_weight_0_are_not_computed(sounds, frozen, clip, monkeypatch):
    norms, distances = counted(monkeypatch, inversion_training, 'latent_norm'), counted(
        monkeypatch, inversion_training, 'clip_distance'
    )
    def calls(**kwargs):
        norms.clear(); distances.clear()
        first_step(inverting(sounds, frozen, clip, **kwargs), 'generator')
        return len(norms), len(distances)
    assert (
        calls() == (0, 0)
        and calls(near=0.01) == (1, 0)
        and calls(pictures=1.0, words=0.0) == (0, 1)
        and calls(pictures=1.0) == (0, 2)
    )

# inversion of pictures: pixels, blurred pixels, CLIP, the norm, the codes

TERMS = ('pixels', 'blurred', 'seen', 'near', 'latents')

def encoding(G, clip, **weights): # the default ones, or only these
    seed_all(0)
    P = ImageEncoder(ImageEncoderConfig(G.synthesis.num_ws, 8, 16, width=4, hidden=16), *latent_statistics(G, 64))
    batch = [(torch.rand(4, 3, 16, 16) * 2 - 1, torch.arange(4) % 2)]
    if weights: weights = dict.fromkeys(TERMS, 0.) | weights
    return image_learner(DataLoaders(batch, batch), P, G, clip, cbs=[FULL], **weights)

@pytest.mark.parametrize('term', TERMS)
def test_pictures(frozen, clip, term):
    learn = encoding(frozen, clip, **{term: 1.})
    grads = first_step(learn)
    x, c = learn.dls.train[0]
    P = learn.model
    own = frozen.mapping(torch.randn(4, 8, generator=torch.Generator().manual_seed(5)), c, psi=.9).detach()
    def far(term):
        if term == 'latents': return ((P(frozen.synthesis(own)) - own) / P.std).square().mean()
        found = P(x)
        y = frozen.synthesis(found)
        return dict(
            near=lambda: ((found - P.mean) / P.std).square().mean(),
            pixels=lambda: (y - x).abs().mean(),
            seen=lambda: -cosine(clip.embed_image(y), clip.embed_image(x)).mean(),
            blurred=lambda: (y - x).unflatten(3, (4, 4)).unflatten(2, (4, 4)).mean((3, 5)).abs().mean(),
        )[term]()
    assert improves(learn, grads, lambda: far(term)) < 0
    assert reached(grads) == names(P)

def test_pictures_weigh_as_they_say(frozen, clip):
    "All terms together are the sum of each alone, with the default weights."
    whole = first_step(encoding(frozen, clip))
    alone = {t: first_step(encoding(frozen, clip, **{t: 1.})) for t in TERMS}
    for n, g in whole.items():
        torch.testing.assert_close(
            g, sum(w * alone[t][n] for t, w in zip(TERMS, (1.0, 2.0, 1.0, 0.01, 1.0))), rtol=1e-3, atol=1e-5
        )

def image_step(n=2):
    images, made = torch.rand(2, 2*n, 3, 8, 8)
    w, known, std = torch.randn(2*n, 3, 8), torch.randn(n, 3, 8), torch.full((8,), 2.)
    return ImageStep(images, w, made, known, torch.zeros(8), std, None)

def test_picture_latents_are_those_of_the_generators_own():
    "Only these are known: the second half of the batch."
    s = image_step()
    torch.testing.assert_close(image_terms()['latents'].loss(s), ((s.w[2:] - s.known) / 2).square().mean())

def test_picture_distances_count_for_both_halves():
    s = image_step()
    found, _ = weighted_sum({'pixels': image_terms()['pixels']}, s, 0)
    own, others = ((s.made - s.images).abs()[half].mean() for half in (slice(2), slice(2, 4)))
    torch.testing.assert_close(found, own + others)

def test_picture_terms_of_weight_0_are_not_computed(frozen, clip, monkeypatch):
    norms, distances = counted(monkeypatch, inversion_training, 'latent_norm'), counted(
        monkeypatch, inversion_training, 'clip_distance'
    )
    first_step(encoding(frozen, clip, pixels=1.))
    assert not norms and not distances

# trajectory: both discriminators, mismatched curves, R1, motion, light, detail, CLIP, how far it moved

STEPS = 8

def videos(frames=None):
    seed_all(0)
    frames = torch.randint(0, 256, (4, 12, 3, 16, 16), dtype=torch.uint8) if frames is None else frames
    return Videos(frames, torch.rand(4, 12, N_CURVES), unit(4, 128), torch.arange(4) % 2, CLASSES)

def walking(G, clip, films=None, **kwargs):
    films = films or videos()
    seed_all(0)
    groups = layer_groups(G.synthesis.num_ws)
    E = (
        Inverter(InverterConfig(128, G.synthesis.num_ws, 8, z_dim=4, hidden=16), *latent_statistics(G, 64))
        .eval()
        .requires_grad_(False)
    )
    cfg = TrajectoryConfig(groups, G.synthesis.num_ws, 8, axes=4, hidden=8)
    M = TrajectoryGenerator(cfg, latent_axes(E, films.vectors.repeat(8, 1) + .1 * torch.randn(32, 128), groups, 4))
    for head in M.heads.values(): torch.nn.init.normal_(head.weight) # so that it moves
    off = dict(adversarial=0., show=0., motion=0., light=0., detail=0., near=0., cbs=[FULL])
    learn = trajectory_learner(video_dls(films, 4, steps=STEPS), M, G, clip, sound_anchors(E), **off | kwargs)
    learn.inverter = E
    return learn

def test_motion_light_and_detail_of_known_films():
    up = torch.arange(8.)[None, :, None, None, None].expand(2, 8, 3, 6, 6)
    assert float(motion_loss(20 * up, 10 * up)) == pytest.approx(
        1.3 * math.log(2), rel=1e-3
    )  # smoothed, and .3 of it as it is
    assert float(motion_loss(up, up)) == 0 < float(motion_loss(up, up.flip(1).cumsum(1)))
    uneven, even = torch.tensor([0., 1, 1, 3, 3, 4, 6, 7]), torch.arange(8.)
    a, b = (x[None, :, None, None, None].expand(1, 8, 3, 4, 4) for x in (uneven, even))
    steps = torch.log(uneven.diff() + .003) - math.log(1.003)
    smooth = torch.log(uneven.diff().unfold(0, 4, 1).mean(1) + .003) - math.log(1.003)
    assert float(motion_loss(a, b)) == pytest.approx(float(smooth.abs().mean() + .3 * steps.abs().mean()), rel=1e-4)
    assert (
        float(light_loss(up, 0 * up)) == 2.0
        and float(light_loss(up, -up)) == 4.0
        and float(light_loss(up + 5, up)) == pytest.approx(0, abs=1e-6)
    )
    fine = .5 - ((torch.arange(6)[:, None] + torch.arange(6)) % 2.)
    film = lambda size: (size * fine).expand(2, 8, 3, 6, 6)
    usual = log_detail(film(1.)[:, 0])
    assert float(detail_loss(film(2.), film(1.)[:, 0], film(2.), usual)) == pytest.approx(0, abs=1e-6)
    assert float(detail_loss(film(2.), film(1.)[:, 0], film(1.), usual)) == pytest.approx(math.log(2), rel=.02)
    assert float(detail_loss(film(1.), film(1.)[:, 0], film(2.), usual)) == pytest.approx(math.log(2), rel=.02)
    assert float(detail_loss(film(2.), film(1.)[:, 0], film(.5), usual)) == pytest.approx(2 * math.log(2), rel=.03)

def film_of(learn):
    "What the trajectory makes of the last batch [B, T, 3, H, W], by draws that stay the same."
    w = learn.window_latents(*learn.batch[1][:2], STEPS)[0]
    return learn.G.synthesis(w.flatten(0, 1)).unflatten(0, w.shape[:2])

def check_walk(learn, measure, better, turn='generator', size=1e-2):
    grads = first_step(learn, turn)
    assert better * improves(learn, grads, measure, size=size) > 0
    assert reached(grads) == names(learn.model, 'G.') and set(grads) <= names(learn.model, 'G.')
    for net in (learn.G, learn.inverter): assert all(p.grad is None for p in net.parameters())

def frames_of(f): # value in [-1, 1] of each time and pixel -> uint8 [4, 12, 3, 16, 16]
    t, y, x = torch.meshgrid(torch.arange(12.), torch.arange(16.), torch.arange(16.), indexing='ij')
    return ((f(t, y, x).clamp(-1, 1) + 1) * 127.5).to(torch.uint8)[None, :, None].expand(4, -1, 3, -1, -1).contiguous()

@pytest.mark.parametrize(
    'real, better', [(lambda t, y, x: 1 - 2.0 * ((t + y + x) % 2), 1), (lambda t, y, x: 0 * t, -1)]
)  # everything moves, nothing does
def test_trajectory_motion(frozen, clip, real, better):
    learn = walking(frozen, clip, videos(frames_of(real)), motion=1.)
    check_walk(learn, lambda: film_of(learn).diff(dim=1).abs().mean(), better)

@pytest.mark.parametrize('slope', [1, -1])
def test_trajectory_light(frozen, clip, slope):
    learn = walking(frozen, clip, videos(frames_of(lambda t, y, x: slope * (t - 5.5) / 6)), light=1.)
    ramp = torch.linspace(-1, 1, STEPS)
    check_walk(
        learn, lambda: slope * (film_of(learn).mean((0, 2, 3, 4)) * ramp).sum(), 1
    )  # brighter or darker with time, as it was

@pytest.mark.parametrize('sign', [1, -1])
def test_trajectory_detail(frozen, clip, sign):
    films = videos(frames_of(lambda t, y, x: (1 - 2. * ((y + x) % 2)) * (.9 if sign > 0 else .01)))
    films.detail = torch.zeros(4) - (2. if sign > 0 else 1.) # usually less than in this window, or more
    learn = walking(frozen, clip, films, detail=1.)
    def fine():
        y = film_of(learn).mean(2)
        return (y - F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)).abs().mean((2, 3)).log().mean()
    check_walk(learn, fine, sign)

def test_trajectory_clip(frozen, clip):
    learn = walking(frozen, clip, show=1.)
    check_walk(
        learn,
        lambda: cosine(
            clip.embed_image(film_of(learn).flatten(0, 1)), learn.batch[1][1].repeat_interleave(STEPS, 0)
        ).mean(),
        1,
    )

def test_trajectory_near(frozen, clip):
    learn = walking(frozen, clip, near=1.)
    def far():
        moved = learn.window_latents(*learn.batch[1][:2], STEPS)[1]
        return sum(x.square().mean() for x in moved.values())
    check_walk(learn, far, -1)

def test_trajectory_image_discriminator(frozen, clip):
    learn = walking(frozen, clip, adversarial=1., video=False)
    check_walk(learn, lambda: learn.model.D.image(film_of(learn)[:, ::8].flatten(0, 1)).mean(), 1)

def test_trajectory_video_discriminator(frozen, clip):
    learn, without = walking(frozen, clip, adversarial=1.), walking(frozen, clip, adversarial=1., video=False)
    check_term(
        learn,
        without,
        lambda: learn.model.D.video(film_of(learn), learn.batch[1][0][:, -STEPS:]).mean(),
        1,
        names(learn.model, 'G.'),
    )

def test_trajectory_adversarial_scores(frozen, clip):
    "Videos count a third and images two thirds, for the discriminators and for the generator."
    learn = walking(frozen, clip, adversarial=1.)
    check_non_saturating(learn, trajectory_training, (1/3, 2/3))
    learn = without(walking(frozen, clip, adversarial=1.), 'mismatch', 'video_r1', 'image_r1')
    scores = lambda D, x, s, *_: [D.score_videos(x, s[:, -STEPS:]), D.score_images(x)]
    grads = check_logistic(learn, trajectory_training, (1/3, 2/3), scores)
    assert reached(grads) == names(learn.model, 'D.')

def adds(frozen, clip, name):
    "A Learner, and what one of its discriminators' terms adds to the gradients."
    learn = walking(frozen, clip, adversarial=1.)
    rest = without(walking(frozen, clip, adversarial=1.), name)
    return learn, difference(first_step(learn, 'discriminator'), first_step(rest, 'discriminator'))

def test_trajectory_mismatched_curves(frozen, clip):
    learn, term = adds(frozen, clip, 'mismatch')
    (real,), (curves, *_) = learn.batch
    score = lambda roll: learn.model.D.video(real, curves.roll(roll, 0)[:, -STEPS:]).mean()
    assert improves(learn, term, lambda: score(1)) < 0
    video = learn.model.D.video.requires_grad_(True) # the others' curves, not the film's own
    want = torch.autograd.grad(
        F.softplus(video(real, curves.roll(1, 0)[:, -STEPS:])).mean() / 2, list(video.parameters())
    )
    for (n, _), g in zip(video.named_parameters(), want):
        torch.testing.assert_close(term[f'D.video.{n}'], g, rtol=0, atol=1e-3 * float(g.abs().max()))
    assert reached(term) == names(learn.model, 'D.video') and set(term) <= names(learn.model, 'D.')

@pytest.mark.parametrize('kind', ['video', 'image'])
def test_trajectory_r1(frozen, clip, kind):
    learn, term = adds(frozen, clip, f'{kind}_r1')
    (real,), (curves, *_) = learn.batch
    D = learn.model.D
    score = dict(video=lambda x: D.video(x, curves[:, -STEPS:]), image=lambda x: D.image(x[:, ::8].flatten(0, 1)))[kind]
    def slope():
        x = real.clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(score(x).sum(), x)[0].square().sum((1, 2, 3, 4)).mean()
    assert improves(learn, term, slope) < 0
    slopes = {
        n for n in names(learn.model, f'D.{kind}') if n.endswith('weight') and 'hear' not in n
    }  # the curves change no slope
    assert slopes <= reached(term) <= names(learn.model, f'D.{kind}')
    getattr(D, kind).requires_grad_(True)
    params = {n: p for n, p in learn.model.named_parameters() if n in slopes}
    for n, g in zip(params, torch.autograd.grad(r1_penalty(score, real), list(params.values()))):
        torch.testing.assert_close(term[n], 16 * .05 * g, rtol=0, atol=1e-3 * float(term[n].abs().max()))

def test_image_discriminator_counts_the_same_alone(frozen, clip):
    "Without the video discriminator nothing else changes: the gradients by the image discriminator are the same."
    whole, alone = (
        first_step(walking(frozen, clip, adversarial=1.0, video=video), 'discriminator') for video in (True, False)
    )
    for n, g in alone.items():
        if n.startswith('D.image'): torch.testing.assert_close(g, whole[n], rtol=0, atol=1e-3 * float(g.abs().max()))

def test_trajectory_terms_of_weight_0_are_not_computed(frozen, clip, monkeypatch):
    calls = {
        n: counted(monkeypatch, trajectory_training, n)
        for n in ('motion_loss', 'light_loss', 'detail_loss', 'moved_far', 'clip_distance')
    }
    scored = counted(monkeypatch, trajectory_training, 'generator_loss')
    looked = [
        counted(monkeypatch, trajectory_training.Discriminators, f'score_{what}') for what in ('images', 'videos')
    ]
    weights = dict(zip(calls, ('motion', 'light', 'detail', 'near', 'show')))
    for name, weight in weights.items():
        learn = walking(frozen, clip, **{weight: 1.})
        first_step(learn, 'generator')
        assert [n for n, c in calls.items() if c] == [name] and not scored and not any(looked)
        assert learn.turns == ['generator']
        calls[name].clear()
    first_step(walking(frozen, clip, adversarial=1.), 'generator')
    assert not any(calls.values()) and len(scored) == 2 and all(looked)

# alignment: sounds with captions, with pictures, two views of a sound; the head's finetuning; captions with pictures

SMALL = EncoderConfig(width=4, hidden=16)

def hearing_batch(clip):
    seed_all(0)
    data = AugmentedViews(
        torch.randint(0, 200, (2, 6, 64, 216), dtype=torch.uint8), unit(6, 1, clip.dim), torch.arange(6) % 2, CLASSES
    )
    load = lambda: AugmentedViewsLoader(data, bs=6, n=6, clip=clip, seed=0, shuffle=True, drop_last=True)
    return DataLoaders(load(), load(), device='cpu')

def aligning(clip, **weights):
    dls = hearing_batch(clip)
    seed_all(0)
    return hearing_learner(
        dls, AudioEncoder(SMALL), **dict.fromkeys(('words', 'pictures', 'guises'), 0.0) | weights, cbs=[FULL]
    )

def margin(a, b, agree):
    "By how much vectors lie nearer to what they agree with than to the rest."
    s = cosine(a[:, None], b[None])
    return (s * agree).sum() / agree.sum() - (s * (1 - agree)).sum() / (1 - agree).sum()

@pytest.mark.parametrize('term', ['words', 'pictures', 'guises'])
def test_alignment(clip, term):
    learn = aligning(clip, **{term: 1.})
    grads = first_step(learn)
    (mels,), (words, pictures, agree, alike, _) = learn.batch
    def near():
        a, b = learn.model(mels).chunk(2)
        if term == 'guises': return margin(a, b, alike)
        return margin(a, *((words, agree) if term == 'words' else (pictures, alike))) + margin(
            b, *((words, agree) if term == 'words' else (pictures, alike))
        )
    learn.model.train()
    assert improves(learn, grads, near) > 0
    assert reached(grads) == names(learn.model) and all(p.grad is None for p in clip.parameters())

def test_alignment_teaches_both_views_of_a_sound(clip):
    B, s = 4, 7.
    pred, words, pictures = (unit(n, 8).requires_grad_(n == 2*B) for n in (2*B, B, B))
    agree, alike = torch.eye(B), (torch.arange(B)[:, None] // 2 == torch.arange(B) // 2).float()
    StepLoss(hearing_terms(s), hearing_step)(pred, words, pictures, agree, alike).backward()
    found, pred.grad = pred.grad, None
    a, b = pred.chunk(2)
    soft = (
        lambda x, y, t: (
            F.cross_entropy(s * x @ y.T, t / t.sum(1, keepdim=True))
            + F.cross_entropy(s * y @ x.T, t.T / t.T.sum(1, keepdim=True))
        )
        / 2
    )
    (sum(soft(x, words, agree) + soft(x, pictures, alike) for x in (a, b)) / 2 + soft(a, b, alike)).backward()
    torch.testing.assert_close(found, pred.grad)

def test_contrast_is_cross_entropy_both_ways():
    x, y, s = unit(5, 8).requires_grad_(), unit(5, 8).requires_grad_(), torch.tensor(9., requires_grad=True)
    target = torch.eye(5) + F.one_hot(torch.tensor([1, 0, 3, 2, 2]), 5)
    grads = torch.autograd.grad(contrast((x, y, s), target), (x, y, s))
    want = (
        F.cross_entropy(s * x @ y.T, target / target.sum(1, keepdim=True))
        + F.cross_entropy(s * y @ x.T, target.T / target.sum(0)[:, None])
    ) / 2
    for a, b in zip(grads, torch.autograd.grad(want, (x, y, s))): torch.testing.assert_close(a, b)
    assert float(contrast((torch.eye(4), torch.eye(4), 100.), torch.eye(4))) == pytest.approx(0, abs=1e-6)
    assert float(contrast((torch.ones(4, 4) / 2, torch.ones(4, 4) / 2, 100.0), torch.eye(4))) == pytest.approx(
        math.log(4)
    )

def test_agreement_is_of_scenes_or_kinds():
    labels, scenes = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]) # two kinds of one scene, one of another
    assert agreement(labels, scenes, torch.tensor([False, True, False])).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]

def test_alignment_terms_of_weight_0_are_not_computed(clip, monkeypatch):
    calls = counted(monkeypatch, alignment, 'contrast')
    def n(**weights):
        calls.clear()
        first_step(aligning(clip, **weights))
        return len(calls)
    assert n(guises=1.) == 1 and n(words=1.) == 2 and n(pictures=1.) == 2

def finetuned(clip, steps=12, **weights):
    "An encoder before and after its head learnt, and on what."
    seed_all(0)
    encoder, names = AudioEncoder(SMALL).eval(), unit(3, 128)
    mels = lambda: (torch.randint(0, 200, (1, 12, 64, 216), dtype=torch.uint8), torch.arange(12) % 3)
    recorded, world = mels(), mels()
    before = {n: p.clone() for n, p in encoder.state_dict().items()}
    def heard():
        with torch.no_grad(): return [encoder(m[0].float()[:, None] / 230.) for m, _ in (recorded, world)]
    old = heard()
    finetune_head(encoder, names, recorded, world, steps=steps, batch=12, lr=1e-2, **weights)
    return encoder, before, names, (recorded[1], world[1]), old, heard()

def right(v, names, scenes): return float((v @ names.T)[torch.arange(len(v)), scenes].mean() - (v @ names.T).mean())

@pytest.mark.parametrize('share, which', [(1., 0), (0., 1)])
def test_finetuning_names_recordings_and_world(clip, share, which):
    encoder, before, names, scenes, old, new = finetuned(clip, share=share, hold=0.)
    assert right(new[which], names, scenes[which]) > right(old[which], names, scenes[which]) + .01
    moved = {n for n, p in encoder.state_dict().items() if not torch.equal(p, before[n])}
    assert moved >= {f'head.{n}' for n, _ in encoder.head.named_parameters()} and all(
        n.startswith('head.') for n in moved
    )

def test_finetuning_holds_the_world(clip):
    kept = {hold: cosine(*(x[1] for x in finetuned(clip, share=1., hold=hold)[4:])).mean() for hold in (0., 100.)}
    assert kept[100.] > kept[0.] + .02

def test_classifier_learns_the_shares_of_classes():
    logits = torch.zeros(2, 3, requires_grad=True)
    shares = torch.tensor([[1., 0., 0.], [.5, .5, 0.]])
    loss, values = weighted_sum(class_terms(), ClassStep(logits, shares))
    assert loss.item() == pytest.approx(math.log(3), abs=1e-5) and set(values) == {'classes'}
    loss.backward()
    assert torch.allclose(logits.grad, (1/3 - shares) / 2, atol=1e-6) # that of the cross-entropy, mean of two rows

class Batches(list):
    n_inp = 2

def test_captions_and_pictures():
    seed_all(0)
    model = small_clip()
    agree = torch.eye(4)
    batch = Batches(
        [
            (
                torch.rand(4, 3, 64, 64) * 2 - 1,
                model.tokenize(['rain', 'thunder', 'wind', 'fire']),
                agree,
                torch.arange(4),
            )
        ]
    )
    learn = clip_learner(DataLoaders(batch, batch, device='cpu'), model)
    learn.dls.n_inp = 2
    learn.metrics = L()
    grads = first_step(learn)
    x, tokens = learn.batch[0]
    def near():
        I, T, _ = model(x, tokens)
        return margin(I, T, agree)
    assert improves(learn, grads, near, size=1e-3) > 0
    assert reached(grads) >= {'model.logit_scale', 'model.text_projection'} | {
        n for n in names(model) if n.startswith('model.visual') and n.endswith('conv.weight')
    }
    assert len(reached(grads)) > .9 * len(names(model))
