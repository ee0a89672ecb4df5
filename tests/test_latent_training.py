"A generator of latents: trained from nothing, interrupted, gone on with, moved by sounds."
from dataclasses import replace
import numpy as np, pytest, torch
from fastai.callback.core import Callback
from sound_video.app.edit import SoundVideo
from sound_video.app.packs import load_pack
from sound_video.app.recipes import PRESETS, AutoencoderRecipe
from sound_video.app.training import train
from sound_video.core.errors import UserError
from sound_video.stylegan.autoencoder import AutoencoderConfig, LatentGANConfig
from sound_video.stylegan.stylegan2 import StyleGAN2Config

LATENTS = StyleGAN2Config(
    z_dim=16, w_dim=16, img_resolution=8, img_channels=8, channel_base=128, channel_max=16, num_layers=2)
SMALL = replace(
    PRESETS['tiny'], generator=LatentGANConfig(LATENTS, AutoencoderConfig(channels=(8, 8, 16), blocks=(1, 1, 1))),
    start=8, images=(48,), stills=36, valid=18, batch=8, mirror=True, autoencoder=AutoencoderRecipe(18, 40))
SEES = ['image_classifier', 'stylegan']

@pytest.fixture(autouse=True)
def presets(monkeypatch): monkeypatch.setitem(PRESETS, 'latents', SMALL)

@pytest.fixture(scope='module')
def pack(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setitem(PRESETS, 'latents', SMALL)
        return train(tmp_path_factory.mktemp('latents')/'pack', 'latents', SEES)

def weights(path): return {k: v for k, v in load_pack(path)[0].state_dict().items()}
def same(a, b): return all(torch.equal(v, b[k]) for k, v in a.items())

def test_images_and_card(pack):
    G, config = load_pack(pack)
    assert (G.cfg.img_resolution, config.generator['architecture']) == (64, 'latent-stylegan2')
    assert '64 × 64 pixels' in (pack/'README.md').read_text() and {'fid', 'scene'} <= set(config.metrics)
    assert G(torch.randn(2, 16), torch.tensor([0, 65])).shape == (2, 3, 64, 64)
    assert (pack/'discriminator.safetensors').exists()

class Stop(Callback):
    "Ends the training of a network in the middle, as a signal would."
    order = 95
    def __init__(self, of, after): self.of, self.left = of, after
    def after_batch(self):
        if self.training and hasattr(self.model, self.of):
            self.left -= 1
            if not self.left: raise KeyboardInterrupt

@pytest.mark.parametrize('of', ['autoencoder', 'ema'])
def test_interrupted_ends_the_same(pack, tmp_path, of):
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'pack', 'latents', SEES, cbs=Stop(of, 4))
    assert not (tmp_path/'pack').exists()
    assert same(weights(train(tmp_path/'pack', 'latents', SEES, resume=True)), weights(pack))

def test_goes_on_from_a_pack(pack, tmp_path):
    again = train(tmp_path/'more', 'latents', ['stylegan'], start=pack, settings=dict(images=[16]))
    old, new = weights(pack), weights(again)
    assert same({k: v for k, v in old.items() if k.startswith('autoencoder.')}, new)
    assert not same({k: v for k, v in old.items() if k.startswith('latents.')}, new)
    with pytest.raises(UserError, match='of latents, 64 pixels, and the preset means a StyleGAN2, 32 pixels'):
        train(tmp_path/'other', 'tiny', ['stylegan'], start=pack)

def test_moves_with_sounds(pack, tmp_path):
    from sound_video.app.training import read_parts
    from sound_video.app.pack_config import default_pack
    ears, parts = read_parts(default_pack()), read_parts(pack)
    parts.hearing = ears.hearing
    parts.save(tmp_path/'pack')
    few = {'inversion.sounds': 18, 'inversion.epochs': 1, 'inversion.stills': 18, 'inversion.image_epochs': 1,
           'trajectory.clips': 9, 'trajectory.valid': 1, 'trajectory.epochs': 1}
    train(tmp_path/'pack', 'latents', ['inversion', 'trajectory'], settings=few)
    sv = SoundVideo.load(tmp_path/'pack', device='cpu')
    film = sv.generate((np.random.default_rng(0).normal(size=(1, 16000)).astype(np.float32) * .1, 16000), 8, seed=1)
    assert np.asarray(film).shape == (8, 64, 64, 3)
