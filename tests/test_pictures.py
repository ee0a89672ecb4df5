"A generator learns from pictures, however they come; interrupted, resumed, and from a generator that is there."
import csv, io, json, random, struct, zipfile, zlib
from dataclasses import replace
import numpy as np
import pytest, torch
from fastai.callback.core import Callback
from PIL import Image
from safetensors.torch import load_file
from sound_video.stylegan.adversarial import AdaptiveAugment
from sound_video.core.callbacks import read_checkpoint
from sound_video.app.cli import main
from sound_video.core.errors import UserError
from sound_video.data.clips import check_folder, still_dls
from sound_video.data.images import ImageSet, check_images, decode_image
from sound_video.data.sharding import write_shards
from sound_video.app.edit import SoundVideo
from sound_video.stylegan.snapshots import read_discriminator
from sound_video.stylegan.stylegan2 import Discriminator, StyleGAN2Config
from sound_video.stylegan.stylegan3 import StyleGAN3Config
from sound_video.app.recipes import PRESETS
from sound_video.app.training import train
import fake_snapshot

def picture(seed, size=24):
    "Two colours and a border between them."
    g = np.random.default_rng(seed)
    x = np.arange(size) / size
    return np.where(
        x[:, None, None] + 0.3 * np.sin(5 * x[None, :, None]) > g.uniform(0.3, 0.7),
        g.integers(0, 255, 3),
        g.integers(0, 255, 3),
    ).astype(np.uint8)

def png(im, **kw):
    buf = io.BytesIO(); Image.fromarray(im).save(buf, 'png', **kw)
    return buf.getvalue()

def folder_of(path, n=30, classes=()):
    "A folder of pictures, in folders of their classes."
    for i in range(n):
        file = path/(classes[i % len(classes)] if classes else '.')/f'{i}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(picture(i)))
    return path

def zip_of(path, n=30, labels=None, more={}):
    "A zip as StyleGAN's tool makes it."
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(n): z.writestr(f'{i // 10:05d}/img{i:08d}.png', png(picture(i)))
        if labels is not None: z.writestr('dataset.json', json.dumps(dict(labels=labels)))
        for name, data in more.items(): z.writestr(name, data)
    return path

def weights(pack): return {p.name: load_file(p) for p in pack.glob('*.safetensors')}

def assert_same(a, b):
    assert set(a) == set(b)
    for f in a: assert all(torch.equal(a[f][k], b[f][k]) for k in a[f]), f

SEEING = ['image_classifier', 'stylegan']

@pytest.fixture(autouse=True)
def small(monkeypatch):
    "Presets that are trained in a moment, and an augmentation that is in a hurry."
    brief = replace(
        PRESETS['tiny'],
        start=16,
        images=(96,),
        stills=48,
        valid=20,
        image_classifier_epochs=1,
        batch=8,
        precision='float32',
    )
    own = dict(z_dim=16, w_dim=12, img_resolution=16, channel_base=128, channel_max=12)
    monkeypatch.setitem(PRESETS, 'two', replace(brief, generator=StyleGAN2Config(**own, num_layers=2)))
    monkeypatch.setitem(
        PRESETS,
        'three',
        replace(
            brief,
            generator=StyleGAN3Config(**own, num_layers=4),
            mixing=0.0,
            d_lr=0.8,
            gamma=None,
            precision='bfloat16',
        ),
    )
    monkeypatch.setattr(AdaptiveAugment.__init__, '__defaults__', (.6, 100, 2))

class Stop(Callback):
    "Interrupts a training after so many pictures."
    order = 100
    def __init__(self, images): self.images = images
    def after_batch(self):
        if self.learn.state.images >= self.images: raise KeyboardInterrupt

