"""Make an environment that holds a wheel and what it requires, and nothing else: `linked_env.py WHEEL FOLDER`.

What the wheel requires, and what that requires in turn, is linked from the environment that runs this script, so that
gigabytes need not be unpacked once more."""
import subprocess, sys, venv, zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path
from packaging.requirements import Requirement

def required(texts, extras=('',)):
    "The names in requirements that hold on this machine, with their own extras."
    for r in map(Requirement, texts or ()):
        if r.marker is None or any(r.marker.evaluate(dict(extra=extra)) for extra in extras): yield r.name, r.extras

def closure(texts): # requirements -> distributions
    found, todo = {}, list(required(texts))
    while todo:
        name, extras = todo.pop()
        d = distribution(name)
        key = d.metadata['Name'].lower(), frozenset(extras)
        if key in found: continue
        found[key] = d
        todo += required(d.requires, ('', *extras))
    return {d.metadata['Name']: d for d in found.values()}.values()

wheel, folder = sys.argv[1], Path(sys.argv[2])
with zipfile.ZipFile(wheel) as z:
    about = Parser().parsestr(z.read(next(n for n in z.namelist() if n.endswith('.dist-info/METADATA'))).decode())
venv.create(folder, with_pip=True, symlinks=True)
packages = next((folder/'lib').glob('python*/site-packages'))
for d in closure(about.get_all('Requires-Dist')):
    for top in {f.parts[0] for f in d.files if f.parts[0] not in ('..', '__pycache__')}:
        if not (packages/top).exists(): (packages/top).symlink_to(Path(d.locate_file(top)).resolve())
python = folder/'bin/python'
subprocess.run([python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--no-deps', wheel], check=True)
subprocess.run([python, '-m', 'pip', 'check'], check=True)
