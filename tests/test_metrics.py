"Measures against closed forms and independent implementations, networks that users bring, and the odd cases."
import pickle, warnings
import numpy as np, pytest, scipy.linalg, torch, torch.nn as nn
from safetensors.torch import load_file
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from sound_video.core.errors import UserError
from sound_video.core.arrays import to_uint8
from sound_video.metrics.images import (
    Inception, SceneNet, bootstrap, features_of, fid, frechet_distance, inception_score, kernel_distance, kid,
    perceptual_distance, probs_of, variety)
from sound_video.app.pack_config import default_pack
from sound_video.metrics.videos import (
    I3D, VideoNet, as_clips, av_align, clip_consistency, clip_features, event_iou, flow_curve, flow_peaks, fvd, kvd,
    onset_times, optical_flow, video_loss)
from sound_video.world.clips import split_seeds, stills

RATE = 22050

class Pictures(nn.Module):
    "What StyleGAN's Inception file takes and gives."
    def forward(self, x, return_features:bool=False, no_output_bias:bool=False):
        x = x.float().flatten(2)
        h = torch.cat([x.mean(2), x.std(2)], 1)
        return h if return_features else (h + (0. if no_output_bias else 1.)).softmax(1)

class Clips(nn.Module):
    "What the I3D file takes and gives."
    def forward(self, x, rescale:bool=False, resize:bool=False, return_features:bool=False):
        x = x / 127.5 - 1 if rescale else x
        return torch.cat([x.mean((2, 3, 4)), x.diff(dim=2).abs().mean((2, 3, 4))], 1)

class NoRows(nn.Module):
    def forward(self, x, return_features:bool=False): return x.float()

@pytest.fixture(scope='module')
def image_classifier():
    net = SceneNet()
    net.load_state_dict(load_file(default_pack()/'image_classifier.safetensors'))
    return net.eval()

@pytest.fixture(scope='module')
def pictures():
    return torch.cat([stills(s, split_seeds('test', 12), 64) for s in ('thunder', 'raining', 'fire crackling')])

def script(module, path):
    torch.jit.script(module).save(path)
    return str(path)

def gaussian(n, d, seed=0): return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

def test_inception_file(tmp_path, pictures):
    net = Inception(script(Pictures(), tmp_path/'inception.pt'))
    assert net.num_features == 6
    assert torch.allclose(
        net.features(pictures)[:, :3], torch.from_numpy(to_uint8(pictures)).float().mean((1, 2)), atol=1e-2
    )
    assert 1 <= inception_score(probs_of([pictures], net), 3)[0] <= 6
    assert fid([pictures], [pictures], net) < 1e-6 < fid([pictures], [pictures * .5], net)

def test_i3d_file(tmp_path):
    net, clips = I3D(script(Clips(), tmp_path/'i3d.pt')), torch.rand(6, 16, 3, 32, 32) * 2 - 1
    assert torch.allclose(net.features(clips)[:, :3], clips.mean((1, 3, 4)), atol=1e-2)
    assert fvd([clips], [clips[:, :1].expand_as(clips)], net) > 100 * max(1e-6, fvd([clips], [clips], net))
    videos = [to_uint8(c) for c in clips]
    assert torch.allclose(clip_features(videos, net), clip_features([clips], net), atol=1e-2)

def bad_files(d):
    (d / 'text.pt').write_text('not a network\n')
    (d / 'empty.pt').touch()
    (d / 'folder.pt').mkdir()
    (d / 'pickle.pt').write_bytes(pickle.dumps(dict(a=1)))
    torch.save(nn.Linear(2, 2).state_dict(), d / 'weights.pt')
    script(nn.Conv2d(3, 4, 3), d / 'other.pt')
    script(NoRows(), d / 'rows.pt')
    script(Pictures(), d / 'whole.pt')
    (d / 'half.pt').write_bytes((d / 'whole.pt').read_bytes()[:900])
    return [
        d / n
        for n in (
            'text.pt',
            'empty.pt',
            'folder.pt',
            'pickle.pt',
            'weights.pt',
            'other.pt',
            'rows.pt',
            'half.pt',
            'missing.pt',
        )
    ]

def test_files_that_are_no_feature_network(tmp_path):
    for path in bad_files(tmp_path):
        for kind in (Inception, I3D):
            with pytest.raises(UserError) as e: kind(path)
            assert str(path) in str(e.value) and '\n' not in str(e.value)

