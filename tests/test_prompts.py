"What the words of a prompt ask for is what one sees, in both engines; what they cannot say is said."
import numpy as np, pytest, soundfile, torch
from sound_video.all import SoundVideo, UserError, WorldVideo, render, to_float
from sound_video.app.cli import main
from sound_video.app.generate import class_vector
from sound_video.app.prompts import prompt_latents, prompt_loss
from sound_video.world.clips import draw
from sound_video.world.depiction import SEEN, choose_kind, choose_light, labelled_stills, stronger, tinted
from sound_video.world.drawing import Canvas, Light, look, sky
from sound_video.world.land import PLACES, _hearth, _lower, on_water
from sound_video.world.renderer import find_seed
from sound_video.world.score import SCENES, compose
from sound_video.world.words import ATTRIBUTES, PHRASES, read_prompt

@pytest.fixture(scope='module')
def sv(): return SoundVideo.load(device='cpu')

@pytest.fixture(scope='module')
def wind(): return render('wind noise', 9, 1.5, 1, 16).sound, 22050

def still(scene, seeds=3, **where):
    seeds = torch.tensor([seeds])
    return draw(scene, seeds, compose(scene, seeds, 3.).at(torch.tensor([1.2])), Canvas(64, **where))

@pytest.mark.parametrize('text, attributes, scene', [
    ('Sunset over the mountains!', dict(hour='sunset', place='mountains'), None),
    ('a forest fire', dict(place='forest'), 'a brush fire'),
    ('a sandy beach in the fog', dict(place='beach', weather='fog'), None),
    ('heavy rain', dict(strength='strong'), 'a heavy downpour'),
    ('golden hour', dict(hour='sunset'), None),
    ('snow-covered peaks, violet light', dict(place='snow', colour='purple'), None),
])
def test_what_words_mean(text, attributes, scene):
    found = read_prompt(text)
    assert found.attributes == attributes and found.scene == scene and not found.unknown

def test_unknown_words_are_named_with_those_like_them():
    found = read_prompt('a beech at nigth with a unicorn by the lake')
    assert found.attributes == dict(place='lake') and set(found.unknown) == {'beech', 'nigth', 'unicorn'}
    assert 'beach' in found.unknown['beech'] and 'night' in found.unknown['nigth']
    assert all(w in found.warning for w in ('beech', 'beach', 'unicorn')) and '\n' not in found.warning
    with pytest.raises(UserError, match='no word of .*mountans.*did you mean.*mountains'): read_prompt('mountans')

def test_every_phrase_for_a_scene_is_known():
    for group in PHRASES.values():
        for phrase in group: assert not read_prompt(f'{phrase}, night').unknown, phrase

def test_each_place_and_each_asked_hour_changes_each_scene_outdoors():
    for scene in ('wind noise', 'raining', 'thunder'):
        plain = still(scene)
        assert all((still(scene, place=place) - plain).abs().mean() > .02 for place in PLACES), scene
    for scene in SCENES:
        if scene == 'underwater bubbling': continue
        noon, night = (still(scene, 7, hour=Light(h)) for h in ('noon', 'night'))
        assert night.mean() < noon.mean() - (.02 if scene in ('fire crackling', 'thunder') else .15), scene
        assert still(scene, 7, hour='no hour').equal(still(scene, 7)), scene

def test_fog_hides_what_is_far():
    clear, fog = (still('wind noise', hour=Light('noon', fog=f), place='mountains') for f in (False, True))
    assert fog[..., :40, :].std() < .7 * clear[..., :40, :].std()

def test_no_clouds_in_fog():
    seeds, horizon = torch.arange(6), torch.full([6, 1, 1], .4)
    def uneven(hour): return sky(look(seeds, hour=hour), seeds, Canvas(64, hour=hour), horizon).std(3).amax((1, 2))
    clear, fog = (uneven(Light('noon', fog=f)) for f in (False, True))
    assert (fog < .01).all() and (clear > .05).all()

def burning(kind, **where): # a fire of this kind
    return still('fire crackling', find_seed({'fire crackling': kind}, 1), **where)

def test_one_sees_the_hour_over_a_forest_fire():
    def top(hour): return burning('a brush fire', hour=Light(hour), place='forest')[0, :, :12].mean((1, 2))
    noon, sunset, night = map(top, ('noon', 'sunset', 'night'))
    assert noon.mean() > sunset.mean() + .1 and sunset.mean() > night.mean() + .1
    assert noon[2] > noon[0] + .1 and sunset[0] > sunset[2] + .1

def test_a_campfire_leaves_the_lake_to_be_seen():
    seeds = torch.tensor([find_seed({'fire crackling': 'a campfire'}, k) for k in range(8)])
    lake, sand = (_lower(_hearth(seeds), Canvas(64, place=p)) for p in ('lake', 'beach'))
    assert lake['py'].max() < .22 < sand['py'].max() and lake['tall'].equal(sand['tall'])
    assert _lower(sand, Canvas(64, hour='night')) is sand # no prompt: as it was

