"""Two nodes on loopback, which share their files or do not: the same model; a worker that is killed costs nothing but
time."""
import sys
import pytest, torch
from safetensors.torch import load_file
from nodes import TRAIN, kill_worker, launch, wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='looks for the workers in /proc')

def weights(pack): return {p.name: load_file(p) for p in sorted(pack.glob('*.safetensors'))}

def test_two_nodes_and_a_killed_worker(tmp_path):
    apart, shared = [tmp_path/'node-0', tmp_path/'node-1'], [tmp_path/'shared']*2
    for folder in {*apart, *shared}: folder.mkdir()
    wait_for(launch(apart, *TRAIN), apart)
    whole = weights(apart[0]/'pack')
    assert set(whole) == {f'{name}.safetensors' for name in ('generator', 'discriminator', 'image_classifier')}
    for name, w in weights(apart[1]/'pack').items(): assert all(torch.equal(w[k], whole[name][k]) for k in w)
    agents = launch(shared, *TRAIN, restarts=2)
    kill_worker(agents[1], shared[0]/'pack.training/stylegan-16.1.pt')
    wait_for(agents, shared)
    for name, w in weights(shared[0]/'pack').items(): assert all(torch.equal(w[k], whole[name][k]) for k in w), name
    assert not [p for p in tmp_path.rglob('.*') if p.is_file()]
