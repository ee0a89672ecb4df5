"What is heard from when to when, as commands print it and take it back, and the video that follows."
import json, math
from unittest.mock import patch
import numpy as np, pytest, soundfile, torch
from sound_video.app import cli
from sound_video.app.edit import SoundVideo
from sound_video.app.generate import context_mean
from sound_video.app.pack_config import default_pack
from sound_video.core.errors import UserError
from sound_video.hearing.sound import Windows
from sound_video.hearing.timeline import Segment, Timeline, segments_of, viterbi, votes
from sound_video.media import sounds
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
    assert sv.generate(day, fps=4, timeline=Timeline([Segment(0, 18, 'thunder')]))[4].shape == (256, 256, 3)

def test_what_is_none_of_the_scenes_is_a_segment_and_is_shown_as_the_likest():
    starts, scenes = torch.arange(0., 16.), ['raining', 'thunder']
    windows = Windows(starts, torch.zeros(16, 1), torch.zeros(16), torch.full((16,), 1/16))
    music = (starts > 7).float()[:, None] * torch.tensor([.9, .02, .02])
    found = segments_of(windows, torch.tensor([[.8, .2]]).expand(16, 2), scenes, -60., 5., 20., music)
    assert [(s.scene, s.other) for s in found] == [('raining', None), ('raining', 'music')]
    assert abs(found[1].start - 10) <= 2 and .5 < found[1].p <= 1 and found.scenes == ['raining']
    assert Timeline.from_dict(json.loads(json.dumps(found.to_dict())))[1].other == 'music'
    assert 'other' not in found.to_dict()['segments'][0] and 'music' in repr(found) and 'raining' in repr(found)

@needs_model
@pytest.mark.parametrize('words', [['generate', '--fps', '1', '-o', 'x.mp4'], ['name', '--timeline']])
def test_decoded_once_to_be_heard(day, tmp_path, monkeypatch, words):
    "And once more, in step with the frames, for the sound of the video; no window is heard twice."
    monkeypatch.chdir(tmp_path)
    command, *more = words
    from sound_video.hearing.encoder import AudioEncoder
    heard, listen = [], AudioEncoder.listen
    monkeypatch.setattr(AudioEncoder, 'listen', lambda self, x: (heard.append(len(x)), listen(self, x))[1])
    with patch.object(sounds, '_blocks', side_effect=sounds._blocks) as decoder:
        assert cli.main([command, str(day), *more]) == 0
    assert decoder.call_count == (2 if command == 'generate' else 1)
    assert sum(heard) == 14 # of five seconds, from 0, 1, … and 13 s on

def test_a_model_without_classes_has_no_timeline():
    from sound_video.app.generate import listen
    from sound_video.app.pack_config import PackConfig
    from sound_video.hearing.encoder import AudioEncoder, EncoderConfig
    class Classless:
        config = PackConfig({}, {}, hearing=dict(scale=1.))
        encoder = AudioEncoder(EncoderConfig(width=4, hidden=8))
    with pytest.raises(UserError, match='no classes'): listen(Classless, (torch.zeros(1, RATE), RATE))

def dense(n, dim=4): # seconds
    starts = torch.arange(n - 4.)
    v = torch.nn.functional.normalize(torch.randn(len(starts), dim, generator=torch.Generator().manual_seed(0)), dim=1)
    return Windows(starts, v, torch.zeros(len(starts)), torch.full((len(starts),), 1 / len(starts)))

def test_what_is_far_away_has_no_vote():
    "However long the sound: here a scene that is heard in its first minute only."
    for hours in (.1, 3):
        w = dense(n := round(hours * 3600))
        p = torch.where((w.starts < 60)[:, None], torch.tensor([.9, .1]), torch.tensor([.1, .9]))
        found = votes(w, p.log(), 5., float(n)).exp()
        assert len(found) == n and (found[:58, 0] > .89).all() and (found[70:, 1] > .89).all()

def test_hours_need_little_memory():
    "Means over neighbours are those of all pairs, without a matrix of them."
    w = dense(900)
    counts = (torch.arange(len(w.starts)) % 7 > 0).float()
    pairs = torch.exp(-.5 * ((w.starts[:, None] - w.starts) / 15.)**2) * counts
    all_at_once = torch.nn.functional.normalize(pairs @ w.vectors, dim=1)
    assert torch.allclose(context_mean(w.starts, w, w.starts, counts), all_at_once, atol=1e-5)
    w, kept = dense(10 * 3600), []
    matmul = torch.Tensor.__matmul__
    with patch.object(torch.Tensor, '__matmul__', lambda a, b: (kept.append(a.numel()), matmul(a, b))[1]):
        context_mean(w.starts, w, w.starts, w.weights)
    assert max(kept) < 256 * 512
    quiet = context_mean(w.starts[:600], w, w.starts, torch.zeros(len(w.starts)))
    assert torch.allclose(quiet.norm(dim=1), torch.ones(600), atol=1e-5) # where nothing counts, everything does

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

def test_a_short_form_is_kept(tmp_path):
    "With its open end; and many segments have a short title."
    Timeline.parse('0:raining, 1:30:silence').save(tmp_path/'t.json')
    assert Timeline.load(tmp_path/'t.json') == [Segment(0, 90, 'raining'), Segment(90, math.inf, None)]
    many = Timeline(Segment(i, i + 1, 'thunder' if i % 2 else 'raining') for i in range(40))
    assert many.title == 'raining → thunder → raining → 36 more → thunder'

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
