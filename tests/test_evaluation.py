"The table of results: its numbers, its files, its networks, and what users get wrong."
import json
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
import numpy as np, pytest, torch
from safetensors.torch import load_file
from sound_video.app.cli import main
from sound_video.core.errors import UserError
from sound_video.app.evaluation import ROWS, Row, evaluate, row_video, row_path, summary, train_rows
from sound_video.app.model import as_seen
from sound_video.app.edit import SoundVideo
from sound_video.app import evaluation, generate, packs
from sound_video.app.generate import Shown, class_vector, heard_class, toward_class
from sound_video.app.pack_config import default_pack
from sound_video.hearing.sound import Sound
from sound_video.motion.inversion import sample_vectors
from sound_video.app.recipes import PRESETS
from sound_video.app.training import read_parts
import tiny_pack

KEYS = ('is', 'fid', 'kid', 'fvd', 'kvd', 'clip', 'scene', 'av_align', 'motion')

def look(rng, scene, spread=1.): # as `look_at` gives it
    t = lambda *shape: torch.from_numpy(rng.normal(0, spread, shape)).float()
    return dict(
        probs=torch.eye(9)[[scene] * 4],
        pictures=t(4, 6),
        film=t(5),
        clip=0.5,
        scene=1.0,
        av_align=0.3,
        motion=float(rng.random()),
    )

def test_summary_of_known_looks():
    rng = np.random.default_rng(0)
    looks, reference = [[look(rng, i % 9) for i in range(180)] for _ in range(2)]
    s = summary(looks, reference)
    assert set(s) == set(KEYS) | {f'{k}_se' for k in KEYS}
    assert s['is'] == pytest.approx(9, abs=1e-3) and s['scene'] == 1 and s['scene_se'] == 0 and s['clip'] == .5
    assert s['motion_se'] == pytest.approx((1/12 / 180)**.5, rel=.5) and abs(s['kvd']) < 5 * s['kvd_se']
    far = summary([look(rng, i % 9, 3.) for i in range(180)], reference)
    assert far['fvd'] - s['fvd'] > 5 * s['fvd_se'] and far['fid'] > s['fid']

@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    "What the command prints for nine clips, and the folder with what it writes."
    with pytest.MonkeyPatch.context() as m, redirect_stdout(StringIO()) as said:
        m.chdir(place := tmp_path_factory.mktemp('table'))
        rows = 'world,ours,ours without onsets'
        assert main(['evaluate', '--clips', '9', '--rows', rows, '--json', '-o', 'found']) == 0
    return json.loads(said.getvalue()), place

def test_command_prints_and_writes_the_table(measured):
    table, place = measured
    assert [r['name'] for r in table['rows']] == ['world', 'ours', 'ours without onsets']
    assert all(set(r) == {'name'} | set(KEYS) | {f'{k}_se' for k in KEYS} for r in table['rows'])
    assert table == json.loads((place/'found.json').read_text()) and '| ours | ' in (place/'found.md').read_text()
    assert (table['pack'], table['clips']) == ('mini', 9) and table['rows'][0]['scene'] > .8

