"Folders as people have them: damaged, incomplete, oddly named, changing under our feet."
import csv, json, shutil
import numpy as np, pytest, torch
from sound_video.data import clips as dataset
from sound_video.core.errors import UserError
from sound_video.core.arrays import to_float
from sound_video.data.clips import (
    FolderClips, StillLoader, Stills, check_clips, check_folder, clip_dls, find_clips, read_manifest, still_dls,
    write_world)
from sound_video.media.videos import probe, read_frames, write_video
from sound_video.media.images import write_image
from sound_video.world.score import KIND_NAMES, SCENES
from sound_video.world.clips import SPLITS, render, split_seeds, stills

RATE = 16000
HEAD = 'ytid,start_time,class,set'

def make_clip(path, seconds=1.5, fps=10, loud=.3, sound=True, size=32, channels=1):
    "Frames that brighten with time, and noise."
    path.parent.mkdir(parents=True, exist_ok=True)
    n = round(seconds * fps)
    frames = np.broadcast_to(
        (40 + 200 * np.arange(n) / max(1, n - 1)).astype(np.uint8)[:, None, None, None], (n, size, size, 3)
    )
    noise = loud * (2*torch.rand(channels, round(seconds*RATE), generator=torch.Generator().manual_seed(n)) - 1)
    return write_video(path, frames, fps, (noise, RATE) if sound else None)

@pytest.fixture(scope='module')
def clip_bytes(tmp_path_factory): return make_clip(tmp_path_factory.mktemp('one')/'a.mp4', 3.).read_bytes()

@pytest.fixture
def folder(tmp_path, clip_bytes):
    "Two classes of twelve equal clips."
    for label in ('raining', 'thunder'):
        (tmp_path/'set'/label).mkdir(parents=True)
        for i in range(12): (tmp_path/'set'/label/f'{label}-{i}.mp4').write_bytes(clip_bytes)
    return tmp_path/'set'

# --- the world on disk

def test_world_file_names(tmp_path):
    write_world(tmp_path/'w', ['thunder'], clips=1, seconds=1, fps=10, size=32, seed=3)
    assert {p.name for p in (tmp_path/'w'/'thunder').iterdir()} == {'000003.mp4', '000003.json'}
    info = probe(tmp_path/'w'/'thunder'/'000003.mp4')
    assert (info.frames, info.fps, info.size, info.rate, info.channels) == (10, 10, (32, 32), 22050, 1)

def test_world_manifest_is_read_back_with_the_splits_of_the_seeds(tmp_path):
    out = write_world(tmp_path/'w', ['thunder', 'wind noise'], clips=3, seconds=.5, fps=10, size=32, seed=7)
    rows = list(csv.DictReader(open(out/'manifest.csv')))
    assert [*rows[0]] == HEAD.split(',') and len(rows) == 6
    for f in find_clips(out): assert int(f.path.stem) % 10 in SPLITS[f.split] and f.path.parent.name == f.label

def test_world_goes_on_after_an_interruption(tmp_path, monkeypatch):
    ask, real, calls = dict(clips=3, seconds=.5, fps=10, size=32), dataset.write_video, []
    def interrupted(path, frames, *args):
        def some():
            for k, x in enumerate(frames):
                if calls and k == 2: raise KeyboardInterrupt
                yield x
        real(path, some(), *args); calls.append(path)
    monkeypatch.setattr(dataset, 'write_video', interrupted)
    with pytest.raises(KeyboardInterrupt): write_world(tmp_path/'w', ['raining'], **ask)
    assert sorted(p.name for p in (tmp_path/'w'/'raining').iterdir()) == ['000000.json', '000000.mp4']
    done = (tmp_path/'w'/'raining'/'000000.mp4').stat().st_mtime_ns
    monkeypatch.setattr(dataset, 'write_video', real)
    assert len(find_clips(write_world(tmp_path/'w', ['raining'], **ask))) == 3
    assert (tmp_path/'w'/'raining'/'000000.mp4').stat().st_mtime_ns == done

