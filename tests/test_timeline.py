"What is heard from when to when, as commands print it and take it back, and the video that follows."
import json
import numpy as np, pytest, soundfile, torch
from sound_video.app import cli
from sound_video.app.edit import SoundVideo
from sound_video.app.pack_config import default_pack
from sound_video.core.errors import UserError
from sound_video.hearing.timeline import Segment, Timeline, viterbi
from sound_video.media.videos import read_frames
from sound_video.world.clips import render

needs_model = pytest.mark.skipif(not default_pack().is_dir(), reason='the package comes without a model')
RATE, SCENES = 22050, ['raining', 'thunder', 'fire crackling']

@pytest.fixture(scope='module')
def day(tmp_path_factory):
    "Six seconds each of rain, thunder and fire, as a file."
    path = tmp_path_factory.mktemp('day')/'day.wav'
    parts = [render(scene, 19, 6., 1, 32).sound.mean(0) for scene in SCENES]
    soundfile.write(path, np.concatenate([np.asarray(p) for p in parts]), RATE)
    return path

@needs_model
def test_printed_edited_and_given_back(day, tmp_path, capsys):
    assert cli.main(['name', str(day), '--timeline', '--json']) == 0
    said = json.loads(capsys.readouterr().out)
    assert [s['scene'] for s in said['segments']] == SCENES
    assert all(abs(s['start'] - at) <= 2 for s, at in zip(said['segments'], (0, 6, 12)))
    assert said['segments'][-1]['end'] == said['seconds'] == 18
    said['segments'][1]['scene'], said['segments'][1]['kind'] = 'wind noise', None
    (tmp_path/'edited.json').write_text(json.dumps(said))
    out = tmp_path/'out.mp4'
    words = ['--fps', '2', '-o', str(out), '--timeline', str(tmp_path/'edited.json')]
    assert cli.main(['generate', str(day), *words]) == 0
    assert 'raining → wind noise → fire crackling' in capsys.readouterr().out and len(read_frames(out)) == 36

@needs_model
def test_the_scene_changes_with_the_sound(day):
    sv = SoundVideo.load(device='cpu')
    video = sv.generate(day, fps=4)
    assert video.class_name == ' → '.join(SCENES)
    x = torch.from_numpy(np.stack([video[k] for k in (12, 36, 60)])).permute(0, 3, 1, 2) / 127.5 - 1
    assert [sv.image_classifier.classes[i] for i in sv.image_classifier(x).argmax(1)] == SCENES
    assert np.array_equal(video[36], sv.generate(day, fps=4)[36]) # the same each time
    one = sv.generate(day, fps=4, class_name='raining')
    assert one.class_name.startswith('raining')
    short = sv.generate(day, fps=4, timeline='0:thunder, 9:raining')
    assert short.class_name == 'thunder → raining'
    assert sv.generate(day, fps=4, timeline=Timeline([Segment(0, 18, 'thunder')]))[4].shape == (64, 64, 3)

def test_of_two_states_the_likely_one_stays():
    odd = torch.tensor([[-.1, -2.3]] * 5 + [[-1.2, -.4]] + [[-.1, -2.3]] * 5)
    assert viterbi(odd, -3.) == [0] * 11 and viterbi(odd, -.1)[5] == 1

@pytest.mark.parametrize(
    'text, says',
    [
        ('rain', 'written as'),
        ('0:raining, 6', 'written as'),
        ('6:raining, 0:thunder', 'begins before'),
        ('', 'written as'),
    ],
)
def test_short_forms_that_are_none(text, says):
    with pytest.raises(UserError, match=says): Timeline.parse(text)

@pytest.mark.parametrize(
    'rows, says',
    [
        ([], 'a timeline is'),
        ([1], 'segment 1 must have'),
        ([dict(start=0, end=5)], 'must have start, end and scene'),
        ([dict(start=5, end=5, scene='raining')], 'must end after it starts'),
        ([dict(start=0, end='x', scene='raining')], 'end of segment 1'),
        ([dict(start=0, end=5, scene=3)], 'scene of segment 1'),
        ([dict(start=0, end=5, scene='raining'), dict(start=4, end=9, scene='thunder')], 'begins before'),
    ],
)
def test_files_that_are_none(rows, says):
    with pytest.raises(UserError, match=says): Timeline.from_dict(dict(segments=rows))

@needs_model
@pytest.mark.parametrize(
    'words, says',
    [
        (['--timeline', 'gone.json'], 'cannot read the timeline'),
        (['--scenes', '0:snowfall'], "no class 'snowfall'"),
        (['--scenes', '0:raining', '--class', 'thunder'], 'contradict'),
        (['--scenes', '0:raining', '--motion', 'reactive'], 'needs learned motion'),
        (['--scenes', '0:raining', '--timeline', 'x.json'], '--scenes is short for'),
    ],
)
def test_what_cannot_be_followed_is_one_line(day, capsys, words, says):
    assert cli.main(['generate', str(day), *words]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count('\n') == 1
