"Build metadata from settings.ini, and the version from the package."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
cfg = ConfigParser(delimiters=['='])
cfg.read(root/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
version = re.search(r"__version__ = ['\"](.+)['\"]", (root/'sound_video/__init__.py').read_text(encoding='utf-8'))[1]

setup(
    version=version,
    author=cfg['author'],
    license='Apache-2.0',
    keywords=cfg['keywords'].split(),
    long_description=(root/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    classifiers=['Intended Audience :: ' + cfg['audience'], 'Topic :: Multimedia :: Video'],
    python_requires='>=' + cfg['min_python'] + ',<3.14',
    install_requires=cfg['requirements'].split(),
    extras_require={name: cfg[name + '_requirements'].split() for name in ('dev', 'fetch', 'midi', 'ray', 'shards')},
    entry_points={'console_scripts': cfg['console_scripts'].split()},
    packages=find_packages(include=['sound_video', 'sound_video.*']) + ['sound_video.cuda_src'],
    package_dir={'sound_video.cuda_src': 'cuda'}, # kernels are compiled where they run
    package_data={'sound_video': ['packs/*/*', 'packs/*/clip/*'], 'sound_video.cuda_src': ['*.cu', '*.cuh', '*.cpp']},
    zip_safe=False)