def test_world_with_other_settings_is_rendered_again(tmp_path):
    for size in (32, 48): write_world(tmp_path/'w', ['raining'], clips=1, seconds=.5, fps=10, size=size)
    assert probe(tmp_path/'w'/'raining'/'000000.mp4').size == (48, 48)

@pytest.mark.parametrize('bad', [dict(scenes=['snow']), dict(clips=0), dict(seed=-1), dict(fps=0)])
def test_world_mistakes_leave_nothing(tmp_path, bad):
    with pytest.raises(UserError): write_world(tmp_path/'w', **dict(scenes=['raining'], clips=1, seconds=.5) | bad)
    assert not list(tmp_path.iterdir())

def test_world_cannot_replace_a_file(tmp_path):
    (tmp_path/'w').write_text('')
    with pytest.raises(UserError, match='cannot write'): write_world(tmp_path/'w', ['raining'], clips=1, seconds=.5)

# --- finding clips

def test_no_folder_a_file_an_empty_folder(tmp_path):
    (tmp_path/'empty').mkdir(); (tmp_path/'file').touch()
    for name in ('nowhere', 'file', 'empty'):
        with pytest.raises(UserError, match=name): find_clips(tmp_path/name)

def test_other_files_are_not_clips(folder):
    for name in ('.raining-1-0a1b2c3d.mp4', 'notes.txt', 'raining-1.json'): (folder/'raining'/name).write_text('x')
    (folder/'raining'/'folder.mp4').mkdir(); (folder/'.cache').mkdir(); (folder/'.cache'/'x.mp4').touch()
    assert len(find_clips(folder)) == 24

def test_splits_stay_when_files_come_and_folders_move(folder, clip_bytes):
    first = {f.path.name: f.split for f in find_clips(folder)}
    assert set(first.values()) >= {'train', 'valid'}
    for i in range(30): (folder/'thunder'/f'new {i}.MP4').write_bytes(clip_bytes)
    moved = shutil.move(folder, folder.with_name('élan'))
    later = {f.path.name: f.split for f in find_clips(moved)}
    assert len(later) == 54 and all(later[name] == split for name, split in first.items())

def test_pieces_of_one_video_share_a_split(tmp_path):
    for i in range(20):
        for start in (0, 10, 120):
            (path := tmp_path / 'thunder' / f'abcdefgh-{i:02d}_{start}.mp4').parent.mkdir(exist_ok=True)
            path.touch()
    split = {}
    for f in find_clips(tmp_path): assert split.setdefault(f.path.stem[:11], f.split) == f.split

def test_manifest_variants(tmp_path, clip_bytes):
    for name in ('cut_10', 'zeros_000020', 'plain', 'deep/er/far_7.5', 'uncut', '-dash_0', 'twice'):
        (p := tmp_path/f'{name}.mp4').parent.mkdir(parents=True, exist_ok=True); p.write_bytes(clip_bytes)
    rows = [
        'cut,10,"rain, heavy",train',
        ' zeros , 20 , thunder , Validation',
        'plain,0,thunder,test',
        'far,7.5,thunder,val',
        'uncut,30,thunder,train',
        '-dash,0,thunder,training',
        'twice,0,thunder,train',
        'twice,10,thunder,train',
    ]
    (tmp_path/'list.csv').write_bytes(b'\xef\xbb\xbf' + '\r\n'.join([HEAD, *rows]).encode())
    found = {(f.path.stem, f.start): f for f in find_clips(tmp_path)}
    assert {k: (f.label, f.split, f.seconds) for k, f in found.items()} == {
        ('cut_10', 0): ('rain, heavy', 'train', None),
        ('zeros_000020', 0): ('thunder', 'valid', None),
        ('plain', 0): ('thunder', 'test', None),
        ('far_7.5', 0): ('thunder', 'valid', None),
        ('uncut', 30): ('thunder', 'train', 10),
        ('-dash_0', 0): ('thunder', 'train', None),
        ('twice', 0): ('thunder', 'train', 10),
        ('twice', 10): ('thunder', 'train', 10),
    }

