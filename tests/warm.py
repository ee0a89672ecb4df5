"Imported by the process that commands are forked from (command.py): what is compiled when it is first used."
import torch
from sound_video.hearing.features import features

features((torch.randn(1, 44100) * .1, 22050))
