"A CLIP from anywhere: damaged, missing, hostile folders; texts in any script; pictures of any size."
import json, os, pickle
import open_clip, pytest, torch
from sound_video.hearing import clip as module
from sound_video.hearing.clip import Clip, new_clip, save_clip
from sound_video.hearing.clip_training import caption_dls
from sound_video.hearing.captions import own_merges
from sound_video.core.errors import UserError

TOWER = dict(layers=1, width=32)
TINY = dict(
    embed_dim=16,
    vision_cfg=dict(TOWER, head_width=16, patch_size=16, image_size=32),
    text_cfg=dict(TOWER, heads=2, context_length=12),
)

@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    torch.manual_seed(0)
    return save_clip(
        tmp_path_factory.mktemp('clip') / 'tiny', new_clip(TINY, dict(mean=(0.5,) * 3), own_merges(['rain'], 300))
    )

@pytest.fixture(scope='module')
def clip(saved): return Clip.load(saved, device='cpu')

def copy(saved, to, **changes): # changes: contents of files by name without ending, None: without
    to.mkdir()
    for p in saved.iterdir():
        data = changes.get(p.name.split('.')[0], p.read_bytes())
        if data is not None: (to/p.name).write_bytes(data)
    return to

def with_config(saved, to, change):
    config = json.loads((saved/'open_clip_config.json').read_text())
    change(config)
    return copy(saved, to, open_clip_config=json.dumps(config).encode())

def complaint(*args):
    with pytest.raises(UserError) as e: Clip.load(*args, device='cpu')
    assert '\n' not in str(e.value) and len(str(e.value)) < 600
    return str(e.value)

class Bomb:
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.mkdir, (str(self.path),)

@pytest.mark.parametrize(
    'changes, said',
    [
        (dict(open_clip_config=None), 'no such file'),
        (dict(open_clip_config=b'{'), 'cannot read'),
        (dict(open_clip_config=b'[]'), 'describes no'),
        (dict(open_clip_config=b'{"model_cfg": {"embed_dim": 3}}'), 'describes no'),
        (dict(open_clip_config=b'\xff\xfe'), 'cannot read'),
        (dict(open_clip_model=None), 'no weights'),
        (dict(open_clip_model=b''), 'damaged'),
        (dict(open_clip_model=b'\x10' * 400), 'damaged'),
        (dict(merges=None), 'merges'),
        (dict(merges=b'not gzipped'), 'merges'),
    ],
)
def test_faults_of_a_folder(saved, tmp_path, changes, said):
    assert said in complaint(copy(saved, tmp_path/'clip', **changes))

def test_missing_and_misspelt(tmp_path):
    assert 'no CLIP at' in complaint(tmp_path/'nowhere') and 'no CLIP at' in complaint(f'local-dir:{tmp_path}/nowhere')
    assert (
        'ViT-B-32' in complaint('ViT-B-23')
        and 'which weights' in complaint('ViT-B-32')
        and 'laion2b_s34b_b79k' in complaint('ViT-B-32:laion2b')
    )
    assert 'no such file' in complaint('ViT-B/32', str(tmp_path/'no.pt'))

@pytest.fixture
def built_in(tmp_path, monkeypatch):
    "A model of open_clip's own, with the name of weights that had OpenAI's activation."
    (tmp_path/'Tiny-16.json').write_text(json.dumps(TINY))
    monkeypatch.setattr(
        open_clip.factory, '_MODEL_CONFIG_PATHS', [*open_clip.factory._MODEL_CONFIG_PATHS, tmp_path / 'Tiny-16.json']
    )
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED,
        'Tiny-16',
        dict(good=dict(hf_hub='some/tiny/', mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0), quick_gelu=True)),
    )
    open_clip.factory._rescan_model_configs()
    yield 'Tiny-16'
    monkeypatch.undo()
    open_clip.factory._rescan_model_configs()

def test_a_file_with_the_settings_of_its_name(built_in, tmp_path):
    plain = new_clip(TINY)
    file = str(save_clip(tmp_path/'saved', plain)/'open_clip_model.safetensors')
    named = Clip.load('Tiny/16:good', file, 'cpu')
    assert named.preprocess.mean == (.1, .2, .3) and named.config['model_cfg']['quick_gelu'] is True
    unnamed = Clip.load('Tiny-16', file, 'cpu')
    assert unnamed.preprocess.mean != (.1, .2, .3) and not unnamed.config['model_cfg'].get('quick_gelu')
    one_string = Clip.load(f'Tiny-16:good:{file}', device='cpu')
    x = torch.rand(1, 3, 40, 40)
    assert torch.equal(one_string.embed_image(x), named.embed_image(x)) and not torch.allclose(
        named.embed_image(x), unnamed.embed_image(x)
    )
    assert torch.equal(
        Clip.load(save_clip(tmp_path / 'again', named), device='cpu').embed_text('a'), named.embed_text('a')
    )
    assert "no weights 'bad'" in complaint('Tiny-16:bad', file) and 'good' in complaint('Tiny-16')

def test_a_download_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_online', lambda: False)
    monkeypatch.setattr(module.hub, 'HF_HUB_CACHE', str(tmp_path))
    said = complaint('ViT-B-32', 'openai')
    assert (
        'open_clip_model.safetensors from https://huggingface.co/timm/vit_base_patch32_clip_224.openai' in said
        and 'Clip.load(' in said
    )
    assert 'https://huggingface.co/some/model' in complaint('hf-hub:some/model')
    assert module.hub.HF_HUB_OFFLINE is False

