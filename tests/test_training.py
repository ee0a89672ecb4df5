"A recipe, interrupted and resumed, ends with the weights of one that was not."
from dataclasses import replace
import io, json, shutil
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from fastai.callback.core import Callback, CancelFitException
from safetensors.torch import load_file
from brief import BRIEF
from sound_video.core.callbacks import read_checkpoint
from sound_video.core.errors import UserError
from sound_video.data.clips import write_world
from sound_video.app.edit import SoundVideo
from sound_video.app.recipes import PRESETS, ClipRecipe
from sound_video.app.training import STAGES, train

class Stop(Callback):
    "Interrupts a StyleGAN's training at a resolution, after so many pictures."
    order = 100
    def __init__(self, resolution, images): self.resolution, self.images = resolution, images
    def after_batch(self):
        state, cfg = getattr(self.learn, 'state', None), getattr(self.model, 'cfg', None)
        if state and cfg and cfg.img_resolution == self.resolution and state.images >= self.images:
            raise KeyboardInterrupt

class StopLater(Callback):
    "Interrupts the training of a network of this class, or of the generator among two opponents, in its second epoch."
    order = 100
    def __init__(self, network): self.network = network
    def after_batch(self):
        if type(getattr(self.model, 'G', self.model)).__name__ == self.network and self.epoch == 1:
            raise KeyboardInterrupt

@pytest.fixture
def brief(monkeypatch):
    "The tiny recipe made shorter still, under the name of a preset."
    monkeypatch.setitem(PRESETS, 'tiny', BRIEF)

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "A pack of the brief recipe, trained in one go."
    with pytest.MonkeyPatch.context() as m:
        m.setitem(PRESETS, 'tiny', BRIEF)
        return train(tmp_path_factory.mktemp('whole')/'pack', 'tiny')

SEEING = ['image_classifier', 'stylegan']

def beside(whole, out, done=()):
    "A place for another training, where the same pictures and sounds are rendered, and stages are done, already."
    for name in ('stills', 'sounds'): shutil.copytree(f'{whole}.training/{name}', f'{out}.training/{name}')
    for stage in done:
        for p in Path(f'{whole}.training').glob(f'{stage}*'): p.is_file() and shutil.copy(p, f'{out}.training')
    return out

def read_picture(b): return np.asarray(Image.open(io.BytesIO(b)).convert('RGB'))

def files(pack): return {p.relative_to(pack).as_posix() for p in pack.rglob('*') if p.is_file()}
def weights(pack): return {f: load_file(pack/f) for f in sorted(files(pack)) if f.endswith('.safetensors')}

SEEING_FILES = {f'{name}.safetensors' for name in ('generator', 'discriminator', 'image_classifier')}

def assert_same(a, b):
    assert set(a) == set(b)
    for f in a: assert all(torch.equal(a[f][k], b[f][k]) for k in a[f]), f

@pytest.mark.parametrize('resolution', [16, 32])
def test_resumed_training_ends_the_same(tmp_path, brief, whole, resolution):
    broken = beside(whole, tmp_path/'broken')
    with pytest.raises(KeyboardInterrupt): train(broken, 'tiny', SEEING, cbs=Stop(resolution, 32))
    assert not broken.exists()
    again = weights(train(broken, 'tiny', SEEING, resume=True))
    assert set(again) == SEEING_FILES
    assert_same({f: w for f, w in weights(whole).items() if f in again}, again)

def test_later_stages_interrupted_end_the_same(tmp_path, brief, whole):
    beside(whole, tmp_path/'broken', SEEING)
    for network in ('Clip', 'AudioEncoder', 'Inverter', 'ImageEncoder', 'VideoNet', 'TrajectoryGenerator'):
        with pytest.raises(KeyboardInterrupt): train(tmp_path/'broken', 'tiny', resume=True, cbs=StopLater(network))
        assert not (tmp_path/'broken').exists()
    with pytest.raises(UserError, match='--resume'): train(tmp_path/'broken', 'tiny')
    again = train(tmp_path/'broken', 'tiny', resume=True)
    assert_same(weights(whole), weights(again))
    assert SoundVideo.load(whole).config == SoundVideo.load(again).config

