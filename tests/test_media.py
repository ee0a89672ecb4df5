"What the notebook on media does not show: every rate and channel count, damage, full disks, memory."
import os, shutil, subprocess, sys
from fractions import Fraction
from pathlib import Path
import av, numpy as np, pytest, soundfile as sf, torch
from PIL import Image
from sound_video.media import sounds, videos
from sound_video.media.formats import MOVIE_FORMATS
from sound_video.core.errors import UserError
from sound_video.media.sounds import AudioTrack, Holes, read_sound, stream_sound
from sound_video.media.formats import ENDINGS, check_output
from sound_video.media.timing import n_frames, parse_fps
from sound_video.media.videos import probe, probe_images, read_frames, stream_frames, write_video

FPS = [1, 7, 12, 12.5, 23.976, 24, 29.97, 30, 50, 59.94, 60, 120]
SOUNDS = Path(__file__).resolve().parents[2]/'shared'/'sounds'


def tone(seconds, rate, channels=1, impulse=None):
    "Quiet sines [C, N], with an impulse at a time if wanted."
    t = torch.arange(round(seconds*rate)) / rate
    x = torch.stack([.05*torch.sin(2*np.pi*(220 + 40*c)*t) for c in range(channels)])
    if impulse is not None: x[:, round(impulse*rate)] = .9
    return x

def grey(n, h=32, w=32): return (np.full((h, w, 3), k*7 % 256, np.uint8) for k in range(n))

def encode(path, codec, x, rate, options={}, **kw):
    with av.open(str(path), 'w', options=options, **kw) as c:
        s = c.add_stream(codec, rate=rate, layout=sounds._LAYOUTS[len(x)])
        x = np.asarray(x, np.float32)
        for i in range(0, x.shape[1], 4096): c.mux(s.encode(sounds._audio_frame(x[:, i:i+4096], rate, i)))
        c.mux(s.encode(None))
    return path

def track(path, kind):
    "A track as the file declares it: end by its packets, duration by its header, rate."
    with av.open(str(path)) as c:
        s = next(s for s in c.streams if s.type == kind)
        info = dict(
            declared=s.duration and float(s.duration * s.time_base), rate=s.average_rate if kind == 'video' else s.rate
        )
        ends = [(p.pts + p.duration) * p.time_base for p in c.demux(s) if p.pts is not None]
    return info | dict(end=float(max(ends)))

def times(path):
    with av.open(str(path)) as c: return [f.time for f in c.decode(video=0)]

def left_behind(folder): return sorted(p.name for p in folder.iterdir())


# the time base

@pytest.mark.parametrize('ending', ['.mp4', '.webm', '.mkv', '.mov'])
@pytest.mark.parametrize('fps', FPS)
def test_tracks_end_together(tmp_path, fps, ending):
    f, clock = parse_fps(fps), 1e-6 if ending == '.mp4' else 1e-3   # WebM counts milliseconds
    for seconds in (.013, 1.01, 2.337):
        sound = tone(seconds, 44100)
        n, d = n_frames(sound.shape[1]/44100, fps), sound.shape[1]/44100
        path = write_video(tmp_path/f'v{ending}', grey(n), fps, (sound, 44100))
        v, a = track(path, 'video'), track(path, 'audio')
        assert abs(v['end'] - a['end']) < 1/f
        assert v['end'] == pytest.approx(float(n/f), abs=2*clock) and a['end'] == pytest.approx(d, abs=2*clock)
        shown = times(path)
        assert len(shown) == n and max(abs(t - k/f) for k, t in enumerate(shown)) <= clock
        if ending == '.mp4':
            assert v['declared'] == pytest.approx(n / f, abs=1e-4) and a['declared'] == pytest.approx(d, abs=1e-4)
        if n > 1 and ending == '.mp4': assert v['rate'] == f
        info = probe(path)
        assert info.seconds == pytest.approx(d, abs=.001) and info.frames == n

@pytest.mark.parametrize('fps', FPS)
def test_gif_keeps_time(tmp_path, fps):
    n = n_frames(1.7, fps)
    path = write_video(tmp_path/'v.gif', grey(n), fps)
    assert track(path, 'video')['end'] == pytest.approx(max(.01, n/parse_fps(fps)), abs=.011)
    gaps = np.diff(times(path))
    assert all(g > .0199 for g in gaps)   # players slow down anything faster

@pytest.mark.parametrize(
    'rate',
    [4000, 7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 37800, 44100, 48000, 64000, 88200, 96000, 192000],
)
@pytest.mark.parametrize('channels', [1, 2, 6, 8])
def test_every_rate_and_channel_count(tmp_path, rate, channels):
    sound = tone(1.3, rate, channels, impulse=1)
    for ending, rates in (
        ('.mp4', MOVIE_FORMATS['.mp4'].rates),
        ('.webm', [48000]),
    ):  # Opus decodes at 48 kHz whatever went in
        path = write_video(tmp_path/f'v{ending}', grey(13, 16, 16), 10, (sound, rate))
        got, r = read_sound(path)
        assert r == next((x for x in rates if x >= rate), rates[-1]) and len(got) == channels
        assert got.shape[1]/r == pytest.approx(1.3, abs=.001)
        for c in range(channels):
            if channels > 5 and c == 3: continue   # the bass channel has no treble, so no impulse
            assert got[c].abs().argmax()/r == pytest.approx(1, abs=.001), f'{ending} channel {c}'

