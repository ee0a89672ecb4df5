"A recipe, interrupted and resumed, ends with the weights of one that was not."
from dataclasses import replace
import json
import pytest, torch
from fastai.callback.core import Callback
from sound_video.core import UserError
from sound_video.pipeline import SoundVideo
from sound_video.training import PRESETS, train

class Stop(Callback):
    "Interrupts a StyleGAN's training at a resolution, after so many pictures."
    order = 100
    def __init__(self, resolution, images): self.resolution, self.images = resolution, images
    def after_batch(self):
        memory = getattr(self.learn, 'memory', None)
        if memory and self.model.cfg.img_resolution == self.resolution and memory['images'] >= self.images: raise KeyboardInterrupt

@pytest.fixture
def brief(monkeypatch):
    "The tiny recipe made shorter still, under the name of a preset."
    recipe = replace(PRESETS['tiny'], images=(64, 64), stills=45, valid=18, judge_epochs=1)
    monkeypatch.setitem(PRESETS, 'tiny', recipe)

def weights(pack): return SoundVideo.load(pack, 'cpu').generator.state_dict()

@pytest.mark.parametrize('resolution', [16, 32])
def test_resumed_training_ends_the_same(tmp_path, brief, resolution):
    whole = weights(train(tmp_path/'whole', 'tiny'))
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'broken', 'tiny', cbs=Stop(resolution, 32))
    assert not (tmp_path/'broken').exists()
    with pytest.raises(UserError, match='--resume'): train(tmp_path/'broken', 'tiny')
    again = weights(train(tmp_path/'broken', 'tiny', resume=True))
    assert all(torch.equal(whole[k], again[k]) for k in whole)

def test_a_pack_says_how_it_was_made(tmp_path, brief):
    pack = train(tmp_path/'pack', 'tiny')
    config = json.loads((pack/'config.json').read_text())
    assert config['training']['preset'] == 'tiny' and config['data'] == 'world'
    assert len(config['class_names']) == 66 and set(config['metrics']) == {'fid', 'scene'}
    assert {p.name for p in pack.iterdir()} == {'config.json', 'generator.safetensors', 'judge.safetensors', 'README.md'}
