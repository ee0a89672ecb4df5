"What keeps the repository in one piece: layers, exports, metadata, README, and a light command line."
import ast, json, re, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path
import pytest
try: import tomllib
except ImportError: import tomli as tomllib # Python 3.10

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/'tools'))
import readme

PACKAGES = (
    'core media world data hearing stylegan motion editing metrics app'.split()
)  # each imports from those before it
BOOK = [p for package in PACKAGES for p in sorted(root.glob(f'nbs/{package}/[0-9]*.ipynb'))]
NOTEBOOKS = sorted(root.glob('nbs/*/[0-9]*.ipynb'))
BY_HAND = {'__init__', '__main__', '_modidx', 'all'} # modules that no notebook exports

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def code(path): return [''.join(c['source']) for c in cells(path) if c['cell_type'] == 'code']
def module(path): return re.search(r'#\| default_exp (\S+)', '\n'.join(code(path)))[1]

ORDER = [module(p) for p in BOOK]

def imported(path):
    "The package's modules that a module imports, as 'core.errors'."
    package = path.parent.name
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.ImportFrom): continue
        where = node.module or ''
        if node.level == 0 and where.startswith('sound_video.'): found = where.removeprefix('sound_video.')
        elif node.level == 1: found = f'{package}.{where}'.strip('.')
        elif node.level == 2 and where: found = where
        else: continue
        yield from [found] if '.' in found else [f'{found}.{a.name}' for a in node.names]

@pytest.mark.parametrize('name', ORDER)
def test_imports_only_modules_above(name):
    below = set(imported(root/f"sound_video/{name.replace('.', '/')}.py")) - set(ORDER[:ORDER.index(name)])
    assert not below, f'{name} imports {below}, which do not come before it'

def test_every_module_has_its_notebook():
    found = {f'{p.parent.name}.{p.stem}' for p in root.glob('sound_video/*/*.py') if p.stem != '__init__'}
    assert found == set(ORDER) and {module(p).split('.')[0] for p in BOOK} == set(PACKAGES)
    assert all(module(p).split('.')[0] == p.parent.name for p in BOOK), 'a notebook lies in the folder of its package'
    assert {p.stem for p in root.glob('sound_video/*.py')} == BY_HAND

def star_imports(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    return [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.names[0].name == '*']

def test_modules_import_by_name():
    assert not {p: stars for p in root.glob('sound_video/**/*.py') if (stars := star_imports(p))}

def public_names(path):
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            return ast.literal_eval(node.value)
    return []

def test_no_public_name_is_defined_twice():
    places = {}
    for path in root.glob('sound_video/*/*.py'):
        for name in public_names(path): places.setdefault(name, []).append(str(path.relative_to(root)))
    assert not {name: where for name, where in places.items() if len(where) > 1}

def test_the_public_face_is_small():
    assert 20 <= len(public_names(root/'sound_video/all.py')) <= 40

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_orderly(path):
    assert path.stat().st_size < 1_500_000
    assert all(c.get('id') for c in cells(path))
    for source in code(path):
        directives = ' '.join(re.findall(r'^#\|(.*)$', source, re.M))
        assert not ('export' in directives and re.search(r'eval: *false|slow|cuda', directives)), source[:80]
    title = ''.join(cells(path)[0]['source']).splitlines()
    assert title[0].startswith('# ') and all(
        l.startswith('> ') for l in title[1:] if l
    ), 'the site shows a title and a description of the first cell, and drops what else is in it'

def test_metadata_agrees():
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root/'settings.ini')
    cfg, project = cfg['DEFAULT'], tomllib.loads((root/'pyproject.toml').read_text())['project']
    assert project['name'] == cfg['pip_name'] and project['description'] == cfg['description']
    assert project['urls'] == {'Repository': cfg['git_url'], 'Documentation': cfg['doc_url']}

def third_parties(source):
    "Top-level packages of others that Python source imports, at any depth."
    nodes = list(ast.walk(ast.parse(source)))
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names] + [
        n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0
    ]
    return {name.split('.')[0] for name in names} - sys.stdlib_module_names - {'sound_video'}

def plain_name(name): return re.sub('[-_.]+', '-', name).lower()

def declared(*kinds): # of requirements -> names of distributions
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root/'settings.ini')
    return {plain_name(re.match(r'[\w-]+', r)[0]) for kind in kinds for r in cfg['DEFAULT'][kind].split()}