@pytest.mark.parametrize('channels', [3, 4, 5, 7])
def test_rare_channel_counts(tmp_path, channels):
    for ending in ('.mp4', '.webm', '.mkv', '.mov'):
        path = write_video(tmp_path/f'v{ending}', grey(12), 30, (tone(.4, 48000, channels), 48000))
        got, rate = read_sound(path)
        freqs = [int(np.abs(np.fft.rfft(x[:19200])).argmax()) * rate/19200 for x in got.numpy()]
        np.testing.assert_allclose(freqs, [220 + 40*c for c in range(channels)], atol=3, err_msg=ending)

def test_nine_channels_are_refused(tmp_path):
    with pytest.raises(UserError, match='mix it down'):
        write_video(tmp_path / 'v.mp4', grey(3), 30, (tone(0.1, 44100, 9), 44100))
    assert not left_behind(tmp_path)

def test_pictures_decide_where_lengths_differ(tmp_path):
    for seconds in (.3, 5.):
        path = write_video(tmp_path/'v.mp4', grey(60), 30, (tone(seconds, 44100, 2), 44100))
        assert track(path, 'audio')['end'] == pytest.approx(2, abs=1/30)
        got, _ = read_sound(path)
        assert got.shape[0] == 2 and (got[:, int(.4*44100):].abs().max() < 1e-3) == (seconds < 1)

def test_faststart(tmp_path):
    path = write_video(tmp_path/'v.mp4', grey(9), 30, (tone(.3, 8000), 8000))
    data = path.read_bytes()
    assert data.index(b'moov') < data.index(b'mdat')


# reading sounds

def test_number_formats(tmp_path):
    x = tone(2, 44100, 2, impulse=1)
    x[0] += .01*torch.randn(x.shape[1], generator=torch.Generator().manual_seed(0))
    most = dict(
        PCM_U8=2**-7, PCM_16=2**-15, PCM_24=2**-23, PCM_32=1e-7, FLOAT=1e-7, DOUBLE=1e-7, ULAW=0.03, ALAW=0.03
    )  # one step
    for subtype, step in most.items():
        sf.write(tmp_path/'a.wav', x.T.numpy(), 44100, subtype=subtype)
        got, rate = read_sound(tmp_path/'a.wav')
        assert (rate, got.shape, got.dtype) == (44100, x.shape, torch.float32)
        assert (got - x).abs().max() <= step, subtype

@pytest.mark.parametrize(
    'name, codec, kw',
    [
        ('a.mp3', 'libmp3lame', {}),
        ('a.m4a', 'aac', dict(format='ipod')),
        ('a.flac', 'flac', {}),
        ('a.opus', 'libopus', dict(format='ogg')),
        ('a.mka', 'flac', dict(format='matroska')),
        ('a.ogg', None, {}),
    ],
)
def test_compressed_sounds_keep_length_and_place(tmp_path, name, codec, kw):
    x, path = tone(3.21, 48000, 2, impulse=1), tmp_path/name
    if codec: encode(path, codec, x, 48000, **kw)
    else: sf.write(path, x.T.numpy(), 48000)
    got, rate = read_sound(path)
    assert (rate, len(got)) == (48000, 2)
    assert abs(got.shape[1] - x.shape[1]) <= 48   # 1 ms
    assert abs(int(got[0].abs().argmax()) - 48000) <= 48
    assert got.abs().max() <= 1

def test_wild_floats_are_tamed(tmp_path):
    x = tone(.5, 8000)
    x[0, 10], x[0, 11], x[0, 12], x[0, 13] = float('nan'), float('inf'), -float('inf'), 7
    sf.write(tmp_path/'a.wav', x.T.numpy(), 8000, subtype='FLOAT')
    got, _ = read_sound(tmp_path/'a.wav')
    assert got[0, 10:14].tolist() == [0, 1, -1, 1]

def test_parts_and_blocks_agree_with_the_whole(tmp_path):
    x = tone(3.3, 22050, 2)
    sf.write(tmp_path/'a.flac', x.T.numpy(), 22050)
    whole, rate = read_sound(tmp_path/'a.flac')
    part, _ = read_sound(tmp_path/'a.flac', start=1.1, seconds=.7)
    assert torch.equal(part, whole[:, round(1.1*rate):round(1.1*rate) + round(.7*rate)])
    blocks = list(stream_sound(tmp_path/'a.flac', block=.25))
    assert {b.shape[1] for b in blocks[:-1]} == {round(.25*rate)} and torch.equal(torch.cat(blocks, 1), whole)
    mono, r = read_sound(tmp_path/'a.flac', rate=16000, mono=True)
    assert (mono.shape, r) == ((1, 52800), 16000)
    with pytest.raises(UserError, match='ends before'): read_sound(tmp_path/'a.flac', start=4)

@pytest.mark.parametrize(
    'name', ['12:30 rain.wav', '-rain.wav', 'r%03din.wav', 'дождь 雨.wav', "it's.wav", 'http:rain.wav']
)
def test_awkward_names(tmp_path, name):
    sf.write(str(tmp_path/name), np.zeros(800), 8000)
    assert probe(tmp_path/name).seconds == .1
    out = write_video((tmp_path/name).with_suffix('.mp4'), grey(3), 30, tmp_path/name)
    assert probe(out).seconds == pytest.approx(.1)

def test_relative_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sf.write('a:b.wav', np.zeros(800), 8000)
    assert probe(write_video('c:d.mp4', grey(3), 30, 'a:b.wav')).rate == 8000

