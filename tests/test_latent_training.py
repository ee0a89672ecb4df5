"The script that trains a generator of latents goes from stills to samples, keeps what it learnt, and goes on from it."
import importlib.util, json
from pathlib import Path

def script():
    file = Path(__file__).parents[1]/'training/latent_stylegan.py'
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def test_from_stills_to_a_kept_generator(tmp_path):
    train, work, kept = script(), tmp_path/'work', tmp_path/'kept'
    train.render(work, n=9)
    train.start_autoencoder(work)
    train.encode(work)
    train.train_generator(work, 16, bs=8, every=16)
    train.keep(work, kept)
    assert json.loads((kept/'state.json').read_text())['memory']['images'] == 16
    assert {p.name for p in kept.iterdir()} == {'autoencoder.safetensors', 'generator.safetensors', 'state.json'}
    assert [p.name for p in (work/'generator').glob('*.png')] == ['00000016.png']
    for file in (work/'generator').glob('*.pt'): file.unlink() # another machine has only what was kept
    train.train_generator(work, 16, start=kept, bs=8, every=16)
    assert [p.name for p in sorted((work/'generator').glob('*.png'))] == ['00000016.png', '00000032.png']