def distributions(modules):
    known = packages_distributions()
    return {plain_name(d) for m in modules for d in known.get(m, [m])[:1]}

BROUGHT = {'cuda-bindings'} # by torch, where it is made for CUDA
STARTED = {'pytest-xdist', 'hypothesis', 'ipykernel', 'execnb', 'ruff'} # by pytest, by Voilà, by nbdev, by make

def test_requirements_are_what_is_used():
    used = distributions(
        set().union(*(third_parties(p.read_text(encoding='utf-8')) for p in root.glob('sound_video/**/*.py')))
    )
    assert used - BROUGHT == declared(
        'requirements', 'fetch_requirements', 'midi_requirements', 'ray_requirements', 'shards_requirements')

def test_development_requires_what_it_uses():
    ours = [p for folder in ('tests', 'tools') for p in root.glob(f'{folder}/*.py')] + [root/'conftest.py']
    scripts = [p.read_text(encoding='utf-8') for p in ours]
    lessons = [
        re.sub(r'^\s*[%!].*$', '', source, flags=re.M) for path in root.glob('nbs/**/*.ipynb') for source in code(path)
    ]
    here = {p.stem for folder in ('tests', 'tools', 'benchmarks') for p in root.glob(f'{folder}/*.py')}
    optional = {m.split('.')[0] for s in scripts for m in re.findall(r"(?:importorskip|find_spec)\('([\w.]+)", s)}
    used = distributions(set().union(optional, *map(third_parties, scripts + lessons)) - here)
    assert used - BROUGHT <= declared('requirements', 'dev_requirements', 'fetch_requirements')
    assert declared('dev_requirements') - STARTED <= used

def test_sidebar_lists_every_notebook():
    listed = re.findall(r'[\w./]+\.ipynb', (root/'_quarto.yml').read_text())
    assert sorted(listed) == sorted(
        p.relative_to(root / 'nbs').as_posix() for p in root.glob('nbs/**/*.ipynb') if not p.name.startswith('.')
    )

def test_readme_is_the_index():
    assert (root/'README.md').read_text(encoding='utf-8') == readme.readme()

HEAVY = 'torch fastai librosa numpy matplotlib av'.split()

def test_the_shell_imports_nothing_heavy():
    script = f'import sys, sound_video, sound_video.app.cli; print([m for m in {HEAVY} if m in sys.modules])'
    assert subprocess.check_output([sys.executable, '-c', script], text=True).strip() == '[]'

def test_an_unknown_scene_needs_nothing_heavy(tmp_path):
    script = f"""import sys; from sound_video.app.cli import main
status = main(['data', 'render', {str(tmp_path/'out')!r}, '--scenes', 'rainin'])
print(status, [m for m in {HEAVY} if m in sys.modules])"""
    assert subprocess.check_output([sys.executable, '-c', script], text=True).strip() == '2 []'

def test_nothing_of_ours_is_pickled():
    for path in root.glob('sound_video/**/*.py'):
        source = path.read_text(encoding='utf-8')
        assert not re.search(r'\bimport pickle|pickle\.load|weights_only=False|load_learner', source), path

SOUND_FILE = re.compile(r'\.(opus|og[ga]|mp3|wav|flac|m4a|aac|aiff?|wma)$', re.I)

def test_no_sound_file_is_tracked():
    found = subprocess.run(['git', 'ls-files'], cwd=root, capture_output=True, text=True)
    if found.returncode: pytest.skip('not a git checkout')
    assert not [f for f in found.stdout.splitlines() if SOUND_FILE.search(f)]

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_no_output_shows_a_warning_of_some_machine(path):
    for c in cells(path):
        said = ''.join(''.join(o.get('text', '')) for o in c.get('outputs', []))
        assert not re.search(r'/\S+\.py:\d+: \w*Warning', said), c['id']

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_real_recordings_are_not_played(path):
    """Cells that read them are marked, as the others must run without them; and what is marked shows no sound. Nor does
    any prose."""
    for c in cells(path):
        source, shown = ''.join(c['source']), json.dumps(c.get('outputs', []))
        if 'SOUND_VIDEO_RECORDINGS' in source or 'shared/' in source:
            assert c['cell_type'] == 'markdown' or source.startswith('#| recordings\n'), c['id']
        if source.startswith('#| recordings\n') or c['cell_type'] == 'markdown':
            assert not re.search('<audio |<video |data:(audio|video)', source + shown), c['id']