def test_metadata_in_an_old_encoding(tmp_path):
    encode(tmp_path/'a.mp3', 'libmp3lame', tone(1, 44100), 44100)
    tag = b'TIT2' + (7).to_bytes(4, 'big') + b'\0\0' + b'\0' + b'\xcf\xf0\xe8\xe2\xe5\xf2'
    (tmp_path/'b.wav').write_bytes(_wav_with_info(b'INAM', b'\xcf\xf0\xe8\xe2\xe5\xf2'))
    (tmp_path/'c.mp3').write_bytes(b'ID3\x03\0\0' + len(tag).to_bytes(4, 'big') + tag + (tmp_path/'a.mp3').read_bytes())
    assert probe(tmp_path/'b.wav').seconds == .1 and probe(tmp_path/'c.mp3').seconds == pytest.approx(1, abs=.01)

def _wav_with_info(key, text):
    import io, struct
    f = io.BytesIO(); sf.write(f, np.zeros(800), 8000, format='WAV'); data = f.getvalue()
    info = b'INFO' + key + struct.pack('<I', len(text)) + text
    data += b'LIST' + struct.pack('<I', len(info)) + info
    return data[:4] + struct.pack('<I', len(data) - 8) + data[8:]

def test_late_sound_of_a_video_is_late(tmp_path):
    for lead in (.5, -.25):
        with av.open(str(tmp_path/'v.mkv'), 'w') as c:
            v, a = c.add_stream('libx264', rate=30), c.add_stream('flac', rate=8000, layout='mono')
            v.width = v.height = 16; v.pix_fmt = 'yuv420p'
            x = tone(1, 8000, impulse=.5).numpy()
            for i in range(0, 8000, 1000):
                f = sounds._audio_frame(x[:, i:i+1000], 8000, i + round(8000*max(lead, 0)))
                c.mux(a.encode(f))
            for k, p in enumerate(grey(45, 16, 16)):
                f = videos._video_frame(p, k, Fraction(30)); f.pts = k + round(30*max(-lead, 0))
                c.mux(v.encode(f))
            c.mux(a.encode(None)); c.mux(v.encode(None))
        got, rate = read_sound(tmp_path/'v.mkv')
        assert int(got[0].abs().argmax())/rate == pytest.approx(.5 + lead, abs=.034)

def test_a_cover_is_no_picture_track(tmp_path):
    encode(tmp_path/'a.flac', 'flac', tone(1, 44100), 44100)
    Image.fromarray(next(grey(1))).save(tmp_path/'c.png')
    png = (tmp_path/'c.png').read_bytes()
    u32 = lambda n: n.to_bytes(4, 'big')
    block = u32(3) + u32(9) + b'image/png' + u32(0) + u32(32)*2 + u32(24) + u32(0) + u32(len(png)) + png
    data = (tmp_path/'a.flac').read_bytes()
    (tmp_path/'b.flac').write_bytes(data[:42] + bytes([6]) + len(block).to_bytes(3, 'big') + block + data[42:])
    with av.open(str(tmp_path/'b.flac')) as c: assert len(c.streams.video) == 1
    info = probe(tmp_path/'b.flac')
    assert info.fps is None and info.seconds == 1
    with pytest.raises(UserError, match='no picture track'): read_frames(tmp_path/'b.flac')


# reading pictures

def test_frames_at_another_rate_show_the_right_moment(tmp_path):
    path = write_video(tmp_path/'v.mp4', (np.full((32, 32, 3), 4*k, np.uint8) for k in range(60)), 30)
    level = lambda **kw: read_frames(path, **kw).mean((1, 2, 3)) / 4
    np.testing.assert_allclose(level(), np.arange(60), atol=.6)
    np.testing.assert_allclose(level(fps=10), np.arange(20)*3 + 1, atol=.6)
    np.testing.assert_allclose(level(fps=60), np.arange(120)//2, atol=.6)
    np.testing.assert_allclose(level(start=1.5, seconds=.2), [45, 46, 47, 48, 49, 50], atol=.6)
    assert len(list(stream_frames(path, fps=23.976))) == 48

def test_irregular_frames_become_regular(tmp_path):
    marks = [0, 1, 2, 10, 11, 30]
    with av.open(str(tmp_path/'v.mkv'), 'w') as c:
        s = c.add_stream('libx264', rate=30); s.width = s.height = 32; s.pix_fmt = 'yuv420p'
        for k in marks:
            f = videos._video_frame(np.full((32, 32, 3), 4*k, np.uint8), k, Fraction(30))
            c.mux(s.encode(f))
        c.mux(s.encode(None))
    got = read_frames(tmp_path/'v.mkv', fps=30)[:31].mean((1, 2, 3)) / 4
    want = [max(m for m in marks if m <= k) for k in range(31)]
    np.testing.assert_allclose(got, want, atol=.6)

def test_wide_pictures_are_cut_not_stretched(tmp_path):
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, :16] = 255
    wide[:, 48:] = 255
    wide[:8, 16:48] = 128
    write_video(tmp_path / 'v.mp4', [wide] * 3, 30)
    x = read_frames(tmp_path / 'v.mp4', size=16)
    assert (
        x.shape == (3, 16, 16, 3)
        and x[1, 2:].max() < 200
        and x[1, 8:, 2:14].max() < 30
        and 110 < x[1, 1, 8].mean() < 145
    )

def test_colours_survive(tmp_path):
    cols = np.array(
        [
            [255, 0, 0],
            [0, 255, 0],
            [0, 0, 255],
            [255, 255, 255],
            [0, 0, 0],
            [128, 128, 128],
            [200, 120, 40],
            [30, 90, 160],
            [250, 240, 230],
        ],
        np.uint8,
    )
    x = cols.reshape(3, 3, 3).repeat(16, 0).repeat(16, 1)
    for ending, most in (('.mp4', 4), ('.webm', 8), ('.gif', 2)):
        got = read_frames(write_video(tmp_path/f'v{ending}', [x]*4, 10))[-1]
        assert abs(got[8::16, 8::16].astype(int) - x[8::16, 8::16]).max() <= most, ending