def test_a_pack_says_how_it_was_made(whole):
    pack = whole
    config = json.loads((pack/'config.json').read_text())
    assert config['training']['preset'] == 'tiny' and config['data'] == 'world' and len(config['class_names']) == 66
    assert set(config['metrics']) == {
        'fid',
        'scene',
        'hearing_named',
        'hearing_pictured',
        'hearing_captioned',
        'follows',
    }
    assert (
        config['training']['hearing']['epochs'] == config['training']['clip']['epochs'] == 2
        and 1 <= config['hearing']['scale'] <= 200
    )
    assert config['training']['trajectory']['epochs'] == 2 and set(config['parts']) == {
        'inverter',
        'image_encoder',
        'trajectory',
    }
    assert files(pack) == {
        'config.json',
        'discriminator.safetensors',
        'generator.safetensors',
        'image_classifier.safetensors',
        'video_classifier.safetensors',
        'inverter.safetensors',
        'image_encoder.safetensors',
        'trajectory.safetensors',
        'audio.safetensors',
        'names.safetensors',
        'pictures.safetensors',
        'README.md',
        'clip/open_clip_config.json',
        'clip/open_clip_model.safetensors',
        'clip/merges.txt.gz',
    }
    assert {
        f'metrics-{k}.csv'
        for k in (
            'image_classifier',
            'stylegan-16',
            'stylegan-32',
            'clip',
            'audio',
            'inversion',
            'pictures',
            'video_classifier',
            'trajectory',
        )
    } <= {p.name for p in Path(f'{pack}.training').iterdir()}
    assert 'hearing_named' in (pack/'README.md').read_text()

def test_stages_one_by_one(tmp_path, brief, whole):
    whole, pack = weights(whole), beside(whole, tmp_path/'pack', ['image_classifier'])
    assert train(pack, 'tiny', ['image_classifier'], resume=True) is None and not pack.exists()
    seen = weights(train(pack, 'tiny', ['stylegan']))
    assert set(seen) == SEEING_FILES
    with pytest.raises(UserError, match='stage clip'): train(pack, 'tiny', ['audio'])
    assert train(pack, 'tiny', ['clip']) is None
    hears = weights(train(pack, 'tiny', ['audio']))
    with pytest.raises(UserError, match='stage inversion'): train(pack, 'tiny', ['trajectory'])
    train(pack, 'tiny', ['inversion'])
    moves = weights(train(pack, 'tiny', ['trajectory']))
    assert set(moves) == set(whole) and {f: w for f, w in moves.items() if f in hears}.keys() == hears.keys()
    assert_same({f: moves[f] for f in hears}, hears)
    again = train(pack, 'tiny', ['stylegan']) # a new generator keeps the ears, and loses codes and paths
    assert set(weights(again)) == set(hears)
    assert_same(
        {f: weights(again)[f] for f in hears if 'audio' in f or 'clip' in f},
        {f: hears[f] for f in hears if 'audio' in f or 'clip' in f},
    )
    config = SoundVideo.load(again).config
    assert config.metrics['hearing_named'] >= 0 and config.training['clip']['epochs'] == 2

def test_ears_for_a_pack_whose_training_is_gone(tmp_path, brief, whole):
    import tiny_pack
    pack = tiny_pack.make(beside(whole, tmp_path/'pack'))
    with pytest.raises(UserError, match='no pack'): train(tmp_path/'nothing', 'tiny', ['clip', 'audio'])
    before = weights(pack)
    train(pack, 'tiny', ['clip', 'audio'])
    after = weights(pack)
    assert_same(before, {f: after[f] for f in before})
    assert SoundVideo.load(pack).name(
        (0.1 * torch.randn(1, 9000), 9000), ['rain', 'fire']
    ).overall.sum() == pytest.approx(1)

def test_checkpoints_of_other_settings_are_refused(tmp_path, brief, monkeypatch):
    with pytest.raises(KeyboardInterrupt): train(tmp_path/'pack', 'tiny', ['clip'], cbs=StopLater('Clip'))
    monkeypatch.setitem(PRESETS, 'tiny', replace(PRESETS['tiny'], clip=ClipRecipe(36, 18, 3, 18)))
    with pytest.raises(UserError, match='other settings'): train(tmp_path/'pack', 'tiny', ['clip'], resume=True)

def test_own_videos(tmp_path, brief):
    videos = write_world(tmp_path/'videos', ['thunder', 'raining'], clips=4, seconds=1.5, fps=6, size=64, seed=6)
    (videos/'thunder').rename(videos/'stormy night'); (videos/'manifest.csv').unlink()
    pack = train(tmp_path/'pack', 'tiny', data=str(videos))
    sv = SoundVideo.load(pack)
    assert sv.class_names == ('raining', 'stormy night')
    film = sv.generate(next((videos/'raining').glob('*.mp4')), fps=5)
    assert film.class_name in sv.class_names and next(film.frames()).shape == (32, 32, 3)
    assert sv.name(next((videos/'raining').glob('*.mp4')), sv.class_names).overall.sum() == pytest.approx(1)

