"The check for GPUs runs on a CPU, says what it leaves out, and finds a wrong operator."
import importlib.util, json, sys
from pathlib import Path
import pytest
from sound_video.stylegan import kernels

SCRIPT = Path(__file__).parents[1]/'tools/gpu_check.py'

@pytest.fixture
def check(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location('gpu_check', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    def run(*options):
        monkeypatch.setattr(sys, 'argv', [str(SCRIPT), '--device', 'cpu', '--out', str(tmp_path/'check'), *options])
        with pytest.raises(SystemExit) as e: module.main()
        return e.value.code, json.loads((tmp_path/'check.json').read_text()), (tmp_path/'check.md').read_text()
    return run

def test_passes_here(check):
    status, report, page = check('--only', 'generators', 'graphs', 'memory', 'peer')
    states = {p['part']: p['state'] for p in report['parts']}
    assert not status and states == dict(generators='passed', graphs='skipped', memory='skipped', peer='skipped')
    assert report['parts'][0]['found'].keys() == {'StyleGAN2', 'StyleGAN3-T', 'StyleGAN3-R'}
    assert 'CUDA graphs need a GPU' in page and '| generators | passed |' in page

def test_a_wrong_operator_is_found(check, monkeypatch):
    right = kernels.bias_act_cuda
    wrong = lambda x, b=None, impl='auto', **kw: right(x, b, impl=impl, **kw) * (1 if impl == 'ref' else 1.001)
    monkeypatch.setattr(kernels, 'bias_act_cuda', wrong)
    status, report, _ = check('--only', 'operators')
    assert status and 'bias_act' in report['parts'][0]['why']

def test_parts_that_do_not_fit_are_named(check):
    status, report, _ = check('--minutes', '0', '--only', 'speed', 'training')
    assert not status and all('minutes' in p['why'] for p in report['parts'])