def test_colours_of_hd_video(tmp_path):
    "BT.709, as cameras write it."
    x = np.zeros((64, 64, 3), np.uint8)
    x[:] = 200, 60, 40
    with av.open(str(tmp_path / 'v.mp4'), 'w') as c:
        s = c.add_stream('libx264', rate=30)
        s.width = s.height = 64
        s.pix_fmt = 'yuv420p'
        s.codec_context.colorspace = s.codec_context.color_primaries = s.codec_context.color_trc = 1
        for k in range(3):
            f = av.VideoFrame.from_ndarray(x, format='rgb24').reformat(
                format='yuv420p', dst_colorspace='itu709', dst_color_range=1
            )
            f.pts, f.time_base = k, Fraction(1, 30)
            c.mux(s.encode(f))
        c.mux(s.encode(None))
    for size in (None, 32):
        assert abs(read_frames(tmp_path / 'v.mp4', size=size)[1].astype(int) - x[0, 0]).max() <= 3

def test_turned_videos_stand_up(tmp_path):
    x = np.zeros((32, 64, 3), np.uint8)
    x[:, :32] = 255
    path = write_video(tmp_path / 'v.mp4', [x] * 3, 30)
    data, one = path.read_bytes(), (1 << 16).to_bytes(4, 'big')
    straight = one + b'\0' * 12 + one + b'\0' * 12 + b'\x40\0\0\0'
    quarter = (
        b'\0' * 4
        + one
        + b'\0' * 4
        + (2**32 - (1 << 16)).to_bytes(4, 'big')
        + b'\0' * 8
        + (32 << 16).to_bytes(4, 'big')
        + b'\0' * 4
        + b'\x40\0\0\0'
    )
    i = data.index(straight, data.index(b'tkhd'))
    (tmp_path / 't.mp4').write_bytes(data[:i] + quarter + data[i + 36 :])
    got = read_frames(tmp_path / 't.mp4')[1]  # a quarter turn clockwise: what was left is on top
    assert got.shape == (64, 32, 3) and got[:30].mean() > 240 and got[34:].mean() < 15
    assert read_frames(tmp_path / 't.mp4', size=(32, 16))[1].shape == (32, 16, 3)
    assert probe(tmp_path / 't.mp4').size == probe_images(tmp_path / 't.mp4')['size'] == (64, 32)


# writing pictures

@pytest.mark.parametrize('h, w', [(1, 1), (2, 2), (17, 33), (64, 64), (65, 64), (128, 72)])
def test_sizes(tmp_path, h, w):
    for ending in ENDINGS:
        path = write_video(tmp_path/f'v{ending}', grey(4, h, w), 30)
        if not ending: assert Image.open(path/'frame_000003.png').size == (w, h)
        elif ending == '.gif': assert probe(path).size == (h, w)
        else: assert probe(path).size == (h + h % 2, w + w % 2)

def test_frames_batches_tensors(tmp_path):
    x = np.stack(list(grey(7)))
    for i, frames in enumerate(
        (x, list(x), iter(x), [x[:3], x[3:]], torch.from_numpy(x), (b for b in torch.from_numpy(x).split(2)))
    ):
        assert probe(write_video(tmp_path/f'{i}.mp4', frames, 30)).frames == 7

def test_bad_frames(tmp_path):
    cases = [
        ([], 'no frames'),
        ([np.zeros((8, 8, 3))], 'uint8'),
        ([np.zeros((8, 8), np.uint8)], 'uint8'),
        ([*grey(2), *grey(1, 16, 16)], 'one size'),
    ]
    for ending in ENDINGS:
        for frames, why in cases:
            with pytest.raises(UserError, match=why): write_video(tmp_path/f'v{ending}', frames, 30)
    assert not left_behind(tmp_path)

def test_pngs_are_exact_and_replace_only_pngs(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (3, 20, 31, 3), np.uint8)
    for n in (3, 2): write_video(tmp_path/'out', x[:n], 30)
    assert left_behind(tmp_path/'out') == ['frame_000000.png', 'frame_000001.png']
    assert (np.asarray(Image.open(tmp_path/'out'/'frame_000001.png')) == x[1]).all()
    (tmp_path/'out'/'diary.txt').write_text('dear')
    with pytest.raises(UserError, match='other things'): write_video(tmp_path/'out', x, 30)
    assert (tmp_path/'out'/'diary.txt').exists()

def test_a_long_sound_is_not_needed_for_pngs_and_gifs(tmp_path):
    for ending in ('.gif', ''): write_video(tmp_path/f'v{ending}', grey(3), 30, tmp_path/'unused.wav')


# mistakes: one line, and nothing left behind