def test_a_folder_with_classes(tmp_path):
    data = folder_of(tmp_path/'pets', classes=('cat', 'dog'))
    (data/'dog'/'1.png').write_bytes(b'GIF89a no more')
    sv = SoundVideo.load(train(tmp_path/'pack', 'two', SEEING, data, settings=dict(mirror=True)))
    assert (
        sv.class_names == ('cat', 'dog')
        and set(sv.config.metrics) == {'fid', 'scene'}
        and sv.config.training['mirror'] is True
    )
    video = sv.generate((torch.randn(1, 8000) * .1, 8000), fps=5, class_name='dog')
    assert next(iter(video.frames())).shape == (16, 16, 3)

def test_shards_end_the_same_kept_or_streamed_and_interrupted(tmp_path):
    pytest.importorskip('webdataset')
    data, shards = folder_of(tmp_path/'some'), f'{tmp_path}/packed/{{0..2}}.tar'
    write_shards(data, tmp_path/'packed'/'{0..}.tar', max_count=12)
    whole, kept = (train(tmp_path/f'pack{i}', 'two', SEEING, x) for i, x in enumerate((data, shards)))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path/'broken', 'two', SEEING, shards, cbs=Stop(40), settings=dict(stream=True))
    again = train(tmp_path/'broken', 'two', SEEING, shards, resume=True, settings=dict(stream=True))
    assert_same(weights(whole), weights(kept)); assert_same(weights(whole), weights(again))
    assert not (tmp_path/'broken.training'/'stills').exists()

@pytest.mark.parametrize('preset, seed', [('two', 1), ('three', 0)]) # with these, p moves
def test_without_classes_interrupted_ends_the_same(tmp_path, preset, seed):
    data, how = zip_of(tmp_path/'tool.zip'), dict(ada=.05, mirror=True, path_length=2.)
    whole = train(tmp_path/'whole', preset, SEEING, data, seed=seed, settings=how)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'broken', preset, SEEING, data, seed=seed, cbs=Stop(40), settings=how)
    again = train(tmp_path/'broken', preset, SEEING, data, resume=True, seed=seed, settings=how)
    assert_same(weights(whole), weights(again))
    kept = [read_checkpoint(tmp_path/f'{name}.training'/'stylegan-16.pt')['memory'] for name in ('whole', 'broken')]
    for memory in kept: memory.pop('rows') # a table's averages over the epoch that was interrupted are of its rest
    assert torch.equal(*(memory.pop('moments') for memory in kept))
    assert kept[0] == kept[1] and kept[0]['images'] == 96
    sv = SoundVideo.load(again)
    assert (
        sv.class_names == ()
        and set(sv.config.metrics) == {'fid_mini'}
        and set(weights(again)) == {'generator.safetensors', 'discriminator.safetensors'}
    )
    assert 'no distance by Inception' in (again/'README.md').read_text()
    table = list(csv.DictReader((tmp_path/'whole.training'/'metrics-stylegan-16.csv').open()))
    assert max(float(row['p']) for row in table) > 0 and all(float(row['fid_mini']) > 0 for row in table)

class Stub(torch.nn.Module):
    "What StyleGAN's Inception file does, in small."
    def forward(self, x, return_features:bool=False, no_output_bias:bool=False):
        x = x.float().flatten(2)
        return torch.cat([x.mean(2), x.std(2)], 1)

def test_an_inception_file_measures(tmp_path):
    torch.jit.script(Stub()).save(tmp_path/'inception.pt')
    words = [
        'train',
        'stylegan',
        '--out',
        tmp_path / 'pack',
        '--preset',
        'two',
        '--data',
        folder_of(tmp_path / 'pictures'),
        '--inception',
        tmp_path / 'inception.pt',
        '--set',
        'mirror=true',
        '--set',
        'images=[48]',
    ]
    assert main([str(w) for w in words]) == 0
    config = SoundVideo.load(tmp_path/'pack').config
    assert (
        set(config.metrics) == {'fid_inception'}
        and config.training['mirror'] is True
        and list(config.training['images']) == [48]
    )
    with pytest.raises(UserError, match='no such file'):
        train(tmp_path / 'other', 'two', ['stylegan'], tmp_path / 'pictures', inception=tmp_path / 'none.pt')

