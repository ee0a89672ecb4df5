"""Runs launches of CUDA kernels on the CPU: the unchanged sources, compiled by g++, one fiber for each thread of a
block."""
import ctypes, shutil, subprocess, sys
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from sound_video.stylegan import kernels

here = Path(__file__).parent
WRONG = {
    1: 'some threads wait at a barrier for others that have ended',
    2: 'more shared memory is used than was asked for',
}

def compiler(): return shutil.which('g++')

@lru_cache
def folder(): return Path(mkdtemp(prefix='kernels'))

@lru_cache
def loaded(name, defines):
    source = kernels.source_folder()/f'{name}.cu'
    main = folder()/f'{name}-{abs(hash(defines))}.cpp'
    main.write_text(f'#include "{here}/emulator.h"\n#include "{source}"\n#include "{here}/emulator_main.h"\n')
    flags = ['-std=c++17', '-O1', '-fno-strict-aliasing', '-ffp-contract=fast', '-shared', '-fPIC', f'-DENTRY={name}']
    if sys.platform == 'linux': flags += ['-nostdlib', '-fno-threadsafe-statics']  # half of the time is for linking
    subprocess.run(
        [compiler(), *flags, *(f'-D{k}={v}' for k, v in defines), str(main), '-o', str(main.with_suffix('.so'))],
        check=True,
    )
    return ctypes.CDLL(str(main.with_suffix('.so')))

def run(launch, device=None, backwards=False):
    "As `kernels.run`, here."
    lib = loaded(launch.name, launch.defines)
    assert lib.args_size() == ctypes.sizeof(launch.args), 'Args of Python and of C++ differ'
    wrong = lib.run(launch.grid, launch.block, launch.shared, ctypes.byref(launch.args), backwards)
    assert not wrong, f'{launch.name}: {WRONG[wrong]}'