@pytest.fixture(scope='module')
def faulty(tmp_path_factory):
    d = tmp_path_factory.mktemp('faulty')
    (d/'empty.wav').touch()
    (d/'text.wav').write_text('this is no sound\n' * 100)
    sf.write(d/'zero.wav', np.zeros((0, 2)), 44100)
    write_video(d/'mute.mp4', grey(9), 30)
    full = encode(tmp_path_factory.mktemp('whole')/'a.mp3', 'libmp3lame', tone(20, 44100), 44100).read_bytes()
    (d/'stub.mp3').write_bytes(full[:300])
    (d/'half.mp3').write_bytes(full[:len(full)//2])
    return d

@pytest.fixture
def bad(faulty, tmp_path): return shutil.copytree(faulty, tmp_path/'bad')

@pytest.mark.parametrize(
    'name, why',
    [
        ('gone.wav', 'no such file'),
        ('empty.wav', 'is empty'),
        ('text.wav', 'neither a sound nor a video'),
        ('.', 'is a folder'),
        ('zero.wav', 'no sound can be decoded'),
        ('mute.mp4', 'no sound track'),
        ('stub.mp3', 'neither|no sound'),
        ('text.wav/a.wav', 'no such file'),
        ('x' * 300, 'cannot open'),
    ],
)
def test_unreadable_sounds(bad, tmp_path, name, why):
    for read in (
        read_sound,
        lambda p: next(iter(stream_sound(p))),
        lambda p: write_video(tmp_path / 'out.mp4', grey(9), 30, p),
    ):
        with pytest.raises(UserError, match=why) as e: read(bad/name)
        assert '\n' not in str(e.value) and (name in str(e.value) or name == '.')
    if name != 'mute.mp4':
        with pytest.raises(UserError): probe(bad/name)
        with pytest.raises(UserError): read_frames(bad/name)
    assert 'out.mp4' not in left_behind(tmp_path)

def test_a_sound_of_length_zero_is_refused(tmp_path):
    with pytest.raises(UserError, match='length of zero'):
        write_video(tmp_path / 'v.mp4', grey(2), 30, (torch.zeros(2, 0), 44100))
    assert not left_behind(tmp_path)

def test_truncated_mp3_is_refused(bad, tmp_path):
    for read in (read_sound, probe, lambda p: write_video(tmp_path/'out.mp4', grey(600), 30, p)):
        with pytest.raises(UserError, match=r"half.mp3' is cut short or damaged: only 1?\d\.\d of its 20\.\d"):
            read(bad / 'half.mp3')
    assert 'out.mp4' not in left_behind(tmp_path)

def test_damage_never_gives_a_traceback(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = tone(2, 44100, 2)
    made = [
        encode(tmp_path / 'a.mp3', 'libmp3lame', x, 44100),
        encode(tmp_path / 'a.m4a', 'aac', x, 44100, format='ipod'),
        encode(tmp_path / 'a.flac', 'flac', x, 44100),
        write_video(tmp_path / 'a.mp4', grey(60), 30, (x, 44100)),
        write_video(tmp_path / 'a.webm', grey(60), 30, (x, 44100)),
    ]
    sf.write(tmp_path / 'a.ogg', x.T.numpy(), 44100)
    sf.write(tmp_path / 'a.wav', x.T.numpy(), 44100)
    for path in [*made, tmp_path / 'a.ogg', tmp_path / 'a.wav']:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for i in range(12):
            d = data[: int(len(data) * rng.uniform(0.01, 1))].copy() if i % 2 else data.copy()
            d[rng.integers(0, len(d), int(10 ** rng.uniform(0, 3)))] = rng.integers(0, 256)
            hurt = tmp_path / f'hurt{path.suffix}'
            hurt.write_bytes(d.tobytes())
            for read in (probe, read_sound, read_frames):
                try:
                    read(hurt)
                except UserError as e:
                    assert '\n' not in str(e)

def test_unwritable_outputs(tmp_path, bad):
    (tmp_path / 'dir.mp4').mkdir()
    (tmp_path / 'file').write_text('x')
    for name, why in [
        ('v.avi', 'unknown ending'),
        ('nowhere/v.mp4', 'does not exist'),
        ('file/v.mp4', 'is a file'),
        ('dir.mp4', 'is a folder'),
        ('file', 'in the way'),
        ('bad', 'other things'),
        ('nowhere/v', 'does not exist'),
        ('x' * 300 + '.mp4', 'cannot write'),
    ]:
        before = left_behind(tmp_path)
        for call in (lambda: check_output(tmp_path / name), lambda: write_video(tmp_path / name, grey(3), 30)):
            with pytest.raises(UserError, match=why) as e:
                call()
            assert '\n' not in str(e.value)
        assert left_behind(tmp_path) == before

@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError, UserError])
def test_an_interruption_leaves_nothing(tmp_path, ending, error):
    def frames():
        yield from grey(50)
        raise error('stop')
    old = write_video(tmp_path/f'old{ending}', grey(3), 30)
    for name in ('new', 'old'):
        with pytest.raises(error): write_video(tmp_path/f'{name}{ending}', frames(), 30, (tone(9, 44100), 44100))
    assert left_behind(tmp_path) == [old.name]
    if ending: assert probe(old).seconds == pytest.approx(.1, abs=.011)

NOISE = "(np.random.default_rng(k).integers(0, 255, (64, 64, 3), np.uint8) for k in range(120))"

@pytest.mark.parametrize('ending', ENDINGS)
def test_full_disk(tmp_path, ending):
    disk = tmp_path/'disk'
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', disk], capture_output=True).returncode
    ):
        pytest.skip('no permission to mount a small disk')
    try:
        with pytest.raises(UserError, match='no space') as e:
            write_video(disk / f'v{ending}', eval(NOISE), 30, (tone(4, 44100), 44100))
        assert '\n' not in str(e.value) and not left_behind(disk)
    finally:
        subprocess.run(['umount', disk], check=True)

def test_file_size_limit(tmp_path):
    "Wherever the space runs out, in the pictures or in the last bytes, the file is whole or absent."
    code = f"""if True:
        import resource, sys, numpy as np
        from pathlib import Path
        from sound_video.media.videos import write_video
        from sound_video.core.errors import UserError
        frames = list({NOISE.replace('120', '12')})
        for ending in {list(ENDINGS)}:
            p = Path(f'whole{{ending}}')
            write_video(p, frames, 30)
            size = max(f.stat().st_size for f in (p.iterdir() if p.is_dir() else [p]))
            for cut in (1, 10, 100, 1000, size//2, size - 1):
                resource.setrlimit(resource.RLIMIT_FSIZE, (size - cut, -1))
                try: write_video(f'v{{ending}}', frames, 30); print('written in spite of', cut, ending)
                except UserError as e: print('refused:', e)
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    """
    out = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.count('refused') == 6 * len(ENDINGS) and 'in spite' not in out.stdout, out.stdout
    assert left_behind(tmp_path) == sorted(f'whole{ending}' for ending in ENDINGS)