# -- from a generator that is there

def converted(tmp_path, G, **more):
    (tmp_path/'net.pkl').write_bytes(fake_snapshot.snapshot(G, **more))
    assert main(['convert', str(tmp_path/'net.pkl'), '-o', str(tmp_path/'start')]) == 0
    return tmp_path/'start'

def their_discriminator(cfg):
    "As theirs is: every layer has a filter."
    D = Discriminator(cfg)
    for name, m in D.named_modules():
        if name.count('.') == 1 and not hasattr(m, 'resample_filter') and not name.startswith('b4.'):
            m.register_buffer('resample_filter', torch.ones(4, 4))
    return D

class Watch(Callback):
    "Notes the networks as they are before the first step, and after each; the image classifier it passes over."
    order = 100
    def note(self): self.G.append(self.model.G.mapping.fc0.weight.detach().clone())
    def before_fit(self):
        if hasattr(self.model, 'D'):
            self.first, self.G = {k: v.clone() for k, v in self.model.D.state_dict().items()}, []
            self.note()
    def after_batch(self):
        if hasattr(self.model, 'D'): self.note()

def test_fine_tuning_goes_on_with_both_networks(tmp_path):
    G = fake_snapshot.stylegan2()
    D = their_discriminator(G.cfg)
    start, watch = converted(tmp_path, G, D=D), Watch()
    pack = train(
        tmp_path / 'mine',
        'two',
        ['stylegan'],
        folder_of(tmp_path / 'pictures'),
        start=start,
        cbs=watch,
        settings=dict(images=[48]),
    )
    for k, v in watch.first.items(): assert torch.equal(v, D.state_dict()[k].half().float()), k
    assert torch.equal(watch.G[0], G.mapping.fc0.weight) and not torch.equal(watch.G[0], watch.G[1])
    sv = SoundVideo.load(pack)
    assert sv.config.training['from'] == 'start' and sv.generator.cfg == G.cfg
    assert next(iter(sv.generate((torch.randn(1, 8000) * .1, 8000), fps=5).frames())).shape == (16, 16, 3)

@pytest.mark.parametrize(
    'make, preset, classes',
    [(fake_snapshot.stylegan3, 'three', ()), (lambda: fake_snapshot.stylegan2(c_dim=3), 'two', 'abc')],
)
def test_a_new_discriminator_learns_first(tmp_path, make, preset, classes):
    start, watch = converted(tmp_path, make()), Watch()
    assert not (start/'discriminator.safetensors').exists()
    data = folder_of(tmp_path/'pictures', classes=classes)
    train(tmp_path/'mine', preset, ['stylegan'], data, start=start, cbs=watch, settings=dict(images=[240]))
    steps = [bool((a != b).any()) for a, b in zip(watch.G, watch.G[1:])]
    assert steps[:2] == [False, False] and all(steps[2:]) # 12 of 240 pictures are two batches

def test_resumed_fine_tuning_ends_the_same(tmp_path):
    start, data = converted(tmp_path, fake_snapshot.stylegan2()), folder_of(tmp_path/'pictures')
    whole = train(tmp_path/'whole', 'two', ['stylegan'], data, start=start)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'broken', 'two', ['stylegan'], data, start=start, cbs=Stop(40))
    assert_same(weights(whole), weights(train(tmp_path/'broken', 'two', ['stylegan'], data, start=start, resume=True)))

def test_discriminators_that_do_not_fit_are_left(tmp_path):
    G = fake_snapshot.stylegan2()
    other = Discriminator(replace(G.cfg, channel_max=8))
    assert not (converted(tmp_path, G, D=other)/'discriminator.safetensors').exists()
    (tmp_path / 'classes.pkl').write_bytes(
        fake_snapshot.snapshot(fake_snapshot.stylegan2(c_dim=3), D=Discriminator(replace(G.cfg, c_dim=3)))
    )
    assert read_discriminator(tmp_path/'classes.pkl', replace(G.cfg, c_dim=3)) is None

