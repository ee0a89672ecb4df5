"Folders of real recordings, and the options that take them."
import csv, json, os
from pathlib import Path
import numpy as np, pytest, soundfile
from sound_video.app.cli import main
from sound_video.media.sounds import read_sound
from sound_video.data.recordings import TABLE, hold_out, recordings
from sound_video.world.score import SCENES

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get('SOUND_VIDEO_RECORDINGS', ROOT.parent/'shared/recordings'))
real = pytest.mark.skipif(
    not (REAL / TABLE).exists(), reason='no folder of recordings: name one in SOUND_VIDEO_RECORDINGS'
)

@pytest.fixture
def folder(tmp_path):
    "Two scenes with six files each, one that is no sound, and one in a folder of another name."
    rng = np.random.default_rng(0)
    for scene in ('raining', 'Wind-Noise'):
        (tmp_path/scene).mkdir()
        for i in range(6): soundfile.write(tmp_path/scene/f'{i}.flac', .1 * rng.standard_normal(4410), 22050)
    (tmp_path/'raining/notes.txt').write_text('a wet day')
    (tmp_path/'traffic').mkdir()
    soundfile.write(tmp_path/'traffic/car.wav', .1 * rng.standard_normal(4410), 22050)
    return tmp_path

def test_what_is_not_used_is_said(folder, capsys):
    assert [r.scene for r in recordings(folder)] == ['wind noise'] * 6 + ['raining'] * 6
    assert '2 things in' in capsys.readouterr().err

@pytest.mark.parametrize(
    'text, says',
    [
        ('', 'no column'),
        ('file,scene\n', 'no column'),
        ('file\na.wav\n', 'no column scene'),
        ('file,scene\nraining/0.flac,traffic\n', "the scene 'traffic'"),
        ('file,scene\nraining/9.flac,raining\n', 'does not exist'),
        ('file,scene,part\nraining/0.flac,raining,valid\n', "the part 'valid'"),
        (b'\xff\xfe\xff', 'UTF-8'),
    ],
)
def test_a_table_that_is_none(folder, capsys, text, says):
    (folder/TABLE).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(['evaluate', '--hearing', str(folder)]) == 2
    err = capsys.readouterr().err
    assert says in err and TABLE in err and err.count('\n') == 1

@pytest.mark.parametrize(
    'more, says',
    [
        (['image_classifier', '--recordings', '{}'], 'stage audio'),
        (['--data', '{}', '--recordings', '{}'], 'nine scenes'),
        (['--recordings', '{}/nowhere'], 'no such folder of recordings'),
        (['--recordings', '{}/raining'], 'has no recordings'),
    ],
)
def test_recordings_that_cannot_be_used_are_refused_at_once(folder, capsys, more, says):
    assert main(['train', '--out', str(folder/'pack'), '--preset', 'tiny', *(m.format(folder) for m in more)]) == 2
    assert says in capsys.readouterr().err and not (folder/'pack.training').exists()

@pytest.mark.parametrize(
    'more', [['--data', 'x'], ['--clips', '18'], ['--rows', 'ours'], ['-o', 'x'], ['--audio-track', '1']]
)
def test_hearing_makes_no_table(folder, capsys, more):
    assert main(['evaluate', '--hearing', str(folder), *more]) == 2 and 'makes no table' in capsys.readouterr().err

@real
def test_the_shared_table_is_split_by_people():
    rows = recordings(REAL)
    assert len(rows) == len(list(REAL.glob('*.opus'))) == 417 and {r.scene for r in rows} == set(SCENES)
    train, test = ([r for r in rows if r.split == s] for s in ('train', 'test'))
    rest, held = hold_out(train)
    people = [{r.person for r in part} for part in (rest, held, test)]
    assert not people[0] & people[1] and not (people[0] | people[1]) & people[2] and len(people[1]) >= 40
    for r in rows[::29]: assert read_sound(r.path)[0].abs().max() > .1, r

@real
def test_everyone_is_credited():
    page = ''.join(
        l
        for c in json.loads((ROOT / 'nbs/data/03_recordings.ipynb').read_text(encoding='utf-8'))['cells']
        if c['cell_type'] == 'markdown'
        for l in c['source']
    )
    said = page.replace('\\', '').replace('&lt;', '<')
    for r in csv.DictReader((REAL/TABLE).read_text(encoding='utf-8').splitlines()):
        title = r['title'].replace('\\u200b', '') # a blank of no width, spelt out
        assert f"| {r['scene']} | [{title}](<{r['url']}>) | {r['author']} |" in said, r