def test_read_only_disk(tmp_path):
    disk = tmp_path/'disk'
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k,ro', 'tmpfs', disk], capture_output=True).returncode
    ):
        pytest.skip('no permission to mount a disk')
    try:
        with pytest.raises(UserError, match='cannot write'): write_video(disk/'v.mp4', grey(3), 30)
    finally: subprocess.run(['umount', disk], check=True)


# memory and time

def peak(minutes, tmp_path):
    code = f"""if True:
        import resource, numpy as np, soundfile as sf
        from sound_video.media.timing import n_frames
        from sound_video.media.videos import probe, stream_frames, write_video
        with sf.SoundFile('a.flac', 'w', 22050, 1) as f:
            for k in range({minutes}*60): f.write(.1*np.random.default_rng(k).standard_normal(22050))
        frame = np.zeros((128, 128, 3), np.uint8)
        n = n_frames(probe('a.flac').seconds, 2)
        write_video('v.mp4', (frame + k % 200 for k in range(n)), 2, 'a.flac')
        assert sum(1 for _ in stream_frames('v.mp4')) == n == {minutes}*120
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)
    """
    return float(
        subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    )

def test_memory_does_not_grow_with_the_length(tmp_path):
    short, long = peak(1, tmp_path), peak(6, tmp_path)
    assert long < short + 25, f'{short:.0f} MB for a minute, {long:.0f} MB for six'

@pytest.mark.skipif(not SOUNDS.exists(), reason='no recordings here')
def test_real_recordings(tmp_path):
    "The shortest of each format and rate."
    found = [(probe(p), p) for p in sorted(SOUNDS.iterdir()) if p.suffix in ('.mp3', '.wav', '.ogg')]
    longest_first = sorted(found, key=lambda of: -of[0].seconds)
    for info, path in {(p.suffix, info.rate): (info, p) for info, p in longest_first}.values():
        out = write_video(tmp_path/'v.mp4', grey(n_frames(info.seconds, 12), 16, 16), 12, path)
        got = probe(out)
        assert (got.rate, got.channels) == (info.rate, info.channels) and abs(got.seconds - info.seconds) < 1e-3
        assert abs(got.video_seconds - info.seconds) < 1/12
        a, b = (read_sound(p, rate=8000, mono=True, seconds=5)[0][0] for p in (path, out))
        n = min(len(a), len(b))
        assert torch.corrcoef(torch.stack([a[:n], b[:n]]))[0, 1] > .9, path.name

@pytest.mark.parametrize('ending', ['.mp4', '.mkv', '.webm'])
def test_lower_quality_makes_smaller_files(tmp_path, ending):
    frames = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), np.uint8)
    size = {q: write_video(tmp_path/f'{q}{ending}', frames, 12, quality=q).stat().st_size for q in (8, None, 40)}
    assert size[8] > 1.2 * size[None] and size[None] > 1.5 * size[40]

@pytest.mark.parametrize('ending, quality, says', [
    ('.gif', 20, 'not for .gif'), ('.mov', 20, 'not for .mov'), ('', 20, 'not for PNGs'), ('.mp4', 60, 'from 0 to 51')])
def test_quality_that_cannot_be(tmp_path, ending, quality, says):
    with pytest.raises(UserError, match=says): write_video(tmp_path/f'v{ending}', grey(3), 30, quality=quality)
    assert not any(tmp_path.iterdir())

def test_the_same_frames_make_the_same_file(tmp_path):
    "With x264's tree of macroblocks, small videos differ from run to run."
    frames = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8).repeat(2, 0)
    files = {write_video(tmp_path/f'{i}.mp4', frames, 30, (torch.zeros(1, 8000), 4000)).read_bytes() for i in range(6)}
    assert len(files) == 1


# a moment is what its timestamp says

BEEPS = [.5, 1.5, 2.5, 3.5, 4.5, 5.5]
KINDS = {
    'mkv aac': ('aac', 'matroska'),
    'mkv mp3': ('libmp3lame', 'matroska'),
    'mkv pcm': ('pcm_s16le', 'matroska'),
    'mkv ac3': ('ac3', 'matroska'),
    'mka flac': ('flac', 'matroska'),
    'webm opus': ('libopus', 'webm'),
    'mp4 aac': ('aac', 'mp4'),
    'mp4 opus': ('libopus', 'mp4'),
    'mp4 mp3': ('libmp3lame', 'mp4'),
    'mov aac': ('aac', 'mov'),
    'ogg opus': ('libopus', 'ogg'),
    'oga flac': ('flac', 'ogg'),
    'ts aac': ('aac', 'mpegts'),
    'ts mp2': ('mp2', 'mpegts'),
    'mpg mp2': ('mp2', 'mpeg'),
    'flv aac': ('aac', 'flv'),
    'flac flac': ('flac', 'flac'),
    'nut pcm': ('pcm_s16le', 'nut'),
}
SEEN = {
    'mkv': 'libx264',
    'webm': 'libvpx-vp9',
    'mp4': 'libx264',
    'mov': 'libx264',
    'ts': 'libx264',
    'flv': 'libx264',
    'mpg': 'mpeg2video',
}  # containers that are tried with pictures, too

