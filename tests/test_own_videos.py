"Own classes: small folders, other packs to begin with, what goes stale."
from dataclasses import replace
import pytest, torch
from sound_video.core.errors import UserError
from sound_video.data.clips import find_clips, usable_clips, write_world
from sound_video.app import packs
from sound_video.app.evaluation import evaluate
from sound_video.app.edit import SoundVideo
from sound_video.app.pack_config import default_pack
from sound_video.app.recipes import PRESETS, InversionRecipe, TrajectoryRecipe
from sound_video.app.training import train
from sound_video.motion.inversion import sample_vectors
from brief import BRIEF

FEW = replace(
    BRIEF,
    generator=PRESETS['mini'].with_stylegan(c_dim=0).generator,
    start=32,
    images=(16,),
    inversion=InversionRecipe(18, 2, 1, 18, 1, 16, 36),
    trajectory=TrajectoryRecipe(9, 4, 1, 1, 1.0, 15.0, 4, 8, 4),
)

@pytest.fixture
def clips(tmp_path):
    out = write_world(tmp_path/'clips', ['thunder', 'raining'], clips=4, seconds=1.5, fps=6, size=64, seed=6)
    (out/'manifest.csv').unlink()
    for old, new in (('thunder', 'storm'), ('raining', 'дождь: в лесу')): (out/old).rename(out/new)
    return out

@pytest.fixture
def few(monkeypatch):
    "A brief recipe, and few pictures of each pack's generator kept as CLIP sees them, which nothing asks for."
    monkeypatch.setitem(PRESETS, 'few', FEW)
    monkeypatch.setattr(packs, 'sample_vectors', lambda G, clip: sample_vectors(G, clip, max(8, G.cfg.c_dim)))

def test_a_class_of_one_clip_is_trained_on(clips):
    for p in sorted((clips/'storm').glob('*.mp4'))[1:]: p.unlink()
    assert [f.split for f in find_clips(clips) if f.label == 'storm'] == ['train']
    assert usable_clips(clips, 1.)[1] == ['storm', 'дождь: в лесу']

def test_clips_without_folders_are_told_where_to_go(clips, tmp_path):
    (tmp_path/'flat').mkdir()
    for p in clips.glob('storm/*.mp4'): p.rename(tmp_path/'flat'/p.name)
    from sound_video.data.curation import curate
    for f in (find_clips, lambda d: curate(d, tmp_path/'out')):
        with pytest.raises(UserError, match='move them into folders'): f(tmp_path/'flat')

def test_other_classes_from_mini(clips, tmp_path, few):
    with pytest.raises(UserError, match='train the stages clip and audio'):
        train(tmp_path / 'pack', 'few', ['image_classifier', 'stylegan', 'inversion'], str(clips), start='mini')
    pack = train(tmp_path/'pack', 'few', data=str(clips), start='mini', resume=True)
    mine, mini = SoundVideo.load(pack, 'cpu'), SoundVideo.load(device='cpu')
    assert mine.class_names == ('storm', 'дождь: в лесу') and mine.scenes == ['storm', 'дождь']
    assert mine.encoder.cfg == replace(mini.encoder.cfg, classes=()) # it would not fit what the encoder learns
    assert mine.hearing.clip.knows('лесу') and not mini.hearing.clip.knows('лесу')
    for name in ('inverter', 'image_encoder', 'trajectory'): assert mine.network(name).cfg == mini.network(name).cfg
    sound = next((clips/'storm').glob('*.mp4'))
    assert {label for label, _ in mine.name(sound).ranked} == set(mine.scenes)
    assert mine.generate(sound, fps=4, class_name='ДОЖДЬ').class_name == 'дождь: в лесу'
    kept = lambda: {p.name for p in (tmp_path/'pack.training').glob('vectors-*.safetensors')}
    before = kept()
    train(
        pack, 'few', ['clip', 'audio', 'inversion'], str(clips), seed=1, start='mini'
    )  # codes are learnt from what is heard now
    assert len(before) == len(kept()) == 1 and before != kept()
    with pytest.raises(UserError, match="the class 'storm', and the model knows"):
        evaluate(default_pack(), str(clips), 9, seconds=1.0)

def test_ears_of_mini_stay_where_they_know_the_words(clips, tmp_path, few):
    (clips/'дождь: в лесу').rename(clips/'rain')
    pack = train(tmp_path/'pack', 'few', ['image_classifier', 'stylegan', 'inversion'], str(clips), start='mini')
    mine, mini = SoundVideo.load(pack, 'cpu'), SoundVideo.load(device='cpu')
    x = torch.rand(1, round(mini.encoder.cfg.seconds * mini.encoder.cfg.mel.rate)) - .5
    assert torch.allclose(mine.encoder.hear(x), mini.encoder.hear(x), atol=1e-5)