def test_hostile_weights_are_not_run(saved, tmp_path):
    folder = copy(saved, tmp_path/'clip', open_clip_model=None)
    with open(folder/'open_clip_model.bin', 'wb') as f: pickle.dump(Bomb(tmp_path/'boom'), f)
    assert 'more than weights' in complaint(folder)
    (folder/'open_clip_model.bin').unlink()
    torch.save(dict(state_dict=Bomb(tmp_path/'boom')), folder/'pytorch_model.bin')
    assert 'more than weights' in complaint(folder)
    assert not (tmp_path/'boom').exists()

def test_programs_are_refused(saved, tmp_path):
    folder = copy(saved, tmp_path/'clip', open_clip_model=None)
    torch.jit.script(torch.nn.Linear(2, 2)).save(folder/'pytorch_model.bin')
    assert 'TorchScript' in complaint(folder)

def test_weights_of_another_model(saved, tmp_path):
    assert 'do not belong' in complaint(
        with_config(saved, tmp_path / 'clip', lambda c: c['model_cfg'].update(embed_dim=24))
    )

def test_a_tokenizer_may_not_bring_code(saved, tmp_path):
    trust = lambda c: c['model_cfg']['text_cfg'].update(
        hf_tokenizer_name='x', tokenizer_kwargs=dict(trust_remote_code=True)
    )
    assert 'trust_remote_code' in complaint(with_config(saved, tmp_path/'clip', trust))

def test_merges_are_read_from_the_folder_only(saved, tmp_path):
    (tmp_path/'outside.gz').write_bytes((saved/'merges.txt.gz').read_bytes())
    outside = lambda c: c['model_cfg']['text_cfg'].update(tokenizer_kwargs=dict(bpe_path='../outside.gz'))
    assert 'merges' in complaint(with_config(saved, tmp_path/'clip', outside))

def test_more_tokens_than_the_model_has(saved, tmp_path):
    assert 'tokens' in complaint(
        with_config(saved, tmp_path / 'clip', lambda c: c['model_cfg']['text_cfg'].update(vocab_size=100))
    )

def test_saved_again_it_is_the_same(clip, saved, tmp_path):
    again = save_clip(tmp_path/'again', clip)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}
    with pytest.raises(UserError, match='does not exist'): save_clip(tmp_path/'no'/'where', clip)

@pytest.mark.parametrize(
    'texts',
    [
        ['дождь'],
        ['雨が降る', 'مطر'],
        ['🌧️ 🔥'],
        [''],
        ['   '],
        ['\0\n\t'],
        ['<end_of_text> fire'],
        ['rain' * 100_000],
        ['rain ' * 1000],
        ['e\u0301' * 50],
        ['&lt;b&gt;'],
    ],
)
def test_any_text(clip, texts):
    tokens = clip.tokenize(texts)
    assert (
        tokens.shape == (len(texts), 12)
        and (tokens[:, 0] == clip.tokenizer.sot_token_id).all()
        and (tokens == clip.tokenizer.eot_token_id).any(1).all()
    )
    e = clip.embed_text(texts)
    assert torch.isfinite(e).all() and torch.allclose(e.norm(dim=-1), torch.ones(len(texts)), atol=1e-4)

@pytest.mark.parametrize('texts', [[], [3], [None], ['rain', b'rain']])
def test_not_texts(clip, texts):
    with pytest.raises(UserError): clip.embed_text(texts)

def test_case_and_repetition(clip):
    assert torch.equal(clip.embed_text('RAIN'), clip.embed_text(['rain']))
    a, b = clip.embed_text(['rain', 'rain'])
    assert torch.equal(a, b)
    assert clip.embed_text(['rain'] * 600).shape == (600, 16)

@pytest.mark.parametrize('size', [(32, 32), (48, 64), (31, 200), (512, 512), (1, 1), (300, 7)])
def test_pictures_of_any_size(clip, size):
    x = (torch.rand(2, 3, *size) * 2 - 1).requires_grad_()
    for cutouts in (0, 3):
        e = clip.embed_image(x, cutouts)
        assert e.shape == (2, 16) and torch.allclose(e.norm(dim=-1), torch.ones(2), atol=1e-4)
        g, = torch.autograd.grad(e[:, 0].sum(), x)
        assert torch.isfinite(g).all() and g.abs().max() > 0

@pytest.mark.parametrize(
    'x',
    [
        torch.zeros(3, 32, 32),
        torch.zeros(1, 1, 32, 32),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(0, 3, 32, 32),
        'picture.png',
    ],
)
def test_not_pictures(clip, x):
    with pytest.raises(UserError, match=r'\[B, 3, H, W\]'): clip.embed_image(x)

def test_cutouts_follow_their_generator(clip):
    x = torch.rand(3, 3, 64, 80) * 2 - 1
    cut = lambda seed, x: clip.embed_image(x, 4, torch.Generator().manual_seed(seed))
    assert torch.equal(cut(0, x), cut(0, x)) and not torch.equal(cut(0, x), cut(1, x))
    assert torch.allclose(cut(0, x)[1:2], cut(0, x[1:2]), atol=1e-5)

def test_frozen(clip):
    clip.train()
    assert not any(m.training for m in clip.modules()) and not any(p.requires_grad for p in clip.parameters())

def test_loading_says_nothing(saved, capfd, caplog):
    Clip.load(saved, device='cpu')
    assert tuple(capfd.readouterr()) == ('', '') and not caplog.records

def test_captions_follow_the_epoch():
    tokenize = new_clip(TINY, merges=own_merges(['rain'], 300)).tokenize
    dl = caption_dls(tokenize, size=32, bs=9, n=18, n_valid=18, device='cpu').train
    def texts(epoch):
        dl.set_epoch(epoch)
        return [t for _ in dl for t in dl.texts]
    assert texts(0) == texts(0) != texts(1)
