"Run every notebook below `nbs/` as one pytest item, with nbdev's own rules about which cells count."
import os, shutil, subprocess, sys, tempfile, zlib
from pathlib import Path
import nbdev, pytest
from nbdev.config import get_config
from nbdev.test import test_nb as run_notebook

# librosa keeps compiled functions in a cache; two processes that fill it at the same time can crash, so each has its
# own. What is compiled when librosa is imported, half a minute, is compiled once, beside the first files, and copied.
def cache(name): return Path(tempfile.gettempdir())/f'sound-video-{zlib.crc32(sys.prefix.encode()):x}-{name}'

OWN, COMPILED = cache(os.environ.get('PYTEST_XDIST_WORKER', 'main')), cache('compiled')
os.environ['NUMBA_CACHE_DIR'] = str(OWN)

def pytest_configure(config):
    if hasattr(config, 'workerinput') or not config.getoption('numprocesses', None) or COMPILED.exists(): return
    new = cache(f'compiled-{os.getpid()}')
    subprocess.Popen(
        [sys.executable, '-c', f'import os, librosa.onset; os.rename({str(new)!r}, {str(COMPILED)!r})'],
        env=os.environ | dict(NUMBA_CACHE_DIR=str(new)),
    )

def pytest_runtest_setup(item):
    if COMPILED.exists() and not OWN.exists(): shutil.copytree(COMPILED, OWN)

def pytest_collect_file(file_path, parent):
    if file_path.suffix == '.ipynb' and not file_path.name.startswith(('_', '.')):
        return NotebookFile.from_parent(parent, path=file_path)

# cells marked `recordings` need a folder of real ones, which is no part of the repository
os.environ.setdefault('SOUND_VIDEO_RECORDINGS', str(Path(__file__).parents[1]/'shared/recordings'))
def skipped_flags():
    return {*get_config().tst_flags.split()} - (
        {'recordings'} if Path(os.environ['SOUND_VIDEO_RECORDINGS']).is_dir() else set()
    )

class NotebookFile(pytest.File):
    def collect(self): yield NotebookItem.from_parent(self, name='notebook')

class NotebookItem(pytest.Item):
    def runtest(self):
        nbdev.nbdev_export = lambda: None # the last cell of each, which would export all of them
        passed, _ = run_notebook(self.path, skip_flags=skipped_flags(), basepath=self.path.parent)
        assert passed, f'{self.path.name} failed: the traceback is in the captured output'

    def repr_failure(self, excinfo): return str(excinfo.value)
    def reportinfo(self): return self.path, None, self.path.name

# Files that take long come first, so that processes that take whole files end at the same time
LONGEST = '''
    tests/test_training tests/test_wild_arguments tests/test_kernels tests/test_hearing tests/test_cli
    tests/test_editing tests/test_shared tests/test_robust tests/test_trajectory tests/test_own_videos
    tests/test_cli_examples tests/test_bulk app/09_training tutorials/00_own_videos hearing/09_finetuning
    hearing/08_alignment motion/04_trajectory_training editing/00_editing motion/01_inversion_training
    data/03_recordings metrics/01_videos tests/test_evaluation tests/test_explorer app/11_evaluation
    hearing/06_clip_training metrics/00_images hearing/07_naming
'''.split()

def file_of(item_id): return item_id.split('::')[0].removeprefix('nbs/').rsplit('.', 1)[0]

def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(f) if (f := file_of(item.nodeid)) in LONGEST else len(LONGEST))
