"What the tests keep of the world (kept.py) is what is made anew, and everything that is asked for tells it apart."
import numpy as np, pytest, torch
import kept
from sound_video.world.clips import render_frames
from sound_video.world.score import SCENES, compose
from sound_video.world.soundscape import synthesise

pytestmark = pytest.mark.skipif(not kept.FOLDER, reason='nothing is kept')
TIMES = torch.tensor([.1, .6, 1.1])

def asked(scene, seed=3, seconds=1.2): return scene, seed, compose(scene, torch.tensor([seed]), seconds)

@pytest.mark.parametrize('scene', SCENES)
def test_made_anew_it_is_the_same(scene):
    for x in (synthesise, synthesise.__wrapped__):
        assert np.array_equal(synthesise(*asked(scene), 8000), x(*asked(scene), 8000))
    frames = [np.concatenate([*f(*asked(scene), TIMES, 32)]) for f in (render_frames, render_frames.__wrapped__) * 2]
    assert all(np.array_equal(frames[0], f) for f in frames) and frames[0].shape == (3, 32, 32, 3)

def test_what_is_asked_for_is_what_is_read():
    first = synthesise(*asked('raining'), 8000)
    others = [
        synthesise(*asked('raining', 4), 8000),
        synthesise(*asked('thunder'), 8000),
        synthesise(*asked('raining'), 8000, 2)[:1],
        synthesise(*asked('raining'), 8000, wide=.5),
        synthesise(*asked('raining')[:2], compose('raining', torch.tensor([4]), 1.2), 8000),
    ]
    assert not any(np.array_equal(first, x) for x in others) and len(synthesise(*asked('raining'), 9000)[0]) == 10800
    a, b, c = ([*render_frames(*asked('raining'), t, s)][0] for t, s in ((TIMES, 32), (TIMES + .1, 32), (TIMES, 16)))
    assert (a != b).any() and c.shape == (3, 16, 16, 3)
