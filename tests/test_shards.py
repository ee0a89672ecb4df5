"Shards: the same samples as from folders, from servers that break, with damage and malice in them; written once."
import json, os, pickle, re, sys, tarfile, threading, zlib
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
import fsspec, numpy as np, pytest, torch
from sound_video.app import cli
from sound_video.app.evaluation import _clips
from sound_video.core.errors import UserError
from sound_video.data.clips import StillLoader, StreamedStills, clip_dls, find_clips, still_dls, usable_clips
from sound_video.data.images import ImageSet
from sound_video.data.sharding import write_shards
from sound_video.media import shards as reading
from sound_video.media.images import write_image
from sound_video.media.shards import INDEX, Damaged, Unreachable, find_samples, read_samples
from test_dataset import make_clip

ASKED = dict(seconds=1., fps=8, size=32, rate=8000, bs=4, device='cpu')
STILLS = dict(size=16, bs=4, n_valid=4, device='cpu')

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "Clips with a manifest, pictures, and shards of both."
    pytest.importorskip('webdataset')
    d, rng = tmp_path_factory.mktemp('shards'), np.random.default_rng(0)
    rows = []
    for k in range(10):
        ytid, start, label = f'film{k // 2:07d}', 10 * (k % 2), ('raining', 'thunder')[k // 2 % 2]
        make_clip(d/'clips'/f'{ytid}_{start}.mp4', loud=.1 + .05 * k)
        rows.append(f'{ytid},{start},{label},{"valid" if k > 7 else "train"}')
    (d/'clips'/'manifest.csv').write_text('\n'.join(['ytid,start_time,class,set', *rows]))
    for k in range(40):
        (d/'pictures'/'ab'[k % 2]).mkdir(parents=True, exist_ok=True)
        write_image(d/'pictures'/'ab'[k % 2]/f'{k}.png', rng.integers(0, 255, (20, 24, 3), np.uint8))
    write_shards(d/'clips', d/'packed clips'/'{000..}.tar', max_count=4)
    write_shards(d/'pictures', d/'packed pictures'/'{0..}.tar', max_count=15)
    return d

def same(a, b): # loaders
    for x, y in zip(a, b, strict=True):
        for s, t in zip(x, y, strict=True): assert torch.equal(s, t)

def copied(folder, to):
    to.mkdir()
    for p in folder.iterdir(): (to/p.name).write_bytes(p.read_bytes())
    return to

# --- the same samples

def test_clips_are_those_of_the_folder(place):
    there, here = (clip_dls(place/n, **ASKED) for n in ('clips', 'packed clips'))
    same(there.train, here.train); same(there.valid, here.valid)
    for a, b in zip(find_clips(place/'clips'), find_clips(place/'packed clips'), strict=True):
        assert (a.label, a.split, a.film, a.path.name) == (b.label, b.split, b.film, b.path.name)
        assert b.sample.facts.items() >= a.row.items() | {('class', a.label), ('set', a.split)}
    stills = [still_dls(place/n, n=12, n_valid=4, size=16, bs=4, device='cpu') for n in ('clips', 'packed clips')]
    same(stills[0].train, stills[1].train); same(stills[0].valid, stills[1].valid)

def test_pictures_are_those_of_the_folder_kept_or_not(place, tmp_path):
    there, here = still_dls(place/'pictures', **STILLS), still_dls(place/'packed pictures', **STILLS, cache=tmp_path)
    same(there.train, here.train); same(there.valid, here.valid)
    assert here.vocab == ['a', 'b'] and len(list(tmp_path.iterdir())) == 2
    streamed = still_dls(f"{place}/packed pictures/{{0..2}}.tar", **STILLS, cache=False, mirror=True)
    same(still_dls(place/'pictures', **STILLS, mirror=True).train, streamed.train)
    assert isinstance(streamed.train.dataset, StreamedStills)

def test_tests_measure_the_same(place):
    films = [_clips(place/n, 'valid', 5, 1., 8, 32, ['raining', 'thunder']) for n in ('clips', 'packed clips')]
    assert len(films[0]) == 2
    for i in range(2):
        for x, y in zip(films[0][i], films[1][i]): assert torch.equal(x, y)

def test_other_places(place):
    for p in (place/'packed clips').iterdir():
        with fsspec.open(f'memory://elsewhere/{p.name}', 'wb') as f: f.write(p.read_bytes())
    same(clip_dls(place/'clips', **ASKED).valid, clip_dls('memory://elsewhere', **ASKED).valid)
    assert len(find_samples('memory://elsewhere/*.tar', [])) == 10

@pytest.mark.parametrize('address, package', [('s3://bucket/{0..1}.tar', 's3fs'),
    ('hf://datasets/a/b', 'huggingface_hub'), ('http://127.0.0.1/0.tar', 'aiohttp')])
def test_missing_packages_are_named(address, package, monkeypatch, capsys):
    for module in [m for m in sys.modules if m.split('.')[0] in (package, 'fsspec') and 'implementations' in m]:
        monkeypatch.delitem(sys.modules, module)
    known = sys.modules['fsspec.registry']._registry
    for protocol in ('s3', 'hf', 'http'): monkeypatch.delitem(known, protocol, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(['data', 'check', address]) == 2
    said = capsys.readouterr().err
    assert package in said and len(said.splitlines()) == 1

# --- who reads what, and going on

def test_workers_and_processes_read_each_sample_once(place):
    dls = still_dls(place/'packed pictures', **STILLS, cache=False)
    names = lambda idxs: sorted(dls.train.dataset.pictures[i].name for i in idxs)
    order = dls.train.get_idxs()
    assert names(order) == sorted(p.name for p in dls.train.dataset.pictures)
    whole = list(dls.train.new(num_workers=0))
    same(whole, dls.train.new(num_workers=2))
    class Share(StillLoader): pass
    halves = []
    for i in range(2):
        loader = dls.train.new(cls=Share)
        loader.share = i, 2
        halves.append(list(loader))
    for (x, y), (a, _), (b, _) in zip(whole, *halves):
        assert torch.equal(x[::2], a) and torch.equal(x[1::2], b)

@pytest.mark.parametrize('workers', [0, 2])
def test_an_epoch_goes_on_in_its_middle(place, workers):
    dls = clip_dls(place/'packed clips', **ASKED | dict(bs=2), num_workers=workers)
    list(dls.train)
    whole = list(dls.train) # the second epoch
    again = clip_dls(place/'packed clips', **ASKED | dict(bs=2), num_workers=workers)
    again.train.set_epoch(**json.loads(json.dumps(dls.train.state_after(2))))
    again.train.one_batch() # a look changes nothing
    same(whole[2:], again.train)
    assert again.train.epoch == 2

# --- damage

def spoil(folder, name): # of a sample, three bytes of which are changed
    s = next(s for s in find_samples(folder, []) if s.name.endswith(name))
    data, at = s.bytes(), s.size // 2
    with open(s.shard, 'r+b') as f: f.seek(s.offset + at); f.write(bytes(255 - b for b in data[at:at + 3]))

def test_damaged_members_are_named_counted_and_skipped(place, tmp_path, capsys):
    clips, pictures = (copied(place/f'packed {n}', tmp_path/n) for n in ('clips', 'pictures'))
    spoil(clips, 'film0000001_10.mp4'); spoil(pictures, 'a/0.png')
    assert sum(len(b[2]) for b in clip_dls(clips, **ASKED | dict(bs=1)).train) == 7
    assert 'skipped 000.tar/clips/film0000001_10.mp4: its bytes' in capsys.readouterr().err
    dls = still_dls(pictures, **STILLS)
    assert len(dls.train.dataset) + len(dls.valid.dataset) == 39 and 'left out a/0.png' in capsys.readouterr().err
    streamed = still_dls(pictures, **STILLS, cache=False)
    n = sum(len(y) for _, y in [*streamed.train, *streamed.valid])
    said = capsys.readouterr().err
    assert n == 40 and 'skipped a/0.png' in said and '1 pictures so far' in said
    assert cli.main(['data', 'check', str(pictures)]) == 1 and '39 good pictures, 1 that' in capsys.readouterr().out
    assert cli.main(['data', 'check', str(clips), '--json']) == 1
    assert [b['path'] for b in json.loads(capsys.readouterr().out)['bad']] == ['000.tar/clips/film0000001_10.mp4']

@pytest.mark.parametrize('index', [True, False])
def test_a_shard_that_breaks_off_gives_what_is_before(place, tmp_path, index, capsys):
    d = copied(place/'packed pictures', tmp_path/'p')
    if not index: (d/INDEX).unlink()
    samples = [s for s in find_samples(d, []) if s.shard.endswith('/1.tar')]
    os.truncate(d/'1.tar', samples[5].offset + 10)
    found = read_samples(find_samples(d, passed := []))
    bad = [x for x in found if isinstance(x, Damaged)]
    assert (len(found), len(bad)) == ((40, 10) if index else (31, 1)) and bool(passed) == (not index)
    ps = ImageSet(d)
    assert sum(isinstance(x, str) for _, x in ps.stream(ps.pictures)) == len(bad)

def test_all_damaged_is_an_error(place, tmp_path):
    d = copied(place/'packed pictures', tmp_path/'p')
    for p in d.glob('*.tar'): os.truncate(p, 0)
    with pytest.raises(UserError, match='can be read'): still_dls(d, **STILLS)
    with pytest.raises(UserError, match='can be read'): list(still_dls(d, **STILLS, cache=False).train)
    (d/INDEX).unlink()
    with pytest.raises(UserError, match='no clips and no pictures'): ImageSet(d)

# --- malice

class Runs:
    def __reduce__(self): return os.mkdir, ('executed',)

def test_nothing_in_a_shard_is_executed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(Runs(), 'a.pth')
    hostile = pickle.dumps(Runs())
    write_image('p.png', np.zeros((8, 8, 3), np.uint8))
    whole = Path('p.png').read_bytes()
    members = {'a.png': whole, 'a.pyd': hostile, 'a.pkl': hostile, 'a.pth': Path('a.pth').read_bytes(),
        'b.png': hostile, 'c.json': hostile, '../../d.png': whole, 'e.npy': b'', '__pyd__.pyd': hostile}
    with tarfile.open('x.tar', 'w') as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name); info.size = len(data)
            tar.addfile(info, BytesIO(data))
        link = tarfile.TarInfo('f.png'); link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        tar.addfile(link)
    before = sorted(tmp_path.rglob('*'))
    assert cli.main(['data', 'check', 'x.tar']) == 1
    said = capsys.readouterr().out
    assert '2 good pictures, 1 that cannot be used' in said and '6 things' in said
    assert sorted(tmp_path.rglob('*')) == before and not Path('executed').exists()

@pytest.mark.parametrize('lie', [
    lambda i: i['shards'][0].update(name='../secret.tar'), lambda i: i['shards'][0]['samples'][0].__setitem__(2, -1),
    lambda i: i['shards'][0]['samples'][0].__setitem__(3, 10**12), lambda i: i['shards'][0]['samples'][0].pop(),
    lambda i: i['shards'][0]['samples'][0].__setitem__(1, '.pyd'), lambda i: i.clear()])
def test_an_index_that_lies_is_refused(place, tmp_path, lie):
    d = copied(place/'packed pictures', tmp_path/'p')
    index = json.loads((d/INDEX).read_text())
    lie(index)
    (d/INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match='is no index of shards'): ImageSet(d)

# --- servers

class Server(BaseHTTPRequestHandler):
    "A folder over HTTP, that breaks off answers, knows no ranges, or is down, as it is told."
    protocol_version = 'HTTP/1.1'
    folder, every, ranges, down, seen = None, 0, True, False, []

    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def answer(self, body):
        cls, path = type(self), self.folder/Path(self.path).name
        cls.seen.append((self.path, self.headers.get('Range')))
        if cls.down or not path.is_file(): return self.send_error(503 if cls.down else 404)
        data, span = path.read_bytes(), re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range') or '')
        first, last = (int(span[1]), int(span[2] or len(data) - 1)) if span and cls.ranges else (0, len(data) - 1)
        part = data[first:last + 1]
        self.send_response(206 if span and cls.ranges else 200)
        if span and cls.ranges: self.send_header('Content-Range', f'bytes {first}-{last}/{len(data)}')
        if cls.ranges: self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(len(part)))
        self.end_headers()
        broken = cls.every and len(cls.seen) % cls.every == 0
        if body: self.wfile.write(part[:len(part) // 2] if broken else part)
        if broken: self.close_connection = True
    def log_message(self, *args): pass

@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(reading, '_WAITS', [.01] * 6)
    servers = []
    def start(folder, **how):
        handler = type('Handler', (Server,), dict(folder=folder, seen=[]) | how)
        servers.append(server := ThreadingHTTPServer(('127.0.0.1', 0), handler))
        threading.Thread(target=partial(server.serve_forever, .05), daemon=True).start()
        return f'http://127.0.0.1:{server.server_port}', handler
    yield start
    for s in servers: s.shutdown(); s.server_close()

@pytest.mark.parametrize('how', [dict(every=3), dict(ranges=False), dict(ranges=False, every=4)])
def test_a_server_that_breaks_gives_the_same(place, serve, how):
    address, handler = serve(place/'packed clips', **how)
    same(clip_dls(place/'clips', **ASKED).train, clip_dls(address + '/{000..002}.tar', **ASKED).train)
    assert len(handler.seen) >= 9
    address, handler = serve(place/'packed pictures', **how)
    same(still_dls(place/'pictures', **STILLS).train, still_dls(address, **STILLS).train)

def test_neighbours_come_with_one_request(place, serve):
    address, handler = serve(place/'packed pictures')
    still_dls(address, **STILLS)
    spans = [span for path, span in handler.seen if path.endswith('.tar')]
    assert all(spans) and len(spans) < 20 # 40 pictures

def test_shards_without_an_index_are_scanned(place, serve, tmp_path):
    d = copied(place/'packed clips', tmp_path/'c')
    (d/INDEX).unlink()
    address, _ = serve(d)
    assert [s.facts for s in find_samples(address + '/{000..002}.tar', [])] == [
        s.facts for s in find_samples(place/'packed clips', [])]

@pytest.mark.parametrize('load', [
    lambda a: list(clip_dls(a, **ASKED).train), lambda a: list(usable_clips(a, 1.)[0]['train'][0].here().__enter__())])
def test_a_server_that_is_gone_ends_the_work(place, serve, load):
    address, handler = serve(place/'packed clips')
    dls = clip_dls(address, **ASKED)
    handler.down = True
    with pytest.raises(Unreachable, match='cannot be fetched, in 7 tries'): list(dls.train)
    with pytest.raises(UserError): load(address)

def test_what_is_not_there_is_said(place, serve, capsys):
    address, handler = serve(place/'packed clips')
    assert cli.main(['data', 'check', address + '/{7..8}.tar']) == 2
    assert 'is not there' in capsys.readouterr().err
    handler.down = True
    assert cli.main(['train', '--out', 'never', '--data', address, 'stylegan']) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not Path('never').exists()

# --- writing

def test_an_interrupted_run_goes_on_to_the_same_bytes(place, tmp_path):
    d = copied(place/'packed clips', tmp_path/'c')
    (d/'001.tar').unlink(); (d/INDEX).unlink()
    assert write_shards(place/'clips', d/'{000..}.tar', max_count=4).kept == 2
    assert {p.name: p.read_bytes() for p in d.iterdir()} == {
        p.name: p.read_bytes() for p in (place/'packed clips').iterdir()}

@pytest.mark.parametrize('spoilt', ['changed', 'cut', 'more'])
def test_other_shards_are_not_touched(place, tmp_path, spoilt):
    d = copied(place/'packed clips', tmp_path/'c')
    if spoilt == 'changed': (d/'000.tar').write_bytes((d/'001.tar').read_bytes())
    elif spoilt == 'cut': os.truncate(d/'001.tar', 3000)
    else: (d/'003.tar').write_bytes(b'')
    before = {p.name: p.read_bytes() for p in d.iterdir()}
    with pytest.raises(UserError, match='something else|none of these'):
        write_shards(place/'clips', d/'{000..}.tar', max_count=4)
    assert {p.name: p.read_bytes() for p in d.iterdir()} == before

def test_sizes_order_and_sums(place):
    samples = find_samples(place/'packed clips', [])
    assert [s.key for s in samples] == [f'{k:08d}' for k in range(10)]
    assert [s.facts['film'] for s in samples] == [f'film{k // 2:07d}' for k in range(10)]
    assert all(zlib.crc32(s.bytes()) == s.facts['crc32'] for s in samples)
    assert not any(str(place) in json.dumps(s.facts) for s in samples) # nothing of this machine

def test_what_is_left_out_is_named(place, tmp_path, capsys):
    (tmp_path/'clips'/'raining').mkdir(parents=True)
    for k in range(3): make_clip(tmp_path/'clips'/'raining'/f'{k}.mp4')
    make_clip(tmp_path/'clips'/'raining'/'quiet.mp4', loud=0.)
    assert cli.main(['data', 'shard', str(tmp_path/'clips'), '-o', str(tmp_path/'{0..}.tar')]) == 1
    said = capsys.readouterr().out
    assert '3 samples' in said and 'quiet.mp4: is silent' in said and (tmp_path/'0.tar').exists()

@pytest.mark.parametrize('out, tells', [('out.tar', 'is no pattern'), ('a/{0..}.zip', 'is no pattern'),
    ('s3://b/{0..}.tar', 'written to a disk'), ('no/such/{0..}.tar', 'cannot write')])
def test_wrong_places(place, tmp_path, monkeypatch, capsys, out, tells):
    monkeypatch.chdir(tmp_path)
    assert cli.main(['data', 'shard', str(place/'pictures'), '-o', out]) == 2
    said = capsys.readouterr().err
    assert tells in said and len(said.splitlines()) == 1 and not list(tmp_path.iterdir())

def test_pieces_of_films_are_cut_first(place, tmp_path):
    make_clip(tmp_path/'films'/'film.mp4', 3.)
    (tmp_path/'films'/'manifest.csv').write_text('ytid,start_time,class,set\nfilm,0,a,train\nfilm,1,a,valid\n')
    with pytest.raises(UserError, match='data curate'): write_shards(tmp_path/'films', tmp_path/'{0..}.tar')
    with pytest.raises(UserError, match='shards already'): write_shards(place/'packed clips', tmp_path/'{0..}.tar')

def test_without_webdataset_the_extra_is_named(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'webdataset', None)
    assert cli.main(['data', 'shard', str(place/'pictures'), '-o', str(tmp_path/'{0..}.tar')]) == 2
    said = capsys.readouterr().err
    assert "pip install 'sound-video[shards]'" in said and len(said.splitlines()) == 1

def test_a_sound_track_is_chosen_before(place, capsys):
    assert cli.main(['data', 'check', str(place/'packed clips'), '--audio-track', '1']) == 2
    assert 'give it to data shard' in capsys.readouterr().err