def test_precision(tmp_path, brief, whole, monkeypatch):
    from sound_video.app.cli import main
    classifiers = {}
    for name, words, env in [
        ('full', ['--precision', 'float32'], {}),
        ('half', ['--precision', 'bfloat16'], {}),
        ('launched', [], dict(ACCELERATE_MIXED_PRECISION='bf16')),
        ('older', ['--precision', 'float16'], {}),
    ]:
        for k, v in env.items(): monkeypatch.setenv(k, v)
        beside(whole, tmp_path/name)
        assert main(['train', 'image_classifier', '--preset', 'tiny', '--out', str(tmp_path/name), *words]) == 0
        classifiers[name] = load_file(tmp_path/f'{name}.training/image_classifier.safetensors')
    full, half, launched, older = classifiers.values()
    assert all(
        torch.equal(half[k], launched[k]) and half[k].isfinite().all() and half[k].dtype == full[k].dtype for k in half
    )
    assert not all(torch.equal(half[k], full[k]) for k in half)
    assert all(older[k].isfinite().all() and older[k].dtype == full[k].dtype for k in older) and not all(
        torch.equal(older[k], half[k]) for k in half
    )
    kept = {name: read_checkpoint(tmp_path/f'{name}.training/image_classifier.pt') for name in ('older', 'half')}
    assert 'scale' in kept['older']['memory']['scaler'] and kept['half']['memory']['scaler'] is None
    assert (
        main(['train', 'image_classifier', '--preset', 'tiny', '--out', str(tmp_path / 'x'), '--precision', 'float8'])
        == 2
    )

class Computed(Callback):
    "Notes in which half precision, if any, each network's first batch is computed, and trains no further."
    order = 100
    def __init__(self, monkeypatch):
        self.seen, self.found = set(), {}
        enter = torch.autocast.__enter__
        def entered(context):
            if context._enabled: self.seen.add(context.fast_dtype)
            return enter(context)
        monkeypatch.setattr(torch.autocast, '__enter__', entered)
    def before_fit(self): self.seen.clear()
    def after_batch(self):
        self.found[type(getattr(self.model, 'G', self.model)).__name__] = set(self.seen)
        raise CancelFitException

EVERY = {
    'SceneNet', 'Generator', 'Clip', 'AudioEncoder', 'Inverter', 'ImageEncoder', 'VideoNet', 'TrajectoryGenerator'}

@pytest.mark.parametrize(
    'has,asked,stages,half',
    [(True, None, STAGES, True), (True, 'float32', STAGES, False), (False, None, SEEING, False)],
)
def test_every_stage_computes_in_what_the_machine_has_or_in_what_is_asked(
    tmp_path, brief, whole, monkeypatch, has, asked, stages, half
):
    monkeypatch.setitem(
        PRESETS, 'tiny', replace(BRIEF, precision='auto', trajectory=replace(BRIEF.trajectory, clips=4, valid=1))
    )
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(avx2=True, avx512_bf16=has))
    monkeypatch.setattr('sound_video.core.devices.default_device', lambda: torch.device('cpu'))
    computed = Computed(monkeypatch)
    pack = train(beside(whole, tmp_path/'pack'), 'tiny', stages, cbs=computed, precision=asked)
    assert set(computed.found) == (EVERY if stages is STAGES else {'SceneNet', 'Generator'})
    assert all(kinds == ({torch.bfloat16} if half else set()) for kinds in computed.found.values()), computed.found
    assert SoundVideo.load(pack).config.training['precision'] == ('bfloat16' if half else 'float32')

def test_a_training_goes_on_in_another_precision_and_says_so(tmp_path, brief, whole, capsys):
    beside(whole, tmp_path/'pack')
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'pack', 'tiny', ['clip'], cbs=StopLater('Clip'), precision='bfloat16')
    assert train(tmp_path/'pack', 'tiny', ['clip'], resume=True) is None and (tmp_path/'pack.training/clip').exists()
    assert 'was in bfloat16 until now, and goes on in float32' in capsys.readouterr().err

def test_parts_that_cannot_be(tmp_path, brief, capsys):
    from sound_video.app.cli import main
    assert (
        main(
            [
                'train',
                'image_classifier',
                'stylegan',
                '--preset',
                'tiny',
                '--out',
                str(tmp_path / 'pack'),
                '--accumulate',
                '8',
            ]
        )
        == 2
    )
    assert 'ask for 4 or fewer' in (said := capsys.readouterr().err.splitlines()[-1]) and 'groups of 4' in said
    assert (
        main(['train', 'image_classifier', '--preset', 'tiny', '--out', str(tmp_path / 'none'), '--accumulate', '0'])
        == 2
    )

def test_the_board_has_numbers_and_grids(whole):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    work = Path(f'{whole}.training')
    board = accumulator.EventAccumulator(str(work/'tensorboard/stylegan-32')).Reload()
    assert {'smooth_loss', 'loss_D', 'fid'} <= set(board.Tags()['scalars']) and board.Tags()['images'] == ['samples-32']
    grids, files = board.Images('samples-32'), sorted((work/'samples-32').glob('*.png'))
    assert [g.step for g in grids] == [int(f.stem) for f in files][-len(grids):] and len(grids) > 1
    for g, f in zip(grids[::-1], files[::-1]):
        shown = read_picture(g.encoded_image_string)
        assert shown.shape == (kept := read_picture(f.read_bytes())).shape and abs(shown.astype(int) - kept).max() <= 1
