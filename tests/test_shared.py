"Two processes take the steps of one: losses, weights, and the gradients of the first batch, within rounding."
import json, os, subprocess, sys
from pathlib import Path
import pytest

here = Path(__file__).parent
EVERY = os.environ.get('SOUND_VIDEO_PROCESSES') == 'all' # a minute longer
LOOSE = {'AudioEncoder': 3e-2, 'TrajectoryGenerator-generator': 5e-3} # maxima of masked mels are ties, distances are absolute: rounding decides between slopes

@pytest.fixture(scope='module')
def found():
    env = os.environ | dict(PYTHONPATH=f'{here.parent}{os.pathsep}{here}')
    said = subprocess.run([sys.executable, here/'shared.py', *([] if EVERY else ['judge,stylegan', 'clip'])], env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)

def test_first_gradients(found):
    gradients = {k: v for name, g in found.items() if name.startswith('gradients') for k, v in g.items()}
    assert {'SceneNet', 'Generator16-discriminator', 'Generator16-generator', 'Generator32-generator', 'Clip'} <= set(gradients)
    assert not {k: v for k, v in gradients.items() if not v < LOOSE.get(k, 1e-4)}

def test_losses_and_metrics(found):
    stages = {name: f for name, f in found.items() if 'losses' in f}
    assert {'judge', 'stylegan-16', 'stylegan-32', 'clip'} <= set(stages)
    assert not {(name, k): v for name, f in stages.items() for k, v in f['losses'].items() if not v < 5e-3}
    assert all(stages[k]['weights'] < 1e-3 for k in ('judge', 'stylegan-16', 'stylegan-32', 'clip'))
