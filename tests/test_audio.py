"What the notebook on audio does not show: streams against the whole, odd rates, hostile samples, memory."
import subprocess, sys
from pathlib import Path
import numpy as np, pytest, soundfile as sf, torch
from sound_video.hearing.features import MELS, Mel, normalise_level, sound_windows, spec_augment
from sound_video.hearing.features import _mono
from sound_video.core.errors import UserError
from sound_video.media.sounds import read_sound

SOUNDS = Path(__file__).resolve().parents[2]/'shared'/'sounds'

def noise(seconds, rate, channels=1, seed=0):
    x = torch.randn(channels, round(seconds*rate), generator=torch.Generator().manual_seed(seed))
    return .1 * x.clamp(-3, 3)

def seen(x, name='mini'): return Mel(MELS[name])(normalise_level(x))

def level(x): return 20*np.log10(x.double().square().mean().sqrt().item() + 1e-12) # dB


# mel

@pytest.mark.parametrize('name', MELS)
@pytest.mark.parametrize('n', [1, 2, 511, 512, 513, 1024, 22050])
def test_any_length_has_a_mel(name, n):
    for x in (noise(1, 22050)[:, :n], torch.zeros(3, n), torch.ones(2, n), -torch.ones(1, n)):
        m = seen(x, name)
        assert m.shape == (len(x), 1, MELS[name].bands, 1 + n//MELS[name].hop)
        assert m.isfinite().all() and m.min() >= 0

def test_batch_is_its_items():
    x = torch.cat([noise(2, 22050, seed=k)*10.**-k for k in range(5)])
    torch.testing.assert_close(seen(x), torch.cat([seen(y[None]) for y in x]), atol=1e-5, rtol=0)

def test_a_strided_or_double_sound_is_as_good():
    x = noise(1, 22050, 4)
    torch.testing.assert_close(seen(x.T.contiguous().T), seen(x))
    torch.testing.assert_close(seen(x.double()), seen(x), atol=1e-5, rtol=0)

def test_settings_are_not_weights():
    assert not Mel(MELS['mini']).state_dict() and not list(Mel(MELS['mini']).parameters())

def test_gradient_reaches_the_samples_and_is_finite():
    for x in (noise(1, 22050), torch.zeros(1, 22050)):
        x.requires_grad_()
        seen(x).sum().backward()
        assert x.grad.isfinite().all()

def test_autocast_does_not_change_it():
    x = noise(1, 22050) * 10
    with torch.autocast('cpu', torch.bfloat16): m = seen(x)
    assert m.dtype == torch.float32
    torch.testing.assert_close(m, seen(x))


# level

def test_level_for_each_item_alone():
    x = torch.cat([noise(1, 22050)*g for g in (1, .1, .01, 3)])
    assert all(abs(level(y) + 23) < .01 for y in normalise_level(x))
    torch.testing.assert_close(normalise_level(x)[:1], normalise_level(x[:1]))

def test_hiss_is_not_blown_up():
    for db in (-75, -90, -110, -140):
        x = noise(1, 22050) * 10**((db - level(noise(1, 22050)))/20)
        assert level(normalise_level(x)) == pytest.approx(db + 47, abs=.1)
    assert seen(torch.full((1, 22050), .3)).max() == 0 # an offset is silence


# masks

@pytest.mark.parametrize('shape', [(1, 1, 64, 1), (2, 1, 64, 3), (3, 1, 1, 100), (4, 1, 128, 431), (0, 1, 64, 9)])
def test_masks_of_any_shape(shape):
    m = torch.rand(shape)
    before = m.clone()
    assert spec_augment(m).shape == shape and torch.equal(m, before)

def test_masks_differ_by_item_and_follow_the_global_seed():
    m = torch.rand(1, 1, 64, 216).expand(8, -1, -1, -1)
    torch.manual_seed(3); a = spec_augment(m)
    torch.manual_seed(3); b = spec_augment(m)
    assert torch.equal(a, b) and len({tuple(x.flatten().tolist()) for x in a}) == 8


# windows

@pytest.mark.parametrize('rate', [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize('channels', [1, 2])
def test_windows_of_a_file_are_the_sound(tmp_path, rate, channels):
    sf.write(tmp_path/'s.wav', noise(7.3, rate, channels).numpy().T, rate, subtype='FLOAT')
    whole = read_sound(tmp_path/'s.wav', 22050)[0].mean(0)
    got = list(sound_windows(tmp_path/'s.wav', 22050, 2.))
    assert [s for s, _ in got] == pytest.approx([0, 2, 4, 5.3], abs=2/22050)
    for s, w in got: torch.testing.assert_close(w, whole[round(s*22050):][:44100], atol=1e-6, rtol=0)

@pytest.mark.parametrize('seconds', [.1, .7, 3., 4.9])
@pytest.mark.parametrize('hop', [None, .25, 1., 3.3, 8.])
def test_windows_cover_the_end_and_lie_where_they_say(seconds, hop):
    x, rate = noise(13.37, 2000), 2000
    got = list(sound_windows((x, rate), rate, seconds, hop))
    assert len(x[0])/rate - (got[-1][0] + seconds) <= .1
    assert all(a < b for (a, _), (b, _) in zip(got, got[1:]))
    for s, w in got: assert torch.equal(w, x[0, round(s*rate):][:round(seconds*rate)])

@pytest.mark.parametrize('n', [1, 100, 11024, 11026, 60000, 110249, 110250])
def test_a_short_sound_fills_its_window(n):
    x = noise(5, 22050)[:, :n]
    (start, w), = sound_windows((x, 22050), 22050)
    period = max(n, 11025)
    assert start == 0 and len(w) == 110250 and torch.equal(w[:n], x[0]) and (w[n:period] == 0).all()
    assert torch.equal(w[period:], w[:-period])

def test_a_sound_too_short_to_be_resampled_is_silence():
    (_, w), = sound_windows((torch.ones(2, 2), 96000), 8000)
    assert len(w) == 40000 and w.isfinite().all()

def test_mix_down():
    x = noise(1, 8000, 2)
    assert torch.equal(_mono(x), x.mean(0))
    assert torch.equal(_mono(torch.stack([x[0], -x[0]])), x[0])
    for g in np.linspace(-1, 1, 9): assert level(_mono(torch.stack([x[0], g*x[0]]))) > level(x[0]) - 10.1
    surround = torch.zeros(6, 8000); surround[2] = x[0]
    assert torch.equal(_mono(surround), x[0])
    assert _mono(torch.zeros(2, 9)).abs().max() == 0

def test_hostile_samples(tmp_path):
    x = noise(6, 22050, 2)
    x[:, 1000] = float('nan'); x[0, 2000] = float('inf'); x[1, 3000] = -1e30
    with pytest.raises(UserError, match='3 samples that are NaN or infinite'): next(sound_windows((x, 22050), 22050))
    sf.write(tmp_path/'a.wav', x.T.numpy(), 22050, subtype='FLOAT') # of a file it is damage, and reading goes on
    for _, w in sound_windows(tmp_path/'a.wav', 22050): assert seen(w[None]).isfinite().all()

def test_what_cannot_be_cut_is_refused(tmp_path):
    (tmp_path/'empty.wav').touch()
    for sound in (tmp_path/'gone.wav', tmp_path/'empty.wav', (torch.zeros(1, 0), 22050)):
        with pytest.raises(UserError): next(sound_windows(sound, 22050))
    for kw in (dict(seconds=0.), dict(seconds=-1.), dict(hop=0.), dict(hop=1e-9)):
        with pytest.raises(UserError, match='too short|must be a number from 0'):
            next(sound_windows((noise(9, 22050), 22050), 22050, **kw))

def peak(minutes, tmp_path): # -> MB
    code = f"""if True:
        import resource, numpy as np, soundfile as sf
        from sound_video.hearing.features import MELS, Mel, normalise_level, sound_windows
        with sf.SoundFile('a.flac', 'w', 16000, 2) as f:
            for k in range({minutes}*60): f.write(.1*np.random.default_rng(k % 7).standard_normal((16000, 2)))
        mel, n = Mel(MELS['mini']), 0
        for start, x in sound_windows('a.flac', 22050):
            assert mel(normalise_level(x[None])).isfinite().all() and start == 5*n
            n += 1
        assert n == {minutes}*12
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)
    """
    return float(
        subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    )

def test_memory_does_not_grow_with_the_length(tmp_path):
    short, long = peak(1, tmp_path), peak(6, tmp_path)
    assert long < short + 25, f'{short:.0f} MB for a minute, {long:.0f} MB for six'

@pytest.mark.skipif(not SOUNDS.exists(), reason='no recordings here')
def test_real_recordings_lie_on_the_scale():
    for path in sorted(p for p in SOUNDS.iterdir() if p.suffix in ('.mp3', '.wav', '.ogg')):
        m = seen(torch.stack([x for _, x in sound_windows(path, 22050)]))
        assert m.isfinite().all() and .1 < m.mean() < .8 and m.max() < 1.2, path
