"What is written of a sound: when, how strong, in what range; nothing of silence; the same however it arrives."
import sys, tracemalloc
import numpy as np, pytest, torch
from safetensors import safe_open
from sound_video.app.pack_config import default_pack
from sound_video.core.errors import UserError
from sound_video.hearing import transcription as T
from sound_video.hearing.features import BANDS, FeatureReader, Features, features
from sound_video.hearing.sound import Sound
from sound_video.hearing.timeline import Segment, Timeline
from sound_video.world.score import KINDS, SCENES, compose
from sound_video.world.soundscape import synthesise

RATE = 22050
FILE = default_pack()/'transcription.safetensors'
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason='the package comes without a model')

def all_of(scene, kind=None, seconds=1e6): return Timeline([Segment(0., seconds, scene, kind)])

def blasts(times, sizes, seconds, rate=RATE):
    "Noise that breaks out and dies away, over faint noise: [1, N]."
    r, t = np.random.default_rng(0), np.arange(round(seconds * rate)) / rate
    x = 3e-3 * r.standard_normal(len(t))
    for at, size in zip(times, sizes):
        x += size * r.standard_normal(len(t)) * np.exp(-(t - at).clip(0) / .25) * (t >= at)
    return x.clip(-1, 1).astype(np.float32)[None]

def events(score):
    there = score.strengths[0] > 0
    return score.times[0, there].numpy(), score.strengths[0, there].numpy()

def synthetic(seconds): # features of a sound that nobody made
    bands = np.random.default_rng(0).integers(90, 130, (BANDS, round(seconds * 100) + 1), dtype=np.uint8)
    bands[:, ::150] += 60
    return Features(np.zeros((15, 1)), np.zeros(1), seconds, bands)

WHEN, SIZES = (1.2, 3.5, 5.1, 7.4), (.03, .06, .12, .24)

def test_times_and_strengths():
    score, = T.transcribe((blasts(WHEN, SIZES, 9.), RATE), all_of('explosion'))
    times, strengths = events(score)
    assert T.match_events(times, WHEN) == 4 and len(times) <= 5
    found = [strengths[abs(times - t).argmin()] for t in WHEN]
    assert found == sorted(found) and found[-1] > found[0] + .05 and 0 < min(found) and max(found) <= 1
    assert score.delay == 0 and score.seconds == 9

@pytest.mark.parametrize('scene', ['explosion', 'splashing water', 'thunder'])
def test_the_worlds_own_events_are_found(scene):
    right = found = true = 0
    for seed in (9, 19, 29):
        score = compose(scene, torch.tensor([seed]), 10.)
        at, _ = events(score)
        at = at + float(score.delay)
        written, = T.transcribe((synthesise(scene, seed, score, RATE), RATE), all_of(scene))
        times, _ = events(written)
        right, found, true = right + T.match_events(times, at[at < 10]), found + len(times), true + sum(at < 10)
    assert 2 * right / (found + true) >= .75

def test_the_level_follows_and_stays_in_its_range():
    score = compose('waterfall burbling', torch.tensor([9]), 10.)
    written, = T.transcribe((synthesise('waterfall burbling', 9, score, RATE), RATE), all_of('waterfall burbling'))
    n = 1000
    assert np.corrcoef(written.level[0, :n], score.level[0, :n])[0, 1] > .8
    for kind in KINDS['waterfall burbling']:
        level = T.transcribe(synthetic(10.), all_of('waterfall burbling', kind.name))[0].level
        assert kind.level[0] - 1e-6 <= level.min() and level.max() <= kind.level[1] + 1e-6
    assert torch.allclose(written.flow[0, -1], written.level.sum() / 100, rtol=1e-3)

def test_gain_and_phase_do_not_count():
    x = blasts(WHEN, SIZES, 9.)
    a, b, c = (
        T.transcribe((v, RATE), all_of('explosion'))[0] for v in (x, x / 4, np.concatenate([x, -x]))
    )
    for other in (b, c):
        assert T.match_events(events(a)[0], events(other)[0], .015) == len(events(a)[0]) == len(events(other)[0])
        assert (a.level - other.level).abs().max() < .05

def test_silence():
    for x in (np.zeros((2, 3*RATE)), np.full((1, 3*RATE), .3), 1e-6 * np.ones((1, RATE))):
        for scene in (*SCENES, None):
            score, = T.transcribe((x.astype(np.float32), RATE), all_of(scene))
            assert not score.level.any() and not score.strengths.any() and score.times.shape == (1, 1)
    x = blasts([1.], [.2], 8.)
    x[:, 3*RATE:] = 0
    score, = T.transcribe((x, RATE), all_of('explosion'))
    assert score.level[0, 350:].max() == 0 and events(score)[0].max() < 3.1
    timeline = Timeline([Segment(0., 3., None), Segment(3., 8., 'raining')]) # what is called silence, is
    a, b = T.transcribe((blasts([1.], [.2], 8.), RATE), timeline)
    assert not a.strengths.any() and not a.level.any() and b.level.any()

