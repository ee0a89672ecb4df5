"`python -m sound_video` is the command `sound-video`."
import sys
from .cli import main

sys.exit(main())