def test_files_of_one_name_belong_to_their_class(tmp_path, clip_bytes, capsys):
    for label in ('raining', 'thunder'): (p := tmp_path/label/'000001.mp4').parent.mkdir(); p.write_bytes(clip_bytes)
    (tmp_path / 'manifest.csv').write_text(
        '\n'.join([HEAD, '000001,0,thunder,train', '000001,0,raining,valid', '000001,0,wind noise,train'])
    )
    assert [(f.path.parent.name, f.label) for f in find_clips(tmp_path)] == [
        ('thunder', 'thunder'),
        ('raining', 'raining'),
    ]
    assert '1 of 3 clips' in capsys.readouterr().err

@pytest.mark.parametrize(
    'text, match',
    [
        ('', 'line 1'),
        ('a,b,thunder,train\n', 'line 1 names no column ytid'),
        ('a,0,thunder,train\n', 'none of the 1 clips'),
        (f'{HEAD}\na,0,"thunder,train\n', 'as a CSV file'),
        (f'{HEAD}\na,0,thunder\n', 'line 2 has no set'),
        (f'{HEAD}\n\na,x,thunder,train\n', "line 3 has the start_time 'x'"),
        (f'{HEAD}\na,-1,thunder,train\n', 'line 2'),
        (f'{HEAD}\na,nan,thunder,train\n', 'line 2'),
        (f'{HEAD}\na,0,thunder,mine\n', "line 2 has the set 'mine'"),
        (f'{HEAD}\na,0,thunder,train\n', 'none of the 1 clips'),
        (f'{HEAD}\n', 'no clips'),
        ('\xff\xfe\x00', 'as a CSV file|line 1'),
    ],
)
def test_broken_manifests(tmp_path, text, match):
    (tmp_path/'manifest.csv').write_bytes(text.encode('latin-1'))
    with pytest.raises(UserError, match=match) as e: find_clips(tmp_path)
    assert '\n' not in str(e.value)

def test_two_manifests(folder):
    for name in 'ab': (folder/f'{name}.csv').write_text(f'{HEAD}\n')
    with pytest.raises(UserError, match='2 CSV files'): find_clips(folder)

# --- checking