@pytest.mark.parametrize('n', [1, 200, 512, 5000, 22051])
def test_short_sounds(n):
    for scene in SCENES:
        score, = T.transcribe((blasts([0.], [.3], 2.)[:, :n], RATE), all_of(scene))
        moment = score.between(0, n / RATE).at(torch.linspace(0, n / RATE, 3))
        assert torch.isfinite(moment.level).all() and torch.isfinite(moment.age).all()
    segments = Timeline([Segment(0., .01, 'raining'), Segment(50., 60., 'thunder')]) # hardly there, and beyond the end
    assert [len(s) for s in T.transcribe((blasts([0.], [.3], 2.)[:, :n], RATE), segments)] == [1, 1]

def test_segments_are_heard_for_themselves_and_reach_beyond():
    feats = features((blasts((2., 8., 14.), (.1, .2, .1), 18.), RATE))
    timeline = Timeline([Segment(0., 6., 'thunder'), Segment(6., 12., 'explosion'), Segment(12., 18., 'thunder')])
    scores = T.transcribe(feats, timeline)
    assert [s.start for s in scores] == [0, 3, 9]
    alone, = T.transcribe(feats, timeline[1:2])
    assert torch.equal(alone.level, scores[1].level) and torch.equal(alone.times, scores[1].times)
    for score, at in zip(scores, (2., 8., 14.)):
        assert abs(events(score)[0] - at).min() < .05 # in the time of the whole sound
        assert abs(score.at(torch.tensor([at])).age).min() < .05

def test_the_same_each_time_and_however_it_arrives():
    x = blasts(WHEN, SIZES, 9.)
    a = T.transcribe(Sound((x, RATE)), all_of('thunder'))[0]
    for n in (1, 13, 1000):
        b = T.transcribe(FeatureReader(np.array_split(x, n, axis=1)).finish(), all_of('thunder'))[0]
        assert all(torch.equal(getattr(a, k), getattr(b, k)) for k in ('level', 'flow', 'times', 'strengths'))

def test_passages_meet_without_a_seam(monkeypatch):
    feats, wanted = synthetic(40.), all_of('fire crackling')
    a, = T.transcribe(feats, wanted)
    monkeypatch.setattr(T, '_PASSAGE', 700)
    b, = T.transcribe(feats, wanted)
    assert torch.allclose(a.level, b.level, atol=1e-4)
    assert T.match_events(events(a)[0], events(b)[0], 1e-6) >= .99 * len(events(a)[0])

def memory(): # MB that this process has needed at most
    if not sys.platform.startswith('linux'): return 0
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def test_an_hour_costs_little_memory():
    T.transcribe(synthetic(200.), all_of('fire crackling'))
    feats, before = synthetic(3600.), memory()
    score, = T.transcribe(feats, all_of('fire crackling'))
    assert memory() - before < 100 # MB; the bands themselves are 12
    assert score.times.shape[1] > 1000 and (score.times[0].diff() > 0).all()
    tracemalloc.start()
    part = score.between(1800, 1802)
    moment = part.at(torch.linspace(1800, 1802, 60))
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    assert moment.age.shape[1] < 300 and part.level.shape[1] < 300
    whole = score.at(torch.linspace(1800, 1802, 60))
    assert torch.allclose(moment.level, whole.level, atol=1e-3)
    assert torch.allclose(moment.pulse(.25), whole.pulse(.25), atol=1e-4)
    number = moment.first + (moment.age[30] >= 0).sum() # events keep their numbers
    assert number == (whole.age[30] >= 0).sum()

BAD = {
    'no such scene': (all_of('snow'), 'no scene is called'),
    'no such kind': (all_of('raining', 'frogs'), 'no kind of raining'),
    'kind of another scene': (all_of('raining', 'fireworks'), 'no kind of raining'),
    'no timeline': ('raining', 'timeline must be'),
    'a list of names': (['raining'], 'timeline must be'),
    'nothing': (None, 'timeline must be'),
}

@pytest.mark.parametrize('timeline,said', BAD.values(), ids=BAD)
def test_mistakes_are_told_before_anything_is_heard(timeline, said):
    with pytest.raises(UserError, match=said): T.transcribe('no such file.wav', timeline)

def test_other_mistakes():
    feats = synthetic(3.)
    with pytest.raises(UserError, match='whole sound'):
        T.transcribe(Features(feats.curves, feats.times, 3.), all_of('raining'))
    with pytest.raises(UserError): T.transcribe('no such file.wav', all_of('raining'))
    assert T.transcribe(feats, Timeline()) == []

def test_the_shipped_weights():
    assert FILE.stat().st_size < 500_000
    with safe_open(FILE, 'pt') as f: shapes = {k: tuple(f.get_slice(k).get_shape()) for k in f.keys()}
    assert shapes == {k: tuple(v.shape) for k, v in T.Transcriber().state_dict().items()}

def test_the_recipe(tmp_path):
    torch.manual_seed(5)
    a = T.train_transcriber(tmp_path/'a.safetensors', 1, 2)
    b = T.train_transcriber(tmp_path/'b.safetensors', 1, 2)
    assert (tmp_path/'a.safetensors').read_bytes() == (tmp_path/'b.safetensors').read_bytes()
    assert set(a.least.tolist()) <= {float(np.float32(x)) for x in np.arange(.1, .85, .05)}
    assert not any(torch.isnan(v).any() for v in b.state_dict().values())
