"Films as people have them, and a cutter that is killed."
import csv, json, multiprocessing, os, random, signal, subprocess, sys, time
from fractions import Fraction
from pathlib import Path
from types import ModuleType
import av, numpy as np, pytest, torch
from sound_video.data import curation
from sound_video.core.errors import UserError
from sound_video.data.curation import Stretch, assign_splits, curate
from sound_video.data.clips import FolderClips, check_folder, find_clips
from sound_video.media.videos import probe, read_frames, write_video
from sound_video.media.sounds import read_sound

RATE, FPS, SIZE = 8000, 8, 32
ASK = dict(size=SIZE, fps=FPS, rate=RATE, seconds=1.)
ENV = dict(os.environ, OMP_NUM_THREADS='1')

def pictures(seed, seconds, h=32, w=32):
    "Soft patches that drift, other ones for each seed."
    rng, n = np.random.default_rng(seed), round(seconds * FPS)
    knots = rng.integers(0, 256, (n // 2 + 2, 8, 8, 3))
    t = np.arange(n)[:, None, None, None] / 2
    at = t.astype(int)[:, 0, 0, 0]
    x = knots[at] * (1 - t % 1) + knots[at + 1] * (t % 1)
    return np.stack([np.kron(f, np.ones((-(-h//8), -(-w//8), 1)))[:h, :w] for f in x]).astype(np.uint8)

def noise(seed, seconds, rate=RATE, channels=1, loud=.2):
    g = torch.Generator().manual_seed(seed)
    return loud * torch.randn(1, round(seconds * rate), generator=g).clamp(-3, 3).repeat(channels, 1)

def film(path, seed=0, seconds=3., h=32, w=32, sound=True, **kw):
    path.parent.mkdir(parents=True, exist_ok=True)
    x = noise(seed, seconds, **kw)
    return write_video(path, pictures(seed, seconds, h, w), FPS, (x, kw.get('rate', RATE)) if sound else None)

def apart(x, y): return np.abs(x.astype(float) - y).mean() # grey levels; such patches lose some ten in 4:2:0
def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob('*')) if p.is_file()}
def reasons(report): return {(Path(d.source).name, d.start): d.reason for d in report.dropped}
def manifest(path, *rows): path.write_text('\n'.join(['ytid,start_time,class,set', *rows]))
def rows(out): return [tuple(r.values()) for r in csv.DictReader(open(out/'manifest.csv'))]

@pytest.fixture(scope='module')
def films(tmp_path_factory):
    "Six films of two classes, one with a silent second, and one that is no film."
    d = tmp_path_factory.mktemp('films')/'films'
    for i in range(6): film(d/('raining', 'thunder')[i % 2]/f'film {i}.mp4', i)
    x = noise(9, 3.); x[:, int(.7*RATE):int(2.3*RATE)] = 0
    write_video(d/'thunder'/'pause.mp4', pictures(9, 3.), FPS, (x, RATE))
    (d/'thunder'/'page.mp4').write_text('<html>')
    return d

@pytest.fixture(scope='module')
def whole(films, tmp_path_factory):
    "The films, cut without interruption."
    out = tmp_path_factory.mktemp('whole')/'out'
    return out, curate(films, out, **ASK)

# --- what comes out

def test_clips_are_what_was_asked_for_and_usable(whole):
    out, report = whole
    assert len(report.clips) == 20 and reasons(report) == {('pause.mp4', 1.): 'silent', ('page.mp4', None): 'damaged'}
    for c in report.clips:
        info = probe(out/c['clip'])
        assert (info.size, info.fps, info.frames, info.rate, info.seconds) == ((SIZE, SIZE), FPS, FPS, RATE, 1.)
    checked = check_folder(out)
    assert len(checked.good) == 20 and not checked.bad and not checked.missing
    assert {f.path.relative_to(out).as_posix(): f.split for f in checked.good} == {
        c['clip']: c['set'] for c in report.clips
    }
    assert json.loads((out/'report.json').read_text()) == json.loads(json.dumps(report.to_dict()))

def test_a_clip_is_its_second_of_the_film(films, whole):
    out, _ = whole
    for k in range(3):
        here = read_frames(out/'raining'/f'film 0_{k}.mp4')
        off = [apart(read_frames(films/'raining'/'film 0.mp4', start=j, seconds=1.), here) for j in range(3)]
        assert np.argmin(off) == k and off[k] < 12 and min(off[:k] + off[k+1:]) > 30
        x, y = (
            read_sound(films / 'raining' / 'film 0.mp4', start=k, seconds=1.0)[0][0],
            read_sound(out / 'raining' / f'film 0_{k}.mp4')[0][0],
        )
        assert float(torch.corrcoef(torch.stack([x, y]))[0, 1]) > .95

def test_no_film_is_in_two_sets_and_each_class_trains(whole):
    _, report = whole
    sets = {}
    for c in report.clips: sets.setdefault(c['clip'].rsplit('_', 1)[0], set()).add(c['set'])
    assert all(len(s) == 1 for s in sets.values())
    for label in ('raining', 'thunder'): assert any(c['class'] == label and c['set'] == 'train' for c in report.clips)
    assert any(c['set'] == 'valid' for c in report.clips)

def test_key_frames_every_second(films, tmp_path):
    report = curate(films, tmp_path/'out', **ASK | dict(seconds=3.))
    with av.open(str(tmp_path / 'out' / report.clips[0]['clip'])) as c:
        keys = [float(p.pts * p.time_base) for p in c.demux(video=0) if p.is_keyframe]
    assert max(np.diff([*keys, 3.])) <= 1 + 1e-3

# --- shapes of films

@pytest.mark.parametrize('h, w', [(33, 57), (64, 36), (31, 121)])
def test_odd_portrait_and_wide_films_lose_their_edges_only(tmp_path, h, w):
    film(tmp_path/'films'/'raining'/'a.mp4', 1, 1., h, w)
    report = curate(tmp_path/'films', tmp_path/'out', **ASK)
    got = read_frames(tmp_path/'out'/report.clips[0]['clip'])[0]
    assert got.shape == (SIZE, SIZE, 3)
    side = min(h, w); top, left = (h - side) // 2, (w - side) // 2
    mean = lambda x: x.astype(float).mean((0, 1))
    assert np.abs(mean(pictures(1, 1., h, w)[0][top:top+side, left:left+side]) - mean(got)).max() < 12

def test_a_film_that_was_stored_lying_is_turned(tmp_path):
    (tmp_path/'films'/'raining').mkdir(parents=True)
    path = film(tmp_path/'upright.mp4', 2, 2., 40, 64)
    data = bytearray(path.read_bytes())
    at = data.index(b'tkhd') + 4 + 4 + 20 + 16 # version and flags; times, id, duration; reserved, layer, group, volume
    assert data[at:at+4] == (1 << 16).to_bytes(4, 'big')
    for k, v in enumerate((0, 1 << 16, 0, -(1 << 16), 0, 0)):
        data[at + 4 * k : at + 4 * k + 4] = v.to_bytes(4, 'big', signed=True)
    (tmp_path/'films'/'raining'/'turned.mp4').write_bytes(data)
    curate(tmp_path/'films', tmp_path/'out', **ASK)
    got = read_frames(tmp_path/'out'/'raining'/'turned_0.mp4')[0].astype(float)
    off = [apart(np.rot90(read_frames(path, size=SIZE)[0], k), got) for k in range(4)]
    assert min(off) < 15 and np.argmin(off) == 3 and sorted(off)[1] > 50

def test_a_changing_frame_rate_becomes_regular(tmp_path):
    (tmp_path/'films'/'raining').mkdir(parents=True)
    x, n = pictures(3, 2.), 16
    with av.open(str(tmp_path / 'films' / 'raining' / 'phone.mp4'), 'w') as c:
        v, a = c.add_stream('libx264', rate=30), c.add_stream('aac', rate=RATE, layout='mono')
        v.width = v.height = 32
        v.pix_fmt = 'yuv420p'
        v.codec_context.time_base = Fraction(1, 1000)
        times = np.sort(np.concatenate([[0], np.random.default_rng(0).integers(1, 2000, n - 1)]))
        for t, f in zip(times, x):
            f = av.VideoFrame.from_ndarray(f, format='rgb24')
            f.pts, f.time_base = int(t), Fraction(1, 1000)
            c.mux(v.encode(f))
        c.mux(v.encode(None))
        f = av.AudioFrame.from_ndarray(noise(3, 2.0).numpy(), format='fltp', layout='mono')
        f.sample_rate, f.pts = RATE, 0
        c.mux(a.encode(f))
        c.mux(a.encode(None))
    report = curate(tmp_path/'films', tmp_path/'out', **ASK)
    assert [probe(tmp_path / 'out' / c['clip']).frames for c in report.clips] == [FPS] * len(report.clips) and len(
        report.clips
    ) >= 1

def test_sounds_of_any_rate_and_channels(tmp_path):
    for k, (rate, channels) in enumerate([(44100, 2), (11025, 1), (48000, 6)]):
        film(tmp_path / 'films' / 'raining' / f'{k}.mp4', k, 1.0, rate=rate, channels=channels)
    report = curate(tmp_path/'films', tmp_path/'out', **ASK)
    assert [
        (probe(tmp_path / 'out' / c['clip']).rate, probe(tmp_path / 'out' / c['clip']).channels) for c in report.clips
    ] == [(RATE, 2), (RATE, 1), (RATE, 6)]

# --- what is left out

def test_every_reason(tmp_path):
    d = tmp_path / 'films' / 'raining'
    film(d / 'good.mp4', 1)
    film(d / 'mute.mp4', 2, sound=False)
    film(d / 'brief.mp4', 3, 0.6)
    film(d / 'faint.mp4', 4, 1.0, loud=2e-4)
    write_video(d / 'still.mp4', np.repeat(pictures(5, 1.0)[:1], 8, 0), FPS, (noise(5, 1.0), RATE))
    write_video(d / 'deaf.mp4', pictures(6, 3.0), FPS, None)
    (d / 'half.mp4').write_bytes((b := film(tmp_path / 'b.mp4', 7, 6.0).read_bytes())[: len(b) * 2 // 3])
    (d / 'empty.mp4').touch()
    (d / 'bytes.mkv').write_bytes(np.random.default_rng(0).bytes(5000))
    report = curate(tmp_path / 'films', tmp_path / 'out', **ASK)
    found = reasons(report)
    assert {
        k: found[k, t]
        for k, t in [
            ('mute.mp4', None),
            ('deaf.mp4', None),
            ('brief.mp4', 0.0),
            ('faint.mp4', 0.0),
            ('still.mp4', 0.0),
            ('empty.mp4', None),
            ('bytes.mkv', None),
        ]
    } == {
        'mute.mp4': 'no sound',
        'deaf.mp4': 'no sound',
        'brief.mp4': 'too short',
        'faint.mp4': 'silent',
        'still.mp4': 'static',
        'empty.mp4': 'damaged',
        'bytes.mkv': 'damaged',
    }
    clips = [Path(c['clip']).name for c in report.clips]
    assert (
        [c for c in clips if c.startswith('good')] == [f'good_{k}.mp4' for k in range(3)]
        and 'half_0.mp4' in clips
        and found['half.mp4', 5.0] == 'damaged'
    )
    assert all('\n' not in d.detail and str(tmp_path) not in d.detail for d in report.dropped)

def test_damage_in_the_middle_costs_its_seconds_only(tmp_path):
    data = bytearray((path := film(tmp_path/'films'/'raining'/'a.mp4', 1, 6.)).read_bytes())
    for at in range(int(.35*len(data)), len(data)//2): data[at] = 7 * at % 251
    path.write_bytes(data)
    report = curate(tmp_path/'films', tmp_path/'out', **ASK)
    lost = [d.start for d in report.dropped]
    assert (
        lost
        and {d.reason for d in report.dropped} == {'damaged'}
        and set(lost) <= {1.0, 2.0, 3.0}
        and len(report.clips) == 6 - len(lost)
    )

def test_nothing_usable_is_said_in_one_line(tmp_path):
    film(tmp_path/'films'/'raining'/'mute.mp4', sound=False)
    with pytest.raises(UserError, match='1 no sound') as e: curate(tmp_path/'films', tmp_path/'out', **ASK)
    assert '\n' not in str(e.value)

def test_copies_are_found_by_content(tmp_path):
    d = tmp_path / 'films'
    film(d / 'raining' / 'a.mp4', 1)
    (d / 'thunder').mkdir()
    write_video(
        d / 'thunder' / 'b.webm', pictures(1, 3.0, 48, 48), FPS, (0.3 * noise(1, 3.0).repeat(2, 1), RATE)
    )  # another size, codec, class, volume
    write_video(
        d / 'raining' / 'c.mp4', pictures(1, 3.0), FPS, (noise(2, 3.0), RATE)
    )  # the same pictures with another sound
    write_video(
        d / 'raining' / 'd.mp4', pictures(3, 3.0), FPS, (noise(1, 3.0), RATE)
    )  # the same sound with other pictures
    write_video(
        d / 'raining' / 'loop.mp4', np.tile(pictures(4, 1.0), (3, 1, 1, 1)), FPS, (noise(4, 1.0).repeat(1, 3), RATE)
    )
    found = reasons(curate(d, tmp_path / 'out', **ASK))
    assert found == {
        **{('b.webm', float(k)): 'duplicate' for k in range(3)},
        **{('loop.mp4', float(k)): 'duplicate' for k in (1, 2)},
    }
    assert not (tmp_path / 'out' / 'thunder').exists()

def test_a_copy_follows_its_film_into_its_set(tmp_path):
    d = tmp_path/'films'
    for i in range(12): film(d/'raining'/f'{i}.mp4', i, 2.)
    x, y = np.concatenate([pictures(0, 2.), pictures(50, 2.)]), torch.cat([noise(0, 2.), noise(50, 2.)], 1)
    write_video(d/'raining'/'longer.mp4', x, FPS, (y, RATE))
    report = curate(d, tmp_path/'out', **ASK)
    sets = {Path(c['clip']).stem: c['set'] for c in report.clips}
    assert sets['longer_2'] == sets['longer_3'] == sets['0_0'] and 'longer_0' not in sets

# --- manifests

def test_manifest(tmp_path):
    d = tmp_path / 'set'
    film(d / 'uncut.mp4', 1, 5.0)
    film(d / 'raining' / 'cutalready-_30.mp4', 2, 1.0)
    manifest(
        d / 'list.csv',
        'uncut,1,raining,train',
        'uncut,3,thunder,test',
        'uncut,1,raining,train',
        'uncut,60,raining,train',
        'cutalready-,30,raining,val',
        'lost,0,raining,train',
    )
    report = curate(d / 'list.csv', tmp_path / 'out', **ASK)
    assert rows(tmp_path / 'out') == [
        ('cutalready-', '30', 'raining', 'valid'),
        ('uncut', '1', 'raining', 'train'),
        ('uncut', '3', 'thunder', 'train'),
    ]
    assert report.moved == 1 and reasons(report) == {
        ('uncut', 1.0): 'duplicate',
        ('uncut.mp4', 60.0): 'too short',
        ('lost', 0.0): 'missing',
    }
    assert (
        apart(
            read_frames(d / 'uncut.mp4', start=3, seconds=1.0),
            read_frames(tmp_path / 'out' / 'thunder' / 'uncut_3.mp4'),
        )
        < 12
    )
    assert sorted((f.label, f.split, f.start) for f in find_clips(tmp_path / 'out')) == [
        ('raining', 'train', 0.0),
        ('raining', 'valid', 0.0),
        ('thunder', 'train', 0.0),
    ]

def test_clips_beside_their_manifest_are_not_taken_for_videos(tmp_path):
    film(tmp_path/'uncut.mp4', 1, 3.)
    manifest(tmp_path/'list.csv', 'uncut,1,raining,train', 'uncut,2,raining,train')
    for _ in range(2): assert len(curate(tmp_path/'list.csv', tmp_path/'clips', **ASK).clips) == 2

@pytest.mark.parametrize('label', ['../out', '/etc', '.hidden', 'a\\b', '/m/068hy,/m/07q6cd_', '..', 'x'*300])
def test_a_class_that_would_lead_elsewhere_does_not(tmp_path, label):
    film(tmp_path/'set'/'a.mp4', 1)
    manifest(tmp_path/'set'/'list.csv', f'a,0,"{label}",train')
    before = {p for p in tmp_path.rglob('*')}
    report = curate(tmp_path/'set', tmp_path/'out', **ASK)
    assert [c['class'] for c in report.clips] == [label] and all(
        tmp_path / 'out' in (p, *p.parents) for p in {*tmp_path.rglob('*')} - before
    )
    folders = [p for p in (tmp_path/'out').iterdir() if p.is_dir() and p.name != '.curate']
    assert (
        len(folders) == 1
        and [f.label for f in find_clips(tmp_path / 'out')] == [label]
        and len(check_folder(tmp_path / 'out').good) == 1
    )

def test_published_lists_are_cut(tmp_path):
    d = tmp_path/'set'
    for name, seed in (('-0123456789', 1), ('-012345678a_20000_21000', 2), ('-012345678b_000030', 3)):
        film(d / f'{name}.mp4', seed, 2.0)
    (d / 'segments.csv').write_text(
        '# YTID, start_seconds, end_seconds, positive_labels\n-0123456789, 1.000, 11.000, "/m/1,/m/2"\n-0123456789,'
        ' 0.000, 10.000, "/m/1,/m/2"\n-012345678a, 20.000, 30.000, "/m/1,/m/2"\n-012345678b, 30.000, 40.000,'
        ' "/m/1,/m/2"\n'
    )
    report = curate(d, tmp_path/'out', **ASK)
    assert sorted(r[:3] for r in rows(tmp_path / 'out')) == [
        (n, s, '/m/1,/m/2')
        for n, s in (('-0123456789', '0'), ('-0123456789', '1'), ('-012345678a', '20'), ('-012345678b', '30'))
    ]
    assert (
        len({r[3] for r in rows(tmp_path / 'out') if r[0] == '-0123456789'}) == 1
        and not report.dropped
        and not report.passed
    )

@pytest.mark.parametrize('piece', ['{}_{}', '{}_{:06d}', '{}_{}000_{}000'])
def test_pieces_that_were_cut_before_stay_together(piece):
    def stretch(name): return Stretch(Path(f'{name}.mp4'), name, 'thunder', 0., '0', (1., 1.), (0, 0))
    pieces = [stretch(piece.format(f'film-{i:06d}', s, s + 10)) for i in range(20) for s in (0, 10, 30)]
    found = {}
    for s, split in zip(pieces, assign_splits(pieces, [])): found.setdefault(s.name[:11], set()).add(split)
    assert (
        len(found) == 20
        and all(len(s) == 1 for s in found.values())
        and set.union(*found.values()) == {'train', 'valid', 'test'}
    )

def test_what_was_not_looked_at_is_said(tmp_path, capsys):
    d = tmp_path / 'films'
    film(d / 'raining' / 'a.mp4', 1).rename(d / 'raining' / 'a.camcorder')
    film(d / 'raining' / 'deep' / 'b.mp4', 2)
    film(d / 'c.mp4', 3)
    (d / 'raining' / 'notes.txt').write_text('rain')
    report = curate(d, tmp_path / 'out', **ASK)
    assert len(report.clips) == 3 and {p.name: why for p, why in report.passed} == {
        'b.mp4': 'lies deeper than class name/clip',
        'c.mp4': 'lies beside the folders of classes',
        'notes.txt': 'is neither a sound, nor a video, nor a picture that can be read',
    }
    assert (
        '3 things' in str(report)
        and len(json.loads((tmp_path / 'out' / 'report.json').read_text())['passed_over']) == 3
    )

# --- fetching

class FakeYtDlp(ModuleType):
    "What we use of yt-dlp's Python interface."
    def __init__(self, videos):
        super().__init__('yt_dlp')
        self.videos, self.asked, self.utils = videos, [], ModuleType('yt_dlp.utils')
        class DownloadError(Exception): pass
        self.utils.DownloadError = DownloadError
        module = self
        class YoutubeDL:
            def __init__(self, options): self.options = options
            def __enter__(self): return self
            def __exit__(self, *a): pass
            def download(self, urls):
                for url in urls:
                    ytid = url.split('v=')[1]
                    module.asked.append(ytid)
                    if ytid not in module.videos: raise DownloadError(f'ERROR: [youtube] {ytid}:\nVideo unavailable')
                    Path(self.options['outtmpl'] % dict(id=ytid, ext='mp4')).write_bytes(module.videos[ytid])
        self.YoutubeDL = YoutubeDL

def test_fetching(tmp_path, monkeypatch):
    d = tmp_path/'set'
    film(d/'abcdefghij0.mp4', 1)
    fake = FakeYtDlp({'abcdefghij1': film(tmp_path/'v.mp4', 2).read_bytes()})
    monkeypatch.setitem(sys.modules, 'yt_dlp', fake)
    manifest(
        d / 'list.csv',
        'abcdefghij0,0,raining,train',
        'abcdefghij1,1,raining,test',
        'abcdefghij2,0,raining,train',
        '--exec=evil,0,raining,train',
    )
    for asked in (
        ['abcdefghij1', 'abcdefghij2'],
        ['abcdefghij1', 'abcdefghij2', 'abcdefghij2'],
    ):  # what is there is not fetched again
        report = curate(d, tmp_path/'out', **ASK, fetch=tmp_path/'cache')
        assert fake.asked == asked and [r[:2] for r in rows(tmp_path / 'out')] == [
            ('abcdefghij0', '0'),
            ('abcdefghij1', '1'),
        ]
    details = {d.source: d.detail for d in report.dropped}
    assert (
        'Video unavailable' in details['abcdefghij2']
        and '\n' not in details['abcdefghij2']
        and 'no id' in details['--exec=evil']
    )

def test_without_yt_dlp(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'yt_dlp', None)
    manifest(tmp_path/'list.csv', 'abcdefghij0,0,raining,train')
    with pytest.raises(UserError, match='pip install yt-dlp'):
        curate(tmp_path / 'list.csv', tmp_path / 'out', **ASK, fetch=tmp_path / 'cache')
    assert not (tmp_path/'out').exists() and not (tmp_path/'cache').exists()

# --- again, and after a kill

def test_a_second_run_makes_the_same_bytes(films, whole): # several processes: test_bulk.py
    out, _ = whole
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob('*.mp4')}
    before = contents(out)
    curate(films, out, **ASK)
    assert contents(out) == before and {p: p.stat().st_mtime_ns for p in out.rglob('*.mp4')} == stamps

def _victim(films, out):
    torch.set_num_threads(1)
    curate(films, out, **ASK)

def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(films, whole, tmp_path):
    out, rng, left = tmp_path/'out', random.Random(0), []
    start = time.perf_counter(); curate(films, tmp_path/'timed', **ASK); took = time.perf_counter() - start
    for _ in range(6):
        p = multiprocessing.get_context('fork').Process(target=_victim, args=(films, out))
        p.start(); time.sleep(rng.uniform(.02, .35) * took); p.kill(); p.join()
        assert p.exitcode in (-signal.SIGKILL, 0)
        left.append(p.exitcode)
        for f in out.glob('*/*.mp4'): assert probe(f).frames == FPS # whole or absent
    assert -signal.SIGKILL in left
    curate(films, out, **ASK)
    assert contents(out) == contents(whole[0])

def test_a_killed_command_leaves_no_process_behind(films, whole, tmp_path):
    words = [
        sys.executable,
        '-m',
        'sound_video',
        'data',
        'curate',
        str(films),
        str(tmp_path / 'out'),
        '--seconds',
        '1',
        '--size',
        str(SIZE),
        '--fps',
        str(FPS),
        '--rate',
        str(RATE),
    ]
    p = subprocess.Popen([*words, '--workers', '2'], env=ENV, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while p.poll() is None and not list(tmp_path.glob('out/*/*.mp4')):
        time.sleep(0.01)
    p.kill()
    p.wait()

    def alive():
        try:
            os.killpg(p.pid, 0)
        except ProcessLookupError:
            return False
        return True

    until = time.time() + 20
    while alive() and time.time() < until:
        time.sleep(0.05)
    assert not alive()
    curate(films, tmp_path / 'out', **ASK)
    assert contents(tmp_path / 'out') == contents(whole[0])

def test_films_that_change_come_and_go(tmp_path):
    d, out = tmp_path / 'films', tmp_path / 'out'
    for i in range(3):
        film(d / 'raining' / f'{i}.mp4', i, 2.0)
    film(d / 'thunder' / 'copy.mp4', 0, 2.0)
    curate(d, out, **ASK)
    (out / 'raining' / 'mine.txt').write_text('a note')
    stamp = (out / 'raining' / '1_0.mp4').stat().st_mtime_ns
    film(d / 'raining' / '2.mp4', 7, 1.0)
    (d / 'raining' / '0.mp4').unlink()
    report = curate(d, out, **ASK)
    assert sorted(c['clip'] for c in report.clips) == [
        'raining/1_0.mp4',
        'raining/1_1.mp4',
        'raining/2_0.mp4',
        'thunder/copy_0.mp4',
        'thunder/copy_1.mp4',
    ]
    assert sorted(p.relative_to(out).as_posix() for p in out.glob('*/*.mp4')) == sorted(c['clip'] for c in report.clips)
    assert (out / 'raining' / '1_0.mp4').stat().st_mtime_ns == stamp and (out / 'raining' / 'mine.txt').exists()
    (out / 'raining' / '1_0.mp4').unlink()
    curate(d, out, **ASK)
    assert (out / 'raining' / '1_0.mp4').exists()

def test_other_settings_make_other_clips(tmp_path):
    film(tmp_path/'films'/'raining'/'a.mp4', 1, 2.)
    for size in (32, 48):
        report = curate(tmp_path/'films', tmp_path/'out', **ASK | dict(size=size))
        assert {probe(tmp_path/'out'/c['clip']).size for c in report.clips} == {(size, size)}

def test_a_full_disk_is_no_fault_of_the_film(tmp_path, monkeypatch):
    film(tmp_path/'films'/'raining'/'a.mp4', 1, 1.)
    def full(*a): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(curation, 'write_movie', full)
    with pytest.raises(UserError, match='free some space'): curate(tmp_path/'films', tmp_path/'out', **ASK)
    monkeypatch.undo()
    assert len(curate(tmp_path/'films', tmp_path/'out', **ASK).clips) == 1

def test_names_that_meet(tmp_path):
    d = tmp_path/'films'/'raining'
    for k, name in enumerate(('a.mp4', 'other.mp4', 'ä, b.mp4', '-c.mp4')): film(d/name, k, 1.)
    (d/'other.mp4').rename(d/'a.mkv') # FFmpeg looks inside
    report = curate(tmp_path/'films', tmp_path/'out', **ASK)
    assert sorted(Path(c['clip']).name for c in report.clips) == [
        '-c_0.mp4',
        'a.mkv_0.mp4',
        'a.mp4_0.mp4',
        'ä, b_0.mp4',
    ]
    assert len(find_clips(tmp_path/'out')) == 4

# --- for training

def test_windows_of_clips_are_parts_of_them(whole):
    out, _ = whole
    files = check_folder(out).good
    ds = FolderClips(files, ['raining', 'thunder'], seconds=.5, fps=FPS, size=SIZE, rate=RATE, train=True)
    frames, sound, label = ds[3]
    assert (
        frames.shape == (4, 3, SIZE, SIZE) and sound.shape == (1, RATE // 2) and ds.vocab[int(label)] == files[3].label
    )

def test_mels_on_disk_survive_an_interruption_and_follow_their_files(whole, tmp_path, monkeypatch):
    from sound_video.hearing import alignment as hearing
    from sound_video.hearing.features import MelConfig
    from sound_video.hearing.encoder import EncoderConfig
    files = check_folder(whole[0]).good
    cfg = EncoderConfig(MelConfig(RATE, 512, 128, 32, 50., 4000.), seconds=.5)
    sounds = hearing.FolderSounds(files * 3, ['raining', 'thunder'], cfg.seconds, RATE)
    want, real, calls, parts = hearing.guises(sounds, cfg, 2), hearing._dressed, [], tmp_path/'parts'
    parts.mkdir()
    def interrupted(sounds, cfg, mel, takes, seed, idxs):
        calls.append(idxs[0])
        if idxs[0] == 36: raise KeyboardInterrupt
        return real(sounds, cfg, mel, takes, seed, idxs)
    monkeypatch.setattr(hearing, '_dressed', interrupted)
    with pytest.raises(KeyboardInterrupt): hearing.guises(sounds, cfg, 2, parts=parts)
    done = {int(p.stem) for p in parts.glob('*.npy')}
    assert {0, 18} <= done and 36 not in done and not list(parts.glob('.*'))
    monkeypatch.setattr(hearing, '_dressed', lambda *a: calls.append(a[-1][0]) or real(*a))
    calls.clear()
    assert torch.equal(hearing.guises(sounds, cfg, 2, parts=parts), want) and not done & set(calls)
    key, stamp = hearing._key(sounds, 'train', cfg, 2, 0), files[-1].path.stat()
    os.utime(files[-1].path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert hearing._key(sounds, 'train', cfg, 2, 0) != key
    os.utime(files[-1].path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert hearing._key(sounds, 'train', cfg, 2, 0) == key
