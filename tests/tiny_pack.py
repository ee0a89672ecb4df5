"An untrained pack, small enough to make and run in a moment."
import torch
from sound_video.core.devices import seed_all
from sound_video.app.packs import describe, save_pack
from sound_video.stylegan.stylegan2 import Generator, StyleGAN2Config

def ears():
    "A `Hearing` that has learnt nothing."
    from sound_video.hearing.captions import small_clip
    from sound_video.hearing.encoder import AudioEncoder, EncoderConfig
    from sound_video.hearing.naming import Hearing
    encoder = AudioEncoder(EncoderConfig(width=4, hidden=16))
    return Hearing(encoder, small_clip().freeze(), 20.)

def networks(G, dim):
    "Codes and paths, neither of which has learnt anything."
    from sound_video.motion.inversion import (
        Inverter, InverterConfig, ImageEncoder, ImageEncoderConfig, latent_statistics)
    from sound_video.motion.trajectory import TrajectoryConfig, TrajectoryGenerator, latent_axes
    from sound_video.motion.reactive import layer_groups
    shape, stats, groups = (
        (G.synthesis.num_ws, G.cfg.w_dim),
        latent_statistics(G, 256),
        layer_groups(G.synthesis.num_ws),
    )
    E = Inverter(InverterConfig(dim, *shape, hidden=16), *stats)
    axes = latent_axes(E, torch.nn.functional.normalize(torch.randn(32, dim), dim=1), groups, 4)
    M = TrajectoryGenerator(
        TrajectoryConfig(groups, *shape, axes=4, hidden=8), {g: [x.detach() for x in a] for g, a in axes.items()}
    )
    return dict(
        inverter=E,
        trajectory=M,
        image_encoder=ImageEncoder(ImageEncoderConfig(*shape, 16, width=4, hidden=16), *stats),
    )

def make(path, resolution=16, class_names=('raining', 'thunder'), hears=False, moves=False):
    "Write the pack to `path`."
    seed_all(0)
    cfg = StyleGAN2Config(
        z_dim=16,
        w_dim=16,
        c_dim=len(class_names),
        img_resolution=resolution,
        channel_base=512,
        channel_max=16,
        num_layers=1,
    )
    G = Generator(cfg).eval()
    for _ in range(50): G.mapping.track(G.mapping(torch.randn(64, 16), torch.arange(64) % len(class_names)), .9)
    hearing = ears() if hears or moves else None
    return save_pack(
        path, G, describe(G, class_names), hearing=hearing, networks=networks(G, hearing.clip.dim) if moves else None
    )
