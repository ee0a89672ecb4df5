"An untrained pack, small enough to make and run in a moment."
import torch
from sound_video.core import seed_all
from sound_video.pipeline import describe, save_pack
from sound_video.stylegan import Generator, StyleGAN2Config

def ears():
    "A `Hearing` that has learnt nothing."
    from sound_video.clip import small_clip
    from sound_video.encoder import AudioEncoder, EncoderConfig
    from sound_video.hearing import Hearing
    encoder = AudioEncoder(EncoderConfig(width=4, hidden=16))
    return Hearing(encoder, small_clip().freeze(), 20.)

def make(path, resolution=16, class_names=('raining', 'thunder'), hears=False):
    "Write the pack to `path`."
    seed_all(0)
    cfg = StyleGAN2Config(z_dim=16, w_dim=16, c_dim=len(class_names), img_resolution=resolution, channel_base=512, channel_max=16, num_layers=1)
    G = Generator(cfg).eval()
    for _ in range(50): G.mapping.track(G.mapping(torch.randn(64, 16), torch.arange(64) % len(class_names)), .9)
    return save_pack(path, G, describe(G, class_names), hearing=ears() if hears else None)