def test_discriminators_of_stylegan3(tmp_path):
    large = StyleGAN3Config(
        img_resolution=1024, channel_base=65536, channel_max=1024, conv_kernel=1, use_radial_filters=True
    )
    assert all(
        large.channels(r) == StyleGAN2Config(img_resolution=1024).channels(r) for r in large.resolutions
    )  # R doubles the generator only
    G = fake_snapshot.KINDS['StyleGAN3-R']()
    D = their_discriminator(G.cfg)
    (tmp_path/'r.pkl').write_bytes(fake_snapshot.snapshot(G, D=D))
    found = read_discriminator(tmp_path/'r.pkl', G.cfg).state_dict()
    assert all(torch.equal(v, D.state_dict()[k]) for k, v in found.items())

def said(capsys, *words):
    "The status and the last line on standard error."
    status = main([str(w) for w in words])
    return status, capsys.readouterr().err.strip().splitlines()[-1:]

def test_what_does_not_agree_is_one_line(tmp_path, capsys):
    start = converted(tmp_path, fake_snapshot.stylegan2())
    plain = folder_of(tmp_path/'plain')
    for words, says in (
        (['--from', start, '--preset', 'mini', '--data', plain], '16 pixels'),
        (['--from', start, '--preset', 'three', '--data', plain], 'StyleGAN3-T'),
        (['--from', tmp_path / 'none', '--preset', 'two', '--data', plain], 'no pack'),
        (['--preset', 'two', '--data', tmp_path / 'none.zip'], 'no such folder'),
        (['--preset', 'two', '--data', plain, '--set', 'bach=2'], 'bach'),
        (['--preset', 'two', '--data', folder_of(tmp_path / 'few', 4)], 'too few'),
    ):
        status, line = said(capsys, 'train', 'stylegan', '--out', tmp_path/'out', *words)
        assert status == 2 and says in line[0], (words, line)
        assert not (tmp_path/'out').exists()
    status, line = said(capsys, 'train', '--out', tmp_path/'out', '--preset', 'two', '--data', plain)
    assert status == 2 and 'have no sound' in line[0]

def test_sounds_need_a_generator_of_their_classes(tmp_path):
    import tiny_pack
    from sound_video.app.training import Run, sound_data
    sv = SoundVideo.load(tiny_pack.make(tmp_path/'pack', hears=True))
    with pytest.raises(UserError, match='which the generator does not'):
        sound_data(PRESETS['tiny'].inversion, sv.hearing, (), Run(tmp_path))

# -- pictures as they come

def deep_rgb(im):
    "A PNG of sixteen bits a channel, which Pillow reads and does not write."
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(b'\0' + (row.astype('>u2') * 257).tobytes() for row in im)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', im.shape[1], im.shape[0], 16, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )

def test_colours_of_sixteen_bits():
    assert (decode_image(deep_rgb(picture(3))) == picture(3)).all()

@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientations(orientation):
    im = picture(4, 32)
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = {
        1: im,
        2: im[:, ::-1],
        3: im[::-1, ::-1],
        4: im[::-1],
        5: im.swapaxes(0, 1),
        6: np.rot90(im),
        7: np.rot90(im[:, ::-1], -1),
        8: np.rot90(im, -1),
    }[orientation]
    assert (decode_image(png(np.ascontiguousarray(stored), exif=exif)) == im).all()

def test_damaged_bytes_are_named_and_never_raise(tmp_path):
    rng, whole = random.Random(0), {}
    for kind in ('png', 'jpeg', 'webp', 'gif', 'tiff', 'bmp'):
        buf = io.BytesIO(); Image.fromarray(picture(1)).save(buf, kind); whole[kind] = buf.getvalue()
    for i in range(90):
        kind = rng.choice(list(whole)); data = bytearray(whole[kind])
        for _ in range(rng.choice([1, 5, 50])): data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path/f'{i}.{kind}').write_bytes(data[:rng.choice([len(data), rng.randrange(len(data))])])
    report = check_images(tmp_path)
    assert len(report.good) + len(report.bad) == 90 and len(report.bad) > 20
    assert all('\n' not in why for _, why in report.bad)