def test_frechet_distance_by_matrix_root():
    a, b = gaussian(300, 20) @ gaussian(20, 20, 1), gaussian(250, 20, 2) + 1
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expect = ((a.mean(0) - b.mean(0))**2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(float(expect), rel=1e-6)

@pytest.mark.parametrize('n, m, d', [(2, 2, 50), (5, 400, 64), (10, 12, 3), (64, 64, 64)])
def test_frechet_distance_of_odd_sizes(n, m, d):
    a, b = gaussian(n, d), gaussian(m, d, 1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9) and frechet_distance(a, b) > 0
    assert frechet_distance(a, a + 3) == pytest.approx(9 * d, rel=1e-6)
    assert frechet_distance(a + 1e4, b + 1e4) == pytest.approx(frechet_distance(a, b), rel=1e-5) # no cancellation

def test_fid_by_torchmetrics(image_classifier, pictures):
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance
    class Features(nn.Module):
        num_features = 128
        def forward(self, x): return image_classifier.features(x)
    fake = (pictures + .2 * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        metrics = FrechetInceptionDistance(Features(), input_img_size=(3, 64, 64)), KernelInceptionDistance(
            Features(), subsets=1, subset_size=len(fake)
        )
    for m in metrics: m.update(pictures, real=True); m.update(fake, real=False)
    assert fid(pictures.split(5), fake.split(7), image_classifier) == pytest.approx(
        float(metrics[0].compute()), rel=1e-2
    )
    assert kid(pictures.split(5), fake.split(7), image_classifier) == pytest.approx(
        float(metrics[1].compute()[0]), rel=1e-2
    )

def test_kernel_distance_pair_by_pair():
    a, b = gaussian(7, 4), gaussian(5, 4, 1)
    k = lambda x, y: float((x @ y / 4 + 1)**3)
    within = lambda x: np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])
    assert kernel_distance(a, b) == pytest.approx(within(a) + within(b) - 2 * np.mean([k(x, y) for x in a for y in b]))

def test_inception_score_of_splits():
    p = gaussian(60, 5).softmax(1)
    alone = [inception_score(q, 1)[0] for q in p.split(20)]
    assert inception_score(p, 3) == pytest.approx((np.mean(alone), np.std(alone)))
    assert inception_score(torch.eye(7), 1)[0] == pytest.approx(7) and inception_score(
        torch.eye(7), 7
    ) == pytest.approx((1, 0))
    with pytest.raises(UserError, match='splits'): inception_score(p[:4], 5)

def test_bootstrap_is_reproducible_and_keeps_pairs():
    a, b = gaussian(40, 1), gaussian(40, 1, 1)
    assert (
        bootstrap(kernel_distance, a, b, n=20)
        == bootstrap(kernel_distance, a, b, n=20)
        != bootstrap(kernel_distance, a, b, n=20, seed=1)
    )
    assert bootstrap(lambda x, y: (x - y).mean(), a, a + 1)[1] == pytest.approx(0, abs=1e-12)
    assert bootstrap(frechet_distance, a, b[:33], n=20)[0] == frechet_distance(a, b[:33])

def test_too_few_or_nothing(image_classifier):
    one = torch.zeros(1, 3)
    for f in (frechet_distance, kernel_distance):
        with pytest.raises(UserError): f(one, gaussian(5, 3))
    with pytest.raises(UserError): bootstrap(torch.mean, one)
    with pytest.raises(UserError): variety(torch.zeros(1, 3, 64, 64), image_classifier)
    with pytest.raises(UserError): features_of([], image_classifier)

def test_perceptual_distance_by_its_formula(pictures):
    class Two(nn.Module):
        def layers(self, x): return [x, -x[:, :2, ::2, ::2]]
    a, b = pictures[:5], pictures[5:10]
    cos = lambda x, y: (2 - 2 * torch.nn.functional.cosine_similarity(x, y)).mean((1, 2))
    expect = (cos(a, b) + cos(a[:, :2, ::2, ::2], b[:, :2, ::2, ::2])) / 2
    assert torch.allclose(perceptual_distance(a, b, Two()), expect, atol=1e-5)
    pairs = [perceptual_distance(pictures[i:i+1], pictures[j:j+1], Two()) for i in range(6) for j in range(i)]
    assert variety(pictures[:6], Two()) == pytest.approx(float(torch.cat(pairs).mean()), rel=1e-4)

def test_shipped_judge_tells_scenes_and_noise(image_classifier, pictures):
    assert inception_score(probs_of([pictures], image_classifier), 1)[0] > 2.3 # of three scenes
    assert fid([pictures[::2]], [pictures[1::2]], image_classifier) < fid(
        [pictures[::2]], [pictures[1::2] * 0.3], image_classifier
    )
    assert variety(pictures, image_classifier) > variety(pictures[:12], image_classifier)

@pytest.mark.parametrize('length, size', [(1, (64, 64)), (3, (32, 48)), (40, (20, 100))])
def test_video_net_takes_any_clip(length, size):
    net, x = VideoNet().eval(), torch.rand(2, length, 3, *size) * 2 - 1
    with torch.no_grad(): (scene, kind, curves), f, p = net(x), net.features(x), net.probs(x)
    assert [tuple(o.shape) for o in (scene, kind, curves, f)] == [
        (2, 9),
        (2, 66),
        (2, 2, length),
        (2, 128),
    ] and f.isfinite().all()
    assert (
        torch.allclose(p.sum(1), torch.ones(2))
        and video_loss((scene, kind, curves), *torch.zeros(2, 2, dtype=torch.long), curves) > 0
    )
    with torch.no_grad(): assert torch.allclose(net.features(x.flip(0)), f.flip(0), atol=1e-4)

