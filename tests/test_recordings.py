"The recordings in the package, and the tool that adds to them."
import csv, importlib.util
from pathlib import Path
import numpy as np, pytest, soundfile
from sound_video.media import probe, read_sound
from sound_video.recordings import LICENCES, TABLE, read_recordings, recordings

ROOT = Path(__file__).parents[1]
ROW = dict(file='hum.wav', scene='wind noise', title='A hum', author='Somebody', licence='CC0-1.0', url='https://example.org/hum')

@pytest.fixture
def tool(tmp_path, monkeypatch):
    "The tool, with a folder of its own."
    spec = importlib.util.spec_from_file_location('tool', ROOT/'tools/recordings.py')
    spec.loader.exec_module(m := importlib.util.module_from_spec(spec))
    monkeypatch.setattr(m, 'FOLDER', tmp_path/'out')
    t = np.arange(20 * 44100) / 44100
    soundfile.write(tmp_path/'hum.wav', .02 * np.sin(2*np.pi * 440 * t) * np.where((t > 9) & (t < 15), 5., 1.), 44100)
    soundfile.write(tmp_path/'silent.wav', np.zeros(44100), 44100)
    return m

def table(folder, *rows):
    with open(folder/'table.csv', 'w', newline='') as f:
        w = csv.DictWriter(f, list(rows[0])); w.writeheader(); w.writerows(rows)
    return folder/'table.csv'

def test_every_recording_has_its_row_and_its_licence():
    rows = recordings()
    assert {r.file for r in rows} == {f.name for f in (ROOT/'sound_video/recordings').glob('*.opus')} and len({r.file for r in rows}) == len(rows) > 400
    assert all(r.licence in LICENCES and r.title and r.author and r.url.startswith('http') and ' ' not in r.url for r in rows)

def test_every_recording_is_as_its_row_says():
    for r in recordings()[::7]:
        x, rate = read_sound(r.path)
        assert x.shape[0] == 1 and abs(x.shape[1] / rate - r.seconds) < .1 and x.abs().max() > .1, r

def test_nobody_is_in_both_parts(tool):
    people = [{tool.person(r.author) for r in recordings(part=p)} for p in ('train', 'test')]
    assert not people[0] & people[1] and min(map(len, people)) > 40

def test_the_tool_takes_the_loudest_passage(tool, tmp_path, capsys):
    tool.main(table(tmp_path, ROW, ROW | dict(file='silent.wav'), ROW | dict(file='missing.wav'), ROW | dict(licence='CC-BY-NC-4.0'), ROW | dict(scene='traffic'), ROW))
    b, a = read_recordings(tool.FOLDER) # by name
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and 'silent' in said[0] and 'missing.wav' in said[1] and 'CC-BY-NC-4.0' in said[2] and 'traffic' in said[3]
    assert (a.title, a.author, a.seconds, a.file) == ('A hum', 'Somebody', 8., 'wind-noise-a-hum.opus') and b.file == 'wind-noise-a-hum-2.opus' and a.part == b.part
    x = read_sound(tool.FOLDER/a.file, 24000)[0][0]
    assert abs(probe(tool.FOLDER/a.file).seconds - 8) < .1 and sum(x[i:i + 2400].abs().max() > .5 for i in range(0, len(x) - 2400, 2400)) >= 58 # the six loud seconds

@pytest.mark.parametrize('text, says', [('file,scene\nhum.wav,wind noise\n', 'no column author, licence, title, url'), ('', 'no column')])
def test_a_table_that_is_none(tool, tmp_path, capsys, text, says):
    (tmp_path/'table.csv').write_text(text)
    with pytest.raises(SystemExit) as e: tool.main(tmp_path/'table.csv')
    assert e.value.code == 2 and says in capsys.readouterr().err and not (tool.FOLDER/TABLE).exists()