def zoo(folder, clip_bytes):
    "Every fault once; the faults by file name."
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'cut.mp4').write_bytes(clip_bytes[: len(clip_bytes) * 2 // 3])
    (folder / 'head.mp4').write_bytes(clip_bytes[:1500])
    (folder / 'text.mp4').write_text('rain is falling\n' * 99)
    (folder / 'noise.mp4').write_bytes(np.random.default_rng(0).bytes(9999))
    (folder / 'empty.mp4').touch()
    write_image(folder / 'picture.png', np.zeros((32, 32, 3), np.uint8)).rename(folder / 'picture.mp4')
    make_clip(folder / 'mute.mp4', sound=False)
    make_clip(folder / 'silent.mp4', loud=0.0)
    make_clip(folder / 'faint.mp4', loud=2e-4)
    make_clip(folder / 'short.mp4', 0.5)
    return dict(
        cut='cut short',
        head='',
        text='neither',
        noise='',
        empty='is empty',
        picture='no sound',
        mute='no sound',
        silent='is silent',
        faint='is silent',
        short='too short',
    )

def test_every_fault_is_named(tmp_path, clip_bytes):
    faults = zoo(tmp_path / 'thunder', clip_bytes)
    make_clip(tmp_path / 'thunder' / 'stereo.mp4', channels=2)
    make_clip(tmp_path / 'thunder' / 'other.webm')
    good, bad = check_clips(find_clips(tmp_path))
    assert sorted(f.path.name for f in good) == ['other.webm', 'stereo.mp4'] and all(
        abs(f.seconds - 1.5) < 0.15 for f in good
    )
    assert {p.stem for p, _ in bad} == set(faults)
    for path, why in bad:
        assert faults[path.stem] in why and '\n' not in why and str(path) not in why

def test_damage_in_the_middle_does_not_stop_the_check(folder, clip_bytes):
    spoilt = bytearray(clip_bytes)
    spoilt[len(spoilt)//2:len(spoilt)//2 + 400] = bytes(400)
    (folder/'raining'/'raining-0.mp4').write_bytes(spoilt)
    good, bad = check_clips(find_clips(folder))
    assert len(good) + len(bad) == 24 and len(good) >= 23

def test_uncut_videos_are_used_from_their_start_only(tmp_path):
    make_clip(tmp_path/'uncut.mp4', 14.)
    (tmp_path / 'manifest.csv').write_text(
        '\n'.join([HEAD, 'uncut,1,thunder,train', 'uncut,11,thunder,valid', 'uncut,30,thunder,train'])
    )
    good, bad = check_clips(find_clips(tmp_path))
    assert [(f.start, round(f.seconds)) for f in good] == [(1, 10), (11, 3)] and len(bad) == 1
    o = dict(seconds=1., fps=10, size=32, rate=RATE)
    windows = FolderClips(good, ['thunder'], **o)
    assert windows.start(0) == pytest.approx(5.5, abs=.1) and windows.start(1) == pytest.approx(12, abs=.2)
    frames = to_float(read_frames(tmp_path/'uncut.mp4'))
    assert (windows[0][0].mean() - frames[60].mean()).abs() < .05

def test_report(folder, clip_bytes):
    zoo(folder/'thunder', clip_bytes)
    report = check_folder(folder)
    assert len(report.good) == 24 and len(report.bad) == 10 and json.loads(json.dumps(report.to_dict()))['good'] == 24
    for p, _ in report.bad: assert str(p) in str(report) and p.name in report._repr_html_()
    assert sum(report.to_dict()['counts']['thunder'].values()) == 12

# --- loading

def small(source, **kw): return clip_dls(source, **dict(seconds=1., fps=8, size=32, rate=RATE, bs=4, device='cpu') | kw)

def test_training_survives_a_clip_that_goes_bad(folder, clip_bytes, capsys):
    from fastai.callback.progress import Learner
    zoo(folder/'thunder', clip_bytes)
    dls = small(folder)
    assert capsys.readouterr().err.count('left out') == 10
    class Net(torch.nn.Module):
        def __init__(self): super().__init__(); self.head = torch.nn.Linear(2, 2)
        def forward(self, frames, sound):
            return self.head(torch.stack([frames.mean((1, 2, 3, 4)), sound.square().mean((1, 2))], 1))
    learn = Learner(dls, Net(), loss_func=torch.nn.CrossEntropyLoss())
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        victim = dls.train.dataset.files[0].path
        victim.write_text('gone bad')
        learn.fit(2)
    assert capsys.readouterr().err.count(str(victim)) == 1

def test_validation_classes_without_training_clips_are_left_out(tmp_path, clip_bytes, capsys):
    for name in 'abc': (tmp_path/f'{name}.mp4').write_bytes(clip_bytes)
    (tmp_path / 'manifest.csv').write_text(
        '\n'.join([HEAD, 'a,0,thunder,train', 'b,0,thunder,valid', 'c,0,raining,valid'])
    )
    dls = small(tmp_path)
    assert dls.vocab == ['thunder'] and len(dls.valid.dataset) == 1 and 'raining' in capsys.readouterr().err

def test_a_manifest_without_validation_gets_one(folder):
    rows = [
        f'{label}-{i},0,{label},{split}'
        for label in ('raining', 'thunder')
        for i, split in enumerate(['train'] * 10 + ['test'] * 2)
    ]
    (folder/'manifest.csv').write_text('\n'.join([HEAD, *rows]))
    splits = [f.split for f in find_clips(folder)]
    assert {s: splits.count(s) for s in SPLITS} == dict(train=18, valid=2, test=4)

def test_windows_are_inside_and_reproducible(folder):
    a, b = small(folder, seed=1), small(folder, seed=1)
    for (x, s, y), (x2, s2, y2) in zip(a.train, b.train, strict=True):
        assert x.shape[1:] == (8, 3, 32, 32) and s.shape[1:] == (1, RATE) and x.abs().max() <= 1
        assert torch.equal(x, x2) and torch.equal(s, s2) and torch.equal(y, y2)
    again = torch.cat([x for x, *_ in b.train])
    b.train.epoch = 1
    assert torch.equal(torch.cat([x for x, *_ in b.train]), again)
    middle = torch.cat([x for x, *_ in a.valid])
    assert torch.equal(torch.cat([x for x, *_ in a.valid]), middle)

def test_workers_give_the_same_items(folder):
    alone, helped = small(folder, num_workers=0), small(folder, num_workers=2)
    for _ in range(2):
        for a, b in zip(alone.train, helped.train, strict=True): assert all(torch.equal(x, y) for x, y in zip(a, b))

def test_world_items_are_new_in_every_epoch_and_never_meet_validation():
    dls = small('world', n=9, n_valid=9, seconds=.25)
    assert dls.vocab == list(SCENES)
    seen = []
    for epoch in range(3):
        dls.train.dataset.epoch = epoch
        seen += [dls.train.dataset.seed(i) for i in range(9)]
    assert len(set(seen)) == 3 and all(s % 10 in SPLITS['train'] for s in seen)
    clip = render(SCENES[2], 8, .25, 8, 32, RATE)
    frames, sound, label = dls.valid.dataset[2]
    assert label == 2 and torch.equal(frames, to_float(clip.frames)) and torch.equal(sound, torch.as_tensor(clip.sound))

# --- stills

def fake(n=50, classes=3):
    rng = np.random.default_rng(0)
    return Stills(
        rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8), np.arange(n) % classes, [f'c{i}' for i in range(classes)]
    )

def test_still_order_is_a_function_of_seed_and_epoch():
    load = lambda seed: StillLoader(fake(), bs=8, n=120, seed=seed, shuffle=True, drop_last=True)
    a, b = load(0), load(0)
    epochs = [torch.cat([x for x, _ in a]) for _ in range(4)]
    b.epoch = 3
    b.one_batch()
    assert torch.equal(torch.cat([x for x, _ in b]), epochs[3]) and not torch.equal(epochs[0], epochs[3])
    assert not torch.equal(torch.cat([x for x, _ in load(1)]), epochs[0])
    assert len(epochs[0]) == 120 and epochs[0].dtype == torch.float32 and epochs[0].abs().max() <= 1

def test_epochs_of_any_length_use_all_stills_equally():
    for n in (16, 75, 200):
        dl = StillLoader(fake(), bs=n, n=n, shuffle=True, drop_last=True)
        drawn = np.concatenate([(setattr(dl, 'playing', e), dl.get_idxs())[1] for e in range(200 // n + 1)])
        counts = np.bincount(drawn, minlength=50)
        assert counts.max() - counts.min() <= 1

def test_still_workers():
    a, b = (StillLoader(fake(), bs=8, n=64, shuffle=True, drop_last=True, num_workers=k) for k in (0, 2))
    for (x, y), (x2, y2) in zip(a, b, strict=True): assert torch.equal(x, x2) and torch.equal(y, y2)

def test_world_stills_and_their_cache(tmp_path):
    load = lambda **kw: still_dls('world', 32, bs=8, n=10, n_valid=9, device='cpu', **kw)
    memory, disk = load(), load(cache=tmp_path/'cache')
    assert len(memory.train.dataset) == 18 and np.array_equal(
        memory.train.dataset.pictures, disk.train.dataset.pictures
    )
    direct = stills(SCENES[4], split_seeds('train', 2), 32)
    got = torch.from_numpy(memory.train.dataset.pictures[4::9].copy()) / 127.5 - 1
    assert (got - direct).abs().max() < 0.02 and [
        KIND_NAMES[i].split(":")[0] for i in memory.train.dataset.labels
    ] == list(SCENES) * 2
    stamp = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.npy')}
    load(cache=tmp_path/'cache')
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.npy')} == stamp and len(stamp) == 4

def test_an_interrupted_cache_is_not_taken_for_a_whole_one(tmp_path, monkeypatch):
    def fail(*a): raise KeyboardInterrupt
    monkeypatch.setattr(dataset, '_collect', fail)
    with pytest.raises(KeyboardInterrupt): still_dls('world', 32, n=9, n_valid=9, cache=tmp_path/'cache', device='cpu')
    assert not list((tmp_path/'cache').iterdir())

def test_folder_stills_change_with_their_files(folder, tmp_path):
    load = lambda: still_dls(folder, 16, bs=4, n=40, n_valid=3, cache=tmp_path/'cache', device='cpu')
    a = load()
    x, y = a.one_batch()
    assert (
        x.shape == (4, 3, 16, 16)
        and len(a.train.dataset) == 40
        and len(a.valid.dataset) == 3
        and set(a.train.dataset.labels) == {0, 1}
    )
    n = len(list((tmp_path/'cache').iterdir()))
    load()
    assert len(list((tmp_path/'cache').iterdir())) == n
    make_clip(next(f.path for f in find_clips(folder) if f.split == 'train'), 2.)
    load()
    assert len(list((tmp_path/'cache').iterdir())) == n + 1

# --- lists as they are published, and pieces of films

VGGSOUND = (
    '-0jeONf82dE,21,people marching,test\n--0PQM4-hqg,30,"waterfall burbling,'
    ' splashing",train\n0123456789a,130,thunder,train\n0123456789b,0,thunder,train\n'
)
AUDIOSET = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=3, num_segs=3, num_unique_labels=527, num_positive_labels=8
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"
--BfvyPmVMo, 20.000, 29.510, "/m/03l9g"
-0123456789, 30.000, 40.000, "/m/0838f"
"""

def test_vggsound_as_published(tmp_path, clip_bytes):
    (tmp_path/'clips').mkdir()
    for name in ('-0jeONf82dE_000021', '--0PQM4-hqg_30000_40000', '0123456789a_130', '0123456789b'):
        (tmp_path / 'clips' / f'{name}.mp4').write_bytes(clip_bytes)
    (tmp_path/'vggsound.csv').write_bytes(VGGSOUND.replace('\n', '\r\n').encode())
    for source in (tmp_path, tmp_path/'vggsound.csv'):
        found = {f.path.stem: f for f in find_clips(source)}
        assert {n: (f.label, f.start, f.film) for n, f in found.items()} == {
            '-0jeONf82dE_000021': ('people marching', 0, '-0jeONf82dE'),
            '--0PQM4-hqg_30000_40000': ('waterfall burbling, splashing', 0, '--0PQM4-hqg'),
            '0123456789a_130': ('thunder', 0, '0123456789a'),
            '0123456789b': ('thunder', 0, '0123456789b'),
        }
        assert (
            found['-0jeONf82dE_000021'].split == 'test'
            and found['--0PQM4-hqg_30000_40000'].split == 'train'
            and len(check_folder(source).good) == 4
        )

@pytest.mark.parametrize('start', [b'', b'\xef\xbb\xbf'])
@pytest.mark.parametrize(
    'names',
    [
        ('--4gqARaEJE_0_10000', '--BfvyPmVMo_20000_29510', '-0123456789_30000_40000'),
        ('--4gqARaEJE_0', '--BfvyPmVMo_000020', '-0123456789_30.000'),
        ('--4gqARaEJE_0.000_10.000', '--BfvyPmVMo_20.000-29.510', '-0123456789_000030'),
    ],
)
def test_audioset_as_published(tmp_path, clip_bytes, names, start):
    for name in names: (tmp_path/f'{name}.mp4').write_bytes(clip_bytes)
    (tmp_path/'balanced_train_segments.csv').write_bytes(start + AUDIOSET.encode())
    rows = read_manifest(tmp_path/'balanced_train_segments.csv')
    assert [(r['ytid'], r['start'], round(r['seconds'], 3), r['class'], r['split']) for r in rows] == [
        ('--4gqARaEJE', 0, 10, '/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk', None),
        ('--BfvyPmVMo', 20, 9.51, '/m/03l9g', None),
        ('-0123456789', 30, 10, '/m/0838f', None),
    ]
    found = find_clips(tmp_path)
    assert [(f.path.stem, f.label, f.start, f.seconds) for f in found] == [
        (n, r['class'], 0, None) for n, r in zip(names, rows)
    ] and {f.split for f in found} <= {'train', 'valid', 'test'}

@pytest.mark.parametrize(
    'text, match',
    [
        ('#NAME?,30,thunder,train\n', 'spreadsheet'),
        ('0123456789a, 10.000, 5.000, "/m/1"\n', 'ends before it starts'),
        ('# only words\n', 'names no column'),
        ('0123456789a,0,thunder,train\n0123456789a,0,thunder\n', 'line 2 has no set'),
    ],
)
def test_published_lists_that_are_broken(tmp_path, text, match):
    (tmp_path/'manifest.csv').write_text(text)
    with pytest.raises(UserError, match=match) as e: find_clips(tmp_path)
    assert '\n' not in str(e.value)

def videos_of(files): # -> {film: splits}
    found = {}
    for f in files: found.setdefault(f.path.stem[:11], set()).add(f.split)
    return found

@pytest.mark.parametrize('piece', ['{}_{}', '{}_{:06d}', '{}_{}000_{}000', '{}_{}.0-{}.0'])
@pytest.mark.parametrize('films, classes', [(1, 1), (2, 1), (3, 2), (4, 4), (40, 3), (7, 7)])
def test_no_film_is_in_training_and_test(tmp_path, piece, films, classes):
    for i in range(films): # some of several classes
        for start in (0, 10, 120):
            (
                p := tmp_path
                / f'class {(i + (start == 120)) % classes}'
                / f'{piece.format(f"film-{i:06d}", start, start + 10)}.mp4'
            ).parent.mkdir(exist_ok=True)
            p.touch()
    found = videos_of(find_clips(tmp_path))
    assert len(found) == films and all(not {'train', 'test'} <= s for s in found.values())
    if films > 2: assert all(len(s) == 1 for s in found.values()), found
    rows = [
        f'film-{i:06d},{start},class {(i + (start == 120)) % classes},{("train", "test", "valid")[(i + start) % 3]}'
        for i in range(films)
        for start in (120, 0, 10)
    ]  # each film in two sets or more
    (tmp_path/'manifest.csv').write_text('\n'.join([HEAD, *rows]))
    again = videos_of(find_clips(tmp_path))
    assert len(again) == films and all(not {'train', 'test'} <= s for s in again.values())

def test_a_manifest_that_divides_a_film_is_overruled_and_that_is_said(tmp_path, clip_bytes, capsys):
    for name in ('abcdefghij0_0', 'abcdefghij0_10', 'abcdefghij1_0', 'short_0', 'short_10', 'uncut'):
        (tmp_path / f'{name}.mp4').write_bytes(clip_bytes)
    (tmp_path / 'manifest.csv').write_text(
        '\n'.join(
            [
                HEAD,
                'abcdefghij0,10,thunder,test',
                'abcdefghij0,0,thunder,train',
                'abcdefghij1,0,thunder,valid',
                'short,0,thunder,test',
                'short,10,thunder,train',
                'uncut,0,thunder,train',
                'uncut,1,thunder,test',
            ]
        )
    )
    assert {(f.path.stem, f.start): f.split for f in find_clips(tmp_path)} == {
        ('abcdefghij0_10', 0): 'train',
        ('abcdefghij0_0', 0): 'train',
        ('abcdefghij1_0', 0): 'valid',
        ('short_0', 0): 'test',
        ('short_10', 0): 'test',
        ('uncut', 0): 'train',
        ('uncut', 1): 'train',
    }
    assert '3 rows of' in capsys.readouterr().err

def test_rows_that_are_there_twice(tmp_path, clip_bytes, capsys):
    (tmp_path/'whole.mp4').write_bytes(clip_bytes)
    (tmp_path / 'manifest.csv').write_text(
        '\n'.join([HEAD] + ['whole,0,thunder,train', 'whole, 0.0 ,thunder,training'] * 2)
    )
    assert [(f.start, f.seconds) for f in find_clips(tmp_path)] == [
        (0, None)
    ] and '3 rows of' in capsys.readouterr().err

# --- nothing is passed over in silence

def test_every_file_is_used_or_named(folder, clip_bytes, capsys):
    (folder / 'raining' / 'phone.3gp-like').write_bytes(clip_bytes)
    (folder / 'raining' / 'no ending').write_bytes(clip_bytes)  # read whatever they are called
    for name, data in {
        'raining/notes.txt': b'rain',
        'raining/.hidden.mp4': clip_bytes,
        'raining/deep/er.mp4': clip_bytes,
        'raining/empty': b'',
        'top.mp4': clip_bytes,
        'list.json': b'{}',
        'raining/raining-1.json': b'{}',
    }.items():
        (p := folder / name).parent.mkdir(exist_ok=True)
        p.write_bytes(data)
    write_image(folder / 'thunder' / 'cover.png', np.zeros((8, 8, 3), np.uint8))
    report = check_folder(folder)
    assert len(report.good) == 26 and not report.bad
    assert {p.relative_to(folder).as_posix(): why for p, why in report.passed} == {
        'list.json': 'is neither a sound, nor a video, nor a picture that can be read',
        'raining/.hidden.mp4': 'is hidden',
        'raining/deep/er.mp4': 'lies deeper than class name/clip',
        'raining/empty': 'is empty',
        'raining/notes.txt': 'is neither a sound, nor a video, nor a picture that can be read',
        'thunder/cover.png': 'is a picture',
        'top.mp4': 'lies beside the folders of classes',
    }  # and the file that tells of a clip belongs to it
    assert len(report.to_dict()['passed_over']) == 7 and '7 things' in str(report)
    find_clips(folder)
    assert capsys.readouterr().err.count('7 things') == 1

def test_files_that_no_row_names(tmp_path, clip_bytes, capsys):
    for name in ('a.mp4', 'b.mp4', 'c.txt'): (tmp_path/name).write_bytes(clip_bytes if 'mp4' in name else b'c')
    (tmp_path/'manifest.csv').write_text(f'{HEAD}\na,0,thunder,train\n')
    report = check_folder(tmp_path)
    assert [(p.name, why) for p, why in report.passed] == [
        ('c.txt', 'is neither a sound, nor a video, nor a picture that can be read'),
        ('b.mp4', 'no row of the manifest names it'),
    ]

def test_links_in_circles_and_to_nowhere(folder, capsys):
    try:
        (folder / 'raining' / 'round').symlink_to(folder, target_is_directory=True)
        (folder / 'raining' / 'gone.mp4').symlink_to(folder / 'nowhere')
        (folder / 'linked').symlink_to(folder / 'thunder', target_is_directory=True)
    except OSError:
        pytest.skip('no links here')
    report = check_folder(folder)
    assert len(report.good) == 36 and {p.name: why for p, why in report.passed} == {
        'round': 'leads back to a folder that it lies in',
        'gone.mp4': 'is a link that leads nowhere',
    }