def test_video_collections():
    net, clips = VideoNet().eval(), torch.rand(6, 16, 3, 64, 64) * 2 - 1
    assert abs(fvd([clips], clips.split(4), net)) < 1e-3
    rows = [clip_features([c], net) for c in (clips, clips.flip(1))]
    assert kvd([clips], [to_uint8(c) for c in clips.flip(1)], net) == pytest.approx(kernel_distance(*rows), abs=.05)
    for strange in (
        np.zeros((4, 64, 64, 3)),
        torch.zeros(4, 3, 64, 64),
        np.zeros((64, 64, 3), np.uint8),
        torch.zeros(2, 3, 16, 64, 64),
    ):
        with pytest.raises(UserError, match='not a video'): as_clips(strange)

@pytest.mark.parametrize('size', [(64, 64), (67, 101), (128, 80)])
@pytest.mark.parametrize('move', [(0, 0), (2, -1), (-4, 3)])
def test_flow_of_known_translations(size, move):
    x, (H, W), (u, v) = stills('squishing water', split_seeds('test', 4), 192), size, move
    cut = lambda dx, dy: x[..., 20-dy:20-dy+H, 20-dx:20-dx+W]
    flow = optical_flow(cut(0, 0), cut(u, v))[..., 10:-10, 10:-10]
    assert (flow - torch.tensor([u, v])[:, None, None]).norm(dim=1).median() < .02 + .1 * np.hypot(u, v)

def test_flow_curve_in_batches_and_sizes():
    x = to_uint8(stills('wind noise', split_seeds('test', 9), 64))
    assert np.allclose(flow_curve(x, batch=3), flow_curve(x), atol=1e-4) and flow_curve(x).shape == (8,)
    assert flow_curve(x.repeat(2, 1).repeat(2, 2)) == pytest.approx(
        flow_curve(x), rel=0.2
    )  # twice the size, the same flow
    assert not flow_curve(x[:1].repeat(5, 0)).any() and flow_curve(x[:1]).shape == (0,)

def random_times(rng): return np.sort(rng.uniform(0, 4, rng.integers(0, 15)))

def test_matching_is_the_best_there_is():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = random_times(rng), random_times(rng)
        near = csr_array(np.abs(a[:, None] - b) < .1) if len(a) and len(b) else None
        both = 0 if near is None else (maximum_bipartite_matching(near, perm_type='column') >= 0).sum()
        union = len(a) + len(b) - both
        assert event_iou(a, b, .1) == pytest.approx(both / union if union else 1) == event_iou(b, a, .1)

def clicks(times, rate=RATE, channels=1):
    x, n = np.zeros((channels, 4 * rate), np.float32), rate // 20
    burst = np.random.default_rng(0).uniform(-.5, .5, n) * np.exp(-np.arange(n) / (n / 5))
    for t in times: x[:, int(t * rate):][:, :n] += burst.astype(np.float32)
    return x

@pytest.mark.parametrize('rate, channels', [(22050, 1), (44100, 2), (16000, 1)])
def test_onsets_at_any_rate(rate, channels):
    at = np.array([.5, 1.3, 2.9])
    assert onset_times(clicks(at, rate, channels), rate) == pytest.approx(at, abs=.06)
    assert onset_times(torch.from_numpy(clicks(at, rate, channels)), rate) == pytest.approx(at, abs=.06)

def test_av_align_of_nothing():
    still, silent = np.zeros((30, 64, 64, 3), np.uint8), np.zeros((1, 4 * RATE), np.float32)
    assert av_align(still, 15, silent, RATE) == 1 and av_align(still, 15, clicks([1, 2]), RATE) == 0
    assert av_align(still[:1], 15, silent, RATE) == 1
    with pytest.raises(UserError, match='length of zero'): av_align(still[:1], 15, silent[:, :0], RATE)
    assert not len(flow_peaks(still[:2], 15))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore') # librosa warns that its window is longer
        assert len(onset_times(clicks([0])[:, :500], RATE)) <= 1

def test_clip_consistency():
    frames, sound = gaussian(6, 16), gaussian(6, 16, 1)
    cos = lambda a, b: float(a @ b / a.norm() / b.norm())
    assert clip_consistency(frames, sound) == pytest.approx(np.mean([cos(a, b) for a, b in zip(frames, sound)]))
    assert clip_consistency(frames.numpy(), sound[0].numpy()) == pytest.approx(
        np.mean([cos(a, sound[0]) for a in frames])
    )