@pytest.mark.parametrize(
    'words, says',
    [
        (['--clips', '3'], '9 or more'),
        (['--rows', 'ours,theirs'], "no row is called 'theirs'"),
        (['-o', 'nowhere/x'], 'does not exist'),
        (['--data', 'nowhere'], 'nowhere'),
    ],
)
def test_faults(tmp_path, capsys, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert main(['evaluate', *words]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count('\n') == 1 and not any(tmp_path.iterdir())

def test_an_incomplete_pack_is_named(tmp_path):
    pack = tiny_pack.make(tmp_path/'pack', hears=True)
    with pytest.raises(UserError, match='not complete'): evaluate(pack)
    with pytest.raises(UserError, match='no complete pack'): train_rows(pack, 'tiny')

def rows_of(sv): return [name for name, row in ROWS.items() if not row.part or row.part in sv.config.parts]

def test_the_table_has_every_row_of_the_shipped_pack():
    table, has = json.loads((default_pack()/'evaluation.json').read_text()), rows_of(SoundVideo.load(device='cpu'))
    assert {'ours', 'ours without onsets'} <= set(has) <= {r['name'] for r in table['rows']}

def test_rows_without_a_network_are_named():
    with pytest.raises(UserError, match="no network for the row 'ours without fine'"):
        evaluate(rows=['ours', 'ours without fine'])

@pytest.fixture(scope='module')
def sv():
    sv = SoundVideo.load(device='cpu')
    sv.generator = as_seen(sv.generator, sv.hearing.clip)
    return sv

@pytest.fixture(scope='module')
def sound(): return .2 * torch.randn(1, 44100, generator=torch.Generator().manual_seed(0)), 22050

def test_rows_differ_in_what_they_say(sv, sound):
    films = {name: row_video(sv, name, sound, 5, 0) for name in rows_of(sv) if name != 'world'}
    assert all(f.shape == (10, 64, 64, 3) for f in films.values())
    assert len({f.tobytes() for f in films.values()}) == len(films)
    assert np.array_equal(films['ours'], np.stack(list(sv.generate(sound, 5, 0).frames())))

def test_rows_that_hear_start_from_the_same(sv, sound, monkeypatch):
    """The same class, the same draw, the same truncation; and the direct mapping's vectors are turned toward the class
    too."""
    sound, turned = Sound(sound, sv.encoder), []
    path = lambda name: row_path(sv, name, sound, 3)
    for module in (evaluation, generate):
        monkeypatch.setattr(
            module, 'toward_class', lambda sv, v, shown: (turned.append(shown), toward_class(sv, v, shown))[1])
    ours, alone = path('ours'), (
        name for name in rows_of(sv) if name not in ('world', 'reactive', 'without sound', 'direct mapping', 'ours')
    )
    for name in alone:
        p = path(name)
        assert torch.equal(p.targets.latents, ours.targets.latents), name
        assert p.seed == ours.seed and p.speed == ours.speed, name
    direct = path('direct mapping')
    assert all(shown == turned[0] for shown in turned) and turned[0] == Shown(heard_class(sv, sound, 3))
    words = class_vector(sv, turned[0].index)
    ones = torch.nn.functional.normalize(torch.ones(1, 128), dim=1)
    assert (toward_class(sv, ones, turned[0]) @ words).item() > .8
    assert len(direct.targets.latents) == 3 and direct.speed == 0
    assert torch.allclose(direct.targets.latents, ours.targets.latents, atol=2.)

def test_rows_leave_out_what_their_names_say():
    ours = Row('trajectory')
    for name, row in ROWS.items():
        if not name.startswith('ours without'): continue
        differs = {k for k in ('shape', 'learner', 'deaf', 'warp') if getattr(row, k) != getattr(ours, k)}
        left_out = set(name.removeprefix('ours without ').split(' and '))
        assert len(differs) == len(left_out) and not row.deaf, name
        assert ('warp' in differs) == ('onsets' in left_out) and (row.shape.get('hears', True) is False) == (
            'curves' in left_out
        ), name
        if name.endswith(' loss'): assert row.learner == {name.split()[2]: 0.}

def test_rows_are_trained_into_a_pack(tmp_path, monkeypatch):
    parts = read_parts(default_pack())
    monkeypatch.setitem(
        PRESETS,
        'tiny',
        replace(
            PRESETS['tiny'],
            trajectory=replace(PRESETS['tiny'].trajectory, clips=9, valid=9, epochs=1, seconds=1.0, steps=4, batch=4),
        ),
    )
    monkeypatch.setattr(packs, 'sample_vectors', lambda G, clip: sample_vectors(G, clip, 66)) # instead of 512
    parts.networks = {k: v for k, v in parts.networks.items() if ' ' not in k}
    pack = parts.save(tmp_path/'pack')
    train_rows(pack, 'tiny', rows=['GRU without sound per step', 'ours without mid', 'ours without light loss'])
    sv, axes = SoundVideo.load(pack), dict(SoundVideo.load().trajectory.named_buffers())
    assert {'residual GRU', 'row without mid', 'row without light loss', 'trajectory'} <= set(
        sv.config.parts
    ) and sv.network('row without mid').cfg.moving == ('coarse', 'fine')
    for a, b in zip(sv.trajectory.parameters(), SoundVideo.load().trajectory.parameters()): assert torch.equal(a, b)
    kept = load_file(pack/'row-without-light-loss.safetensors') # the axes are stored once, with the trajectory
    assert not set(kept) & set(axes) and all(
        torch.equal(v, axes[k]) for k, v in sv.network('row without light loss').named_buffers()
    )
    columns = read_csv(tmp_path/'pack.training/metrics-row-without-light-loss.csv').keys()
    assert {'motion', 'detail', 'clip'} <= columns and 'light' not in columns

def read_csv(file):
    names, *rows = (line.split(',') for line in file.read_text().splitlines())
    return dict(zip(names, zip(*rows)))

def test_the_table_is_what_the_model_gives(measured):
    "Nine clips measured anew lie around what the pack's table says of all."
    table = {r['name']: r for r in json.loads((default_pack()/'evaluation.json').read_text())['rows']}
    found = {r['name']: r for r in measured[0]['rows']}
    for name, r in found.items():
        for key in ('clip', 'scene', 'av_align', 'motion'):
            assert abs(r[key] - table[name][key]) < 4 * r[f'{key}_se'] + 0.05, (name, key, r[key], table[name][key])
    assert found['ours']['av_align'] >= .9 * found['world']['av_align'] and found['ours']['motion'] > .6
    assert found['ours']['av_align'] > found['ours without onsets']['av_align'] + .05