def test_zips_that_are_not_what_they_seem(tmp_path):
    data = zip_of(tmp_path/'plain.zip').read_bytes()
    for n in (0, 10, len(data)//2, len(data) - 30):
        (tmp_path/'cut.zip').write_bytes(data[:n])
        with pytest.raises(UserError, match='as a zip of pictures'): ImageSet(tmp_path/'cut.zip')
    (tmp_path / 'flipped.zip').write_bytes(
        data[:60] + bytes(20) + data[80:]
    )  # one entry is damaged, the directory is whole
    assert len(check_images(tmp_path/'flipped.zip').bad) == 1
    with zipfile.ZipFile(tmp_path/'bomb.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for i in range(10): z.writestr(f'{i}.png', png(picture(i)))
        with z.open('huge.png', 'w', force_zip64=True) as f:
            for _ in range(300): f.write(bytes(1 << 20))
    assert (tmp_path/'bomb.zip').stat().st_size < 400_000
    assert check_images(tmp_path/'bomb.zip').bad == [('huge.png', 'claims to have 315 MB')]
    assert (
        len(
            ImageSet(
                zip_of(
                    tmp_path / 'outside.zip', more={'../../evil.png': png(picture(0)), '/etc/x.png': png(picture(0))}
                )
            )
        )
        == 31
    )  # names only: nothing is unpacked

@pytest.mark.parametrize(
    'labels',
    [
        3,
        [3],
        [['00000/img00000000.png', 0]],
        [[f'{i // 10:05d}/img{i:08d}.png', -1] for i in range(30)],
        [[f'{i // 10:05d}/img{i:08d}.png', [0.5, 0.5]] for i in range(30)],
    ],
)
def test_labels_that_make_no_sense(tmp_path, labels):
    with pytest.raises(UserError, match='dataset.json') as e: ImageSet(zip_of(tmp_path/'odd.zip', labels=labels))
    assert '\n' not in str(e.value)

def test_zip_and_folder_and_cache_are_the_same_pictures(tmp_path):
    data = zip_of(tmp_path/'tool.zip', labels=[[f'{i // 10:05d}/img{i:08d}.png', i % 12] for i in range(30)])
    with zipfile.ZipFile(data) as z: z.extractall(tmp_path/'tool')
    load = lambda source, **kw: still_dls(source, 16, bs=4, n_valid=3, device='cpu', **kw)
    a, b = load(data, cache=tmp_path/'cache'), load(tmp_path/'tool')
    again = load(data, cache=tmp_path/'cache')
    assert a.vocab == b.vocab == [f'class {i}' for i in range(12)]
    for x, y, z in zip(
        a.train.dataset[np.arange(27)], b.train.dataset[np.arange(27)], again.train.dataset[np.arange(27)]
    ):
        assert torch.equal(x, y) and torch.equal(x, z)
    assert len(list((tmp_path/'cache').iterdir())) == 2

def test_data_check_knows_pictures(tmp_path, capsys):
    data = folder_of(tmp_path/'pets', 12, ('cat', 'dog'))
    assert main(['data', 'check', str(data)]) == 0
    (data/'cat'/'odd.jpg').write_bytes(b'meow')
    assert main(['data', 'check', str(data), '--json']) == 1
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report == dict(
        good=12,
        bad=[dict(path='cat/odd.jpg', fault='is not a picture')],
        counts=dict(cat=6, dog=6),
        smallest=24,
        passed_over=[],
    )
    assert check_folder(data).counts() == dict(cat=6, dog=6)

def test_nothing_can_be_read(tmp_path):
    for i in range(20): (tmp_path/f'{i}.jpg').write_bytes(b'\xff\xd8 not a photograph')
    with pytest.raises(UserError, match='none of the pictures'): still_dls(tmp_path, 16, n_valid=3, device='cpu')