def beeps(seconds=6, rate=48000, channels=1):
    "50 ms of 1 kHz at each of `BEEPS` [C, N]."
    t = np.arange(seconds * rate) / rate
    return (.5 * np.sin(2*np.pi*1000*t) * ((t - .5) % 1 < .05))[None].repeat(channels, 0).astype(np.float32)

def starts(x, rate):
    at = np.flatnonzero(np.abs(np.asarray(x)).max(0) > .15)
    return (at[np.diff(at, prepend=-rate) > rate // 10] / rate).tolist()

def sound_packets(s, x, rate):
    n = s.codec_context.frame_size or 1024
    return [
        p for i in range(0, x.shape[1], n) for p in s.encode(sounds._audio_frame(x[:, i : i + n], rate, i))
    ] + s.encode(None)

def other(p, data):
    "A packet with the same times and other bytes."
    q = av.Packet(data)
    q.stream, q.pts, q.dts, q.duration, q.time_base = p.stream, p.pts, p.dts, p.duration, p.time_base
    return q

def mux(path, kind, change=lambda t, p: p, pictures=False, x=None, rate=48000, skew=lambda t: 0):
    "Beeps in a container; each packet of sound as `change` has it (None: left out), everything `skew` s later."
    codec, fmt = KINDS[kind]
    x = beeps(rate=rate) if x is None else x
    with av.open(str(path), 'w', format=fmt) as c:
        v, a = pictures and c.add_stream(SEEN[kind.split()[0]], rate=25), c.add_stream(
            codec, rate=rate, layout=sounds._LAYOUTS[len(x)]
        )
        packets = sound_packets(a, x, rate)
        if v:
            v.width, v.height, v.pix_fmt = 32, 32, 'yuv420p'
            scaler = videos.VideoReformatter()
            for k, f in enumerate(grey(25 * x.shape[1] // rate)):
                packets += v.encode(videos._video_frame(f, k, Fraction(25), scaler=scaler))
            packets += v.encode(None)
        for p in sorted(packets, key=lambda p: p.dts * p.time_base):
            t = float(p.pts * p.time_base)
            p = change(t, p) if p.stream is a else p
            if p is None: continue
            p.pts, p.dts = (n + round(skew(t) / p.time_base) for n in (p.pts, p.dts))
            c.mux(p)
    return path

def noise(p): return other(p, np.random.default_rng(p.pts % 2**32).bytes(p.size))

DAMAGE = {
    'left out': lambda t, p: None if 1 <= t < 3 else p,
    'of noise': lambda t, p: noise(p) if 1.6 <= t < 2 else p,
    'one in five left out': lambda t, p: None if p.pts // max(1, p.duration) % 5 == 2 and t % 1 > 0.6 else p,
    'the first left out': lambda t, p: None if t < 0.3 else p,
    'cut short': lambda t, p: other(p, bytes(p)[: p.size // 3]) if 1.6 <= t < 2 else p,
}

UNTOLD = {
    ('ogg', 'one in five left out'),
    ('ts', 'cut short'),
}  # a page of an Ogg file has one timestamp; FFmpeg writes no stub into a TS

@pytest.mark.parametrize('kind, pictures', [(k, k.split()[0] in SEEN) for k in KINDS])
def test_what_is_left_stays_where_it_was(tmp_path, kind, pictures):
    ending, codec = kind.split()
    whole = mux(tmp_path/f'whole.{ending}', kind, pictures=pictures)
    x, rate = read_sound(whole)
    want, seconds = starts(x, rate), x.shape[1] / rate
    np.testing.assert_allclose(want, BEEPS, atol=.026) # some containers keep the encoder's lead-in
    for damage, change in DAMAGE.items():
        if (
            codec == 'pcm'
            and damage != 'left out'
            or damage == 'the first left out'
            and not pictures
            or (ending, damage) in UNTOLD
        ):
            continue  # any bytes are PCM; the first timestamp is time zero
        path, holes = mux(tmp_path/f'a.{ending}', kind, change, pictures), Holes()
        x, _ = read_sound(path, holes=holes)
        got = starts(x, rate)
        assert x.shape[1] / rate == pytest.approx(seconds, abs=.03), damage
        if damage == 'left out':
            np.testing.assert_allclose(got, [want[0], *want[3:]], atol=0.006)
            assert (
                holes.seconds == pytest.approx(2, abs=0.21) and len(holes) == 1
            )  # FLAC has frames of a tenth of a second
        else:
            assert all(
                min(abs(g - w) for g in got) < 0.006
                for w in want
                if not (1.5 <= w < 2.1 or damage.startswith('the first') and w < 1)
            ), (damage, got)
        for at in (2, 2.9, 4.4):
            part, rest = read_sound(path, start=at, holes=Holes())[0], x[:, round(at*rate):]
            assert part.shape == rest.shape, (damage, at)
            assert (part - rest).abs().max() < (.01 if codec == 'ac3' else 1e-4), (damage, at) # AC-3 makes up its noise

@pytest.mark.parametrize('ending, codec', [('mp3', 'libmp3lame'), ('aac', 'aac')])
def test_a_damaged_stretch_without_timestamps(tmp_path, ending, codec):
    "What has no timestamps is counted, and lost bytes as so many frames; a tag in the middle is none."
    KINDS['raw'] = codec, dict(aac='adts').get(ending, ending)
    want = starts(*read_sound(mux(tmp_path/f'whole.{ending}', 'raw')))
    path, holes = mux(tmp_path/f'a.{ending}', 'raw', DAMAGE['of noise']), Holes()
    got = starts(*read_sound(path, holes=holes))
    assert all(min(abs(g - w) for g in got) < .03 for w in want if not 1.5 <= w < 2.1) and .3 < holes.seconds < .5
    data = (tmp_path/f'whole.{ending}').read_bytes()
    (tmp_path/f'two.{ending}').write_bytes(data + b'ID3\3\0\0\0\0\x0f\x50' + bytes(2000) + data)
    assert probe(tmp_path/f'two.{ending}').seconds == pytest.approx(12, abs=.2)

def test_leaps_of_the_timestamps(tmp_path):
    "A clock that overflows, two recordings in one file, a header that errs: neither a hole of a day nor lost sound."
    for kind, name in (('mkv aac', 'a.mkv'), ('ts aac', 'a.ts')):
        for leap in (26 * 3600, 700):
            path, holes = mux(tmp_path/name, kind, pictures=True, skew=lambda t: leap * (t > 3)), Holes()
            x, rate = read_sound(path, holes=holes)
            assert (
                holes.leaps == 1
                and not holes
                and len(starts(x, rate)) == 6
                and x.shape[1] / rate == pytest.approx(6, abs=0.05)
            )
            assert probe(path).video_seconds == pytest.approx(6, abs=0.1) and sum(
                1 for _ in stream_frames(path)
            ) == pytest.approx(150, abs=3)
    mux(tmp_path/'one.ts', 'ts aac', pictures=True)
    (tmp_path/'two.ts').write_bytes((tmp_path/'one.ts').read_bytes() * 2)
    x, rate = read_sound(tmp_path/'two.ts')
    assert len(starts(x, rate)) == 12 and sum(1 for _ in stream_frames(tmp_path/'two.ts')) == pytest.approx(300, abs=5)
    assert torch.equal(read_sound(tmp_path/'two.ts', start=7.3)[0], x[:, round(7.3*rate):])

def test_what_comes_twice_is_left_out(tmp_path):
    one = mux(tmp_path/'one.ts', 'ts aac', lambda t, p: p if t < 4 else None).read_bytes()
    (tmp_path / 'two.ts').write_bytes(
        one + mux(tmp_path / 'rest.ts', 'ts aac', lambda t, p: p if t >= 3 else None).read_bytes()
    )
    x, rate = read_sound(tmp_path/'two.ts', holes=(holes := Holes()))
    np.testing.assert_allclose(starts(x, rate), BEEPS, atol=.026)
    assert holes.twice == pytest.approx(1, abs=.05) and not holes

@pytest.mark.parametrize(
    'links', [[(48000, 1), (48000, 1)], [(48000, 1), (48000, 2)], [(48000, 2), (32000, 1), (44100, 2)]]
)
def test_an_ogg_chain_plays_on(tmp_path, links):
    for kind in ('oga flac', *['ogg opus'] * all(r == 48000 for r, _ in links)):
        for i, (rate, C) in enumerate(links): mux(tmp_path/f'{i}.ogg', kind, x=beeps(2, rate, C), rate=rate)
        chain = tmp_path/'chain.ogg'
        chain.write_bytes(b''.join((tmp_path/f'{i}.ogg').read_bytes() for i in range(len(links))))
        x, rate = read_sound(chain)
        assert (rate, len(x)) == links[0] and x.shape[1] / rate == pytest.approx(2 * len(links), abs=.02)
        np.testing.assert_allclose(starts(x, rate), np.arange(2 * len(links)) + .5, atol=.006)
        assert torch.equal(read_sound(chain, start=2.7)[0], x[:, round(2.7*rate):])

def two_tracks(path, default, fmt='matroska'):
    "Two sound tracks, the first silent, the second with beeps."
    with av.open(str(path), 'w', format=fmt) as c:
        tracks = [c.add_stream('aac', rate=48000, layout='mono') for _ in range(2)]
        for i, s in enumerate(tracks):
            s.disposition = av.stream.Disposition.default if i == default else av.stream.Disposition(0)
        for p in sorted(
            (p for s, x in zip(tracks, (0 * beeps(), beeps())) for p in sound_packets(s, x, 48000)),
            key=lambda p: p.dts * p.time_base,
        ):
            c.mux(p)
    return path

@pytest.mark.parametrize('fmt', ['matroska', 'mp4'])
def test_the_default_track_is_read_and_others_are_mentioned(tmp_path, capsys, fmt):
    for default in (0, 1):
        path = two_tracks(tmp_path/f'{default}.bin', default, fmt)
        assert bool(starts(*read_sound(path))) == bool(default)
        said = capsys.readouterr().err
        assert (
            said.count('\n') == 1
            and f'2 sound tracks: number {default + 1} is read' in said
            and '--audio-track' in said
        )
        read_sound(path), probe(path)
        for number in (1, 2):
            for x in (read_sound(path, track=number), read_sound(AudioTrack(path, number))):
                assert bool(starts(*x)) == (number == 2)
        assert not capsys.readouterr().err # once
        for read in (read_sound, probe, stream_sound):
            with pytest.raises(UserError, match='no sound track number 3: choose from 1 to 2'):
                next(iter([read(path, track=3)][0]))
    with pytest.raises(UserError, match='track must be a whole number'): AudioTrack(path, 0)

def test_holes_are_said_once(tmp_path, capsys):
    path = mux(tmp_path/'a.mkv', 'mkv aac', DAMAGE['left out'])
    read_sound(path), probe(path), list(stream_sound(path))
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and '1 hole of 2.01 s in all, from 1.00 s on' in said
    mux(tmp_path/'b.mkv', 'mkv aac')
    read_sound(tmp_path/'b.mkv')
    assert not capsys.readouterr().err
