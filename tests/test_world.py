"The world's renderer: pictures of any width and height, and films of shots."
import numpy as np, pytest, torch
from sound_video.core.errors import UserError
from sound_video.world import drawing, water
from sound_video.world.clips import draw
from sound_video.world.drawing import HOURS, Canvas, coords, inside
from sound_video.world.renderer import SCENE_HOURS, Shot, WorldFrames, common_hour, find_seed, shares_at
from sound_video.world.score import KINDS, SCENES, compose, kind_index
from sound_video.app.request import HOUR_NAMES
from sound_video.app.world import WorldVideo

def of_each_kind(scene):
    s = torch.arange(2000)
    return torch.stack([s[kind_index(scene, s) == k][0] for k in range(len(KINDS[scene]))])

def a_shot(scene, start, end, seed): return Shot(scene, start, end, compose(scene, torch.tensor([seed]), 20.), seed)

@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize('size', [(40, 72), (72, 40), (64, 64)])
def test_pictures_of_each_kind_in_every_shape(scene, size):
    seeds = of_each_kind(scene)
    score = compose(scene, seeds, 6.)
    x = draw(scene, seeds, score.at(score.times[:, 1] + .12), Canvas(*size))
    assert x.shape == (len(seeds), 3, *size) and x.isfinite().all() and x.min() >= -1 and x.max() <= 1
    assert (x.amax((1, 2, 3)) - x.amin((1, 2, 3)) > .1).all()

@pytest.mark.parametrize('size', [(90, 160), (160, 90), (128, 128), (64, 640)])
def test_a_disc_is_round_in_every_shape(size):
    x, y = coords(Canvas(*size))
    d = inside(.3 - ((x - .5)**2 + (y - .5)**2).sqrt(), Canvas(*size))
    assert abs(d.sum() - np.pi * (.3 * min(size))**2) < 20
    rows, columns = d[0].amax(1).sum(), d[0].amax(0).sum()
    assert abs(rows - columns) < 2

@pytest.mark.parametrize('scene', SCENES)
def test_the_same_place_at_another_size(scene):
    seeds = of_each_kind(scene)[:3]
    m = compose(scene, seeds, 6.).at(torch.tensor([1., 2., 3.]))
    small, large = (draw(scene, seeds, m, Canvas(72 * k, 128 * k)) for k in (1, 2))
    assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < .05

def test_a_canvas_that_keeps_changes_nothing():
    for scene in SCENES:
        seeds, keeping = torch.tensor([3]), Canvas(36, 64, kept={})
        for t in (1., 2.):
            m = compose(scene, seeds, 6.).at(torch.tensor([t]))
            assert torch.equal(draw(scene, seeds, m, keeping), draw(scene, seeds, m, Canvas(36, 64)))
        assert keeping.kept

def test_hours_are_those_of_the_world():
    assert HOUR_NAMES == tuple(HOURS) and set(SCENE_HOURS) < set(SCENES)
    for hours in SCENE_HOURS.values(): assert set(hours) <= set(HOURS)
    assert common_hour(['raining', 'thunder'], 0) in HOURS and common_hour([], 0) is None

def test_a_seed_of_these_kinds():
    kinds = {scene: KINDS[scene][-1].name for scene in SCENES[:5]}
    for seed in (0, 7, 2**31):
        found = find_seed(kinds, seed)
        for scene in kinds: assert int(kind_index(scene, torch.tensor([found]))) == len(KINDS[scene]) - 1
    assert find_seed({'thunder': None}, 1) != find_seed({'thunder': None}, 2)

def test_shares_add_up_however_short_the_shots():
    shots = [a_shot('raining', 0., 5., 1), a_shot('thunder', 5., 5.2, 1), a_shot('raining', 5.2, 9., 1)]
    shares = shares_at(shots, torch.linspace(0, 9, 500))
    assert (sum(shares.values()) - 1).abs().max() < 1e-5 and min(x.min() for x in shares.values()) >= 0
    assert shares[0][0] == 1 and shares[2][-1] == 1 and shares[1].max() > .9

def test_frames_do_not_depend_on_where_one_begins_or_on_the_rate():
    shots = [a_shot('raining', 0., 2., 1), a_shot('fire crackling', 2., 4., 1)]
    film = WorldFrames(shots, Canvas(36, 64), 40, 10)
    frames = np.concatenate(list(film.frames()))
    assert frames.shape == (40, 36, 64, 3) and frames.dtype == np.uint8
    for a, b in ((0, 1), (13, 29), (39, 40)): assert (np.concatenate(list(film.frames(a, b))) == frames[a:b]).all()
    thrice = np.concatenate(list(WorldFrames(shots, Canvas(36, 64), 120, 30).frames()))
    assert abs(thrice[1::3].astype(int) - frames).max() <= 1 # frame 3k + 1 of 30 a second is at the time of frame k

def test_a_loop_closes():
    film = WorldFrames([a_shot('splashing water', 0., 6., 4)], Canvas(36, 64), 60, 10, loop=True)
    x = np.concatenate(list(film.frames())).astype(int)
    steps = abs(np.diff(np.concatenate([x, x[:1]]), axis=0)).mean((1, 2, 3))
    assert steps[-1] < 2 * np.median(steps)
    plain = np.concatenate(list(WorldFrames(film.shots, film.canvas, 60, 10).frames())).astype(int)
    assert (plain[:30] == x[:30]).all() and abs(plain[-1] - plain[0]).mean() > 2 * steps[-1]

