"`python -m sound_video` is the command `sound-video`."
import sys
from sound_video.app.cli import main

sys.exit(main())
