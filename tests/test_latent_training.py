"The term by which the generator of latents learns what the data are like at each position."
import importlib.util
from pathlib import Path
from types import SimpleNamespace
import pytest, torch

@pytest.fixture(scope='module')
def script():
    file = Path(__file__).parents[1]/'training/latent_stylegan.py'
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def test_moments_take_a_pattern_away(script):
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(400, 2, 6, 6, generator=rng)
    moments = lambda: script.Moments(data.split(100))
    drawn, dots = torch.randn(400, 2, 6, 6, generator=rng), torch.zeros(2, 6, 6)
    dots[:, ::3, ::3] = 1.
    loss = lambda x: moments()(SimpleNamespace(fake=x))
    assert loss(drawn) < .1 * loss(drawn + dots) and loss(drawn) < .1 * loss(drawn * (1 + 2 * dots))
    wrong = (drawn + dots).requires_grad_()
    pull = torch.autograd.grad(loss(wrong), wrong)[0].sum(0)
    assert (pull[:, ::3, ::3] > 0).all() # less of it where the dots are
    assert pull[dots > 0].mean() > 10 * pull[dots == 0].abs().mean()

def test_moments_remember(script):
    data = torch.randn(200, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    term = script.Moments([data])
    term(SimpleNamespace(fake=data + 1))
    before = float(term(SimpleNamespace(fake=data)))
    for _ in range(40): last = float(term(SimpleNamespace(fake=data)))
    assert 0 <= last < .01 * before