@pytest.fixture(scope='module')
def world(): return WorldVideo(device='cpu')

def clap(seconds=6., at=(2., 4.)):
    "Noise that bursts at these times: (samples, rate)."
    t, rng = np.arange(int(seconds * 16000)) / 16000, np.random.default_rng(0)
    loud = sum(np.where(t >= a, np.exp(-(t - a) / .3), 0) for a in at)
    return (.5 * loud * rng.standard_normal(len(t)) / 3).astype(np.float32), 16000

def test_lightning_when_it_claps(world):
    film = world.generate(clap(), fps=20, size=(96, 64), class_name='a close strike')
    light = np.asarray(film).mean((1, 2, 3))
    for at in (2., 4.): # before the clap dark, at the clap bright
        k = int(at * 20)
        assert light[k:k + 5].max() > 1.3 * light[k - 6:k - 2].max()

def test_silence_is_shown_as_nothing_happening(world, capsys):
    film = world.generate((np.zeros(48000, np.float32), 16000), fps=5, size=(96, 64), class_name='thunder')
    assert 'silent' in capsys.readouterr().err
    assert film.source.shots[0].score.strengths.max() == 0 and film.source.shots[0].score.level.max() == 0

def test_mistakes_are_told(world):
    for line, kw in (('even', dict(size='99x64')), ('hour', dict(hour='tea')),
            ('did you mean', dict(class_name='rainning')), ('silent throughout', dict(timeline='0:silence'))):
        with pytest.raises(UserError, match=line): world.generate(clap(), **kw)

def test_weather_leaves_a_picture_as_it_was_where_nothing_happens(world):
    picture = np.random.default_rng(0).integers(0, 256, (66, 99, 3), np.uint8)
    quiet = np.zeros(32000, np.float32), 16000
    film = world.generate(quiet, fps=5, class_name='raining', backdrop=picture)
    assert film.size == (66, 98) # even
    fitted = np.asarray(film.source.backdrop[0].permute(1, 2, 0) + 1) * 127.5
    assert abs(film[3] - fitted).max() <= 2

def test_lightning_lights_a_picture(world):
    picture = np.full((64, 96, 3), 120, np.uint8)
    light = np.asarray(world.generate(clap(), fps=20, class_name='a close strike', backdrop=picture)).mean((1, 2, 3))
    for at in (2., 4.): assert light[int(at * 20):int(at * 20) + 5].max() > 1.3 * light[int(at * 20) - 6]

def test_what_cannot_be_laid_over_a_picture_is_told(world, tmp_path):
    with pytest.raises(UserError, match='waterfall burbling cannot be laid over a picture'):
        world.generate(clap(), class_name='waterfall', backdrop=np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match='no such file'): world.generate(clap(), backdrop=tmp_path/'gone.jpg')

def test_a_scene_that_begins_after_the_end_is_shown_throughout(world):
    film = world.generate(clap(), fps=5, size=(64, 64), timeline='100:fire')
    late = world.generate(clap(), fps=5, size=(64, 64), timeline='3:fire')
    assert late[0].std() > 0
    assert [s.scene for s in film.source.shots] == ['fire crackling'] and film[29].std() > 0

def test_of_many_shots_only_those_near_are_looked_at():
    shots = [a_shot(('raining', 'thunder')[k % 2], 5. * k, 5. * k + 5, 1) for k in range(50)]
    whole = shares_at(shots, torch.arange(0, 250, .25))
    assert (sum(whole.values()) - 1).abs().max() < 1e-5 and len(whole) == 50
    for t in (0., 3., 5., 127.3, 249.):
        near = shares_at(shots, torch.tensor([t, t + .1]))
        assert 1 <= len(near) <= 2 and abs(float(sum(x[0] for x in near.values())) - 1) < 1e-5

@pytest.mark.parametrize('scene', ['raining', 'splashing water', 'waterfall burbling', 'underwater bubbling'])
@torch.inference_mode()
def test_what_is_drawn_in_part_is_what_is_drawn_whole(scene, monkeypatch):
    "Layers in their rectangles, and particles by their size: as if every pixel were looked at."
    for seed in of_each_kind(scene)[::2, None]:
        score = compose(scene, seed, 4.)
        m = score.at(score.times[0, :1] + .2)
        part = draw(scene, seed, m, 96)
        with monkeypatch.context() as whole:
            for module in (drawing, water): whole.setattr(module, 'EXACT', 1000)
            assert (draw(scene, seed, m, 96) - part).abs().max() < .05

def test_threads_draw_the_same_frames():
    film = WorldFrames([a_shot('fire crackling', 0., 1., 3)], Canvas(600), 3, 3)
    before, made = torch.get_num_threads(), []
    for n in (1, 2):
        torch.set_num_threads(n)
        made.append(list(film.frames()))
        assert torch.get_num_threads() == n
    torch.set_num_threads(before)
    assert len(made[0]) == 3 and all((a == b).all() for a, b in zip(*made))