def test_a_mirror_shows_what_is_above_it_now():
    seeds, t = torch.tensor([3]), torch.tensor([1.])
    m = compose('explosion', seeds, 3.).at(t)
    picture, h = torch.zeros(1, 3, 64, 64), torch.full([1, 1, 1], .5)
    picture[:, :, 10:20, 20:44] = 1
    assert on_water(picture, seeds, m, h, Canvas(64)) is picture
    x = on_water(picture, seeds, m, h, Canvas(64, place='lake'))
    assert x[:, :, :32].equal(picture[:, :, :32]) and x[:, :, 40:, 20:44].mean() > .1

def test_one_sees_that_it_drizzles():
    seeds = torch.tensor([find_seed({'raining': 'a light drizzle'}, k) for k in range(6)])
    score = compose('raining', seeds, 3.)
    def change(hour): # from one moment to another
        moments = (stronger(score.at(torch.full([6], t)), .2) for t in (1., 1.5))
        a, b = (draw('raining', seeds, m, Canvas(64, hour=hour)) for m in moments)
        return (a - b).abs().mean()
    assert change(Light('overcast')) > 1.4 * change('overcast')

def test_kinds_follow_the_words():
    kind = lambda scene, text, **kw: choose_kind(scene, read_prompt(text, **kw))
    assert kind('splashing water', 'a beach') == 'waves on a beach'
    assert kind('wind noise', 'the desert') == 'desert wind' and kind('wind noise', 'snow') == 'a blizzard'
    assert kind('raining', 'violent rain') in ('a heavy downpour', 'rain with wind')
    assert kind('fire crackling', 'night') not in ('a fireplace', None) and kind('thunder', 'red') is None
    for seed in range(30):
        assert choose_kind('wind noise', read_prompt('', 'snow, desert'), seed) not in ('a blizzard', 'desert wind')
        assert choose_light(read_prompt('', 'night, dusk, dawn'), seed) in ('morning', 'noon', 'sunset')

@pytest.mark.parametrize('colour', ATTRIBUTES['colour'])
def test_tints_lead_to_their_colour(colour):
    x = tinted(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1, colour)
    r, g, b = x.mean((0, 2, 3))
    first = dict(red=r, orange=r, yellow=r, green=g, blue=b, purple=b, pink=r, grey=None)[colour]
    assert max(r, g, b) - min(r, g, b) < .02 if first is None else first == max(r, g, b)

def test_labels_are_those_of_their_classes():
    y = torch.cat([y for _, y in labelled_stills(96, 2, 16, 2)])
    assert all(-1 <= int(c.min()) and int(c.max()) < len(SEEN[name]) for name, c in zip(SEEN, y.T))
    assert all(len(c.unique()) > 2 for c in y.T)

def test_the_world_shows_and_scores_a_prompt(sv, wind):
    make = lambda **kw: WorldVideo(sv, 'cpu').generate(wind, 4, size=(64, 64), class_name='wind noise', **kw)
    film, plain = make(prompt='a red desert at night'), make()
    x, y = (to_float(np.asarray(f)) for f in (film, plain))
    assert x.mean() < y.mean() - .2 and x[:, 0].mean() > max(x[:, 1].mean(), x[:, 2].mean()) + .02
    assert set(film.prompt_met) == {'red', 'desert', 'night'} and film.prompt_met['night'] == 1
    assert plain.prompt_met is None and film.class_name == 'wind noise'

def test_a_scene_in_the_prompt_is_the_scene(sv, wind):
    film = WorldVideo(sv, 'cpu').generate(wind, 4, size=(64, 64), prompt='rain on a lake')
    assert film.class_name == 'raining'

def test_latents_are_steered_toward_the_prompt(sv):
    asked, vectors = read_prompt('a beach at sunset'), torch.stack([class_vector(sv, i) for i in range(66)])
    index, loss = sv.class_names.index('splashing water: waves on a beach'), None
    loss = prompt_loss(sv, asked, 'splashing water')
    w = prompt_latents(sv, asked, index, vectors)
    plain = sv.inverter(vectors[index].expand(16, -1), sv.inverter.draw(16, 5))
    assert loss(sv.generator.synthesis(w)).sum() < loss(sv.generator.synthesis(plain)).sum(1).mean()
    u = (w - sv.inverter.mean) / sv.inverter.std
    assert u.abs().max() < max(2.5, float(((plain - sv.inverter.mean) / sv.inverter.std).abs().max()) * 1.5)

def test_one_line_for_each_way(sv, wind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    soundfile.write('wind.wav', wind[0].numpy().T, wind[1])
    base = ['generate', 'wind.wav', '--pack', 'world', '--size', '64x64', '--fps', '4', '--class', 'wind noise']
    assert main([*base, '--prompt', 'a foggy nigth', '--negative', 'red']) == 0
    out, err = capsys.readouterr()
    assert 'prompt: foggy ' in out and '% of frames' in out and "'nigth'" in err and 'night' in err
    assert main([*base, '--prompt', 'qwxz']) == 2 and 'no word of' in capsys.readouterr().err
