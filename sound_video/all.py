"Everything that a notebook wants at hand: `from sound_video.all import *`."
from .core import *
from .score import *
from .world import *
from .media import *
from .dataset import *
from .audio import *
from .stylegan import *
from .adversarial import *
from .trajectory import *
from .pipeline import *
