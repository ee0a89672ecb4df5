"""Train the generator of 256 × 256 images: stills of the world, an autoencoder, a StyleGAN2 of its latents.

Each command goes on where it stopped, and all of it lies in one folder WORK; README.md beside this file has the order.
"""
import argparse, json, sys, time
from pathlib import Path
import numpy as np, torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from safetensors.torch import load_file, save_file
from torchvision.utils import make_grid, save_image
from sound_video.stylegan.adversarial import GANModels, GANState, stylegan_learner
from sound_video.stylegan.autoencoder import (
    Autoencoder, AutoencoderConfig, fit_whitening, load_autoencoder, save_autoencoder, with_decoder)
from sound_video.stylegan.autoencoder_training import autoencoder_learner, fit_cosine
from sound_video.core.callbacks import ComputeIn, TrainingState, keeping, read_checkpoint, term_values
from sound_video.core.arrays import to_uint8
from sound_video.core.devices import default_device, seed_all
from sound_video.core.errors import UserError, atomic
from sound_video.metrics.images import fid, scene_accuracy
from sound_video.app.packs import scenes_of
from sound_video.world.score import KIND_NAMES, SCENES, kind_label
from sound_video.stylegan.stylegan2 import Discriminator, Generator, StyleGAN2Config
from sound_video.world.clips import split_seeds, stills

SIZE = 256 # pixels

def say(*words): print(time.strftime('%H:%M:%S'), *words, flush=True)

class GrowingFile:
    "Rows of one shape on disk, with labels [N]: appended while others read."
    def __init__(self, path, shape, dtype): self.path, self.shape, self.dtype = Path(path), shape, np.dtype(dtype)

    @property
    def index(self): return self.path.with_name(self.path.name + '.labels.npy')

    @property
    def labels(self): return np.load(self.index) if self.index.exists() else np.zeros(0, np.int64)

    def __len__(self): return len(self.labels)

    def rows(self):
        if not len(self): raise UserError(f"'{self.path}' is empty: make its rows first")
        return np.memmap(self.path, self.dtype, 'r', shape=(len(self), *self.shape))

    def append(self, rows, labels): # rows count when the index, written last, has them
        old = self.labels
        self.path.touch()
        with open(self.path, 'r+b') as f:
            f.seek(len(old) * self.dtype.itemsize * int(np.prod(self.shape)))
            f.write(np.ascontiguousarray(rows, self.dtype).tobytes())
        with atomic(self.index) as tmp, open(tmp, 'wb') as f: np.save(f, np.concatenate([old, labels]))

def still_file(work, split): return GrowingFile(work/f'{split}.stills', (3, SIZE, SIZE), np.uint8)
def latent_file(work, split, C): return GrowingFile(work/f'{split}.latents', (C, SIZE//8, SIZE//8), np.float16)

class Batches:
    "`n` batches (rows, labels) of a growing file, at random or in order; `prepare` makes tensors of rows."
    def __init__(self, file, bs, n, prepare, shuffle=True, seed=0, device='cpu'):
        self.file, self.bs, self.n, self.prepare, self.device = file, bs, n, prepare, device
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
    def set_epoch(self, epoch): self.epoch = epoch
    def __len__(self): return self.n
    def __iter__(self):
        rows, labels, rng = self.file.rows(), self.file.labels, np.random.default_rng([self.seed, self.epoch])
        for b in range(self.n):
            i = rng.choice(len(rows), self.bs) if self.shuffle else np.arange(b*self.bs, (b+1)*self.bs) % len(rows)
            yield self.prepare(torch.from_numpy(rows[i]).to(self.device)), torch.from_numpy(labels[i]).to(self.device)

def as_images(x): return x.float() / 127.5 - 1 # uint8 -> [-1, 1]

def save_sheet(path, images, ncol): # images [B, 3, H, W] in [-1, 1]
    with atomic(path) as tmp: save_image(make_grid(images, ncol, normalize=True, value_range=(-1, 1)), tmp)

class Pace(Callback):
    "Says how far training is, how fast it goes and how long it will take, about every minute."
    order = 92
    def __init__(self, state, total): self.state, self.total = state, total
    def before_fit(self): self.start, self.last, self.first = None, 0., None
    def after_batch(self):
        now, n = time.time(), self.state.images
        if self.start is None: self.start, self.first = now, n
        if not self.training or now - self.last < 60: return
        self.last, rate = now, (n - self.first) / max(now - self.start, 1e-9)
        left = (self.total - n) / rate / 60 if rate else float('nan')
        say(f'{n:,} of {self.total:,}, {rate:.1f} a second, {left:.0f} minutes left;',
            ', '.join(f'{k} {float(v):.3g}' for k, v in term_values(self.learn).items()))

# --- stills

def render(work, split='train', n=3600, step=8, device='cpu'):
    "Stills of the world; the nine scenes take turns, seeds follow one another."
    work.mkdir(parents=True, exist_ok=True)
    file = still_file(work, split)
    for seeds in split_seeds(split, -(-n // len(SCENES)))[len(file) // len(SCENES):].split(step):
        images = torch.stack([stills(scene, seeds.to(device), SIZE) for scene in SCENES], 1).flatten(0, 1).cpu()
        labels = torch.stack([kind_label(scene, seeds) for scene in SCENES], 1).flatten().numpy()
        file.append(to_uint8(images).transpose(0, 3, 1, 2), labels)
        say(f'{split}: {len(file)} stills')

# --- autoencoder

def autoencoder_of(work): return load_autoencoder(work/'autoencoder.safetensors')

def save(work, ae): save_autoencoder(work/'autoencoder.safetensors', ae, torch.float32)

@torch.no_grad()
def weigh_channels(ae, images): # [B, 3, 256, 256]
    """Scale whitened channels by how much each changes the images, mean square 1.

    With equal scales the channels of texture, which neighbouring positions hardly share, decide what the
    discriminator looks at, and the generator learns grains."""
    z = ae.posterior(images)[0]
    base, changes = ae.decoder(z), []
    for c in range(z.shape[1]):
        other = z.clone()
        other[:, c] = z[:, c].roll(1, 0)
        changes.append((ae.decoder(other) - base).square().mean())
    changes = torch.stack(changes)
    ae.mean.copy_(z.mean((0, 2, 3)))
    ae.std.copy_(z.std((0, 2, 3)) / (changes / changes.mean()).sqrt())

def start_autoencoder(work, n=300, channels=8):
    "The autoencoder's linear parts, by a few hundred stills: seconds, and the rest can begin."
    rows = still_file(work, 'train').rows()
    images = as_images(torch.from_numpy(rows[np.random.default_rng(0).choice(len(rows), min(n, len(rows)), False)]))
    ae = Autoencoder(AutoencoderConfig(latent_channels=channels))
    ae.fit_linear(torch.cat([images, images.flip(-1)]))
    weigh_channels(ae, images[:30])
    save(work, ae)

class Reconstructions(Callback):
    "After each epoch, the decoder so far, and images that were not trained on above their reconstructions."
    order = 80
    def __init__(self, work, images): self.work, self.images = work, images
    def after_epoch(self):
        ae = self.model.autoencoder.eval()
        with torch.no_grad(): again = torch.cat([ae(x)[0] for x in self.images.split(3)]).clamp(-1, 1)
        sheet = torch.cat([self.images, again])
        save_sheet(self.work/'autoencoder'/f'{self.epoch:03d}.png', sheet, len(self.images))
        if not next(ae.encoder.parameters()).requires_grad: save(self.work, ae)

def train_autoencoder(work, crops=20000, rest=.75, kl_weight=3e-3, bs=4, seed=0, device='cpu'):
    "What networks add to the linear parts; `rest` 0 leaves the latents as they are."
    seed_all(seed)
    ae, epochs = autoencoder_of(work).requires_grad_(True), max(1, crops // 1000)
    (work/'autoencoder').mkdir(exist_ok=True)
    mirrored = lambda x: as_images(x).flip(-1) if torch.rand(()) < .5 else as_images(x)
    train = Batches(still_file(work, 'train'), bs, crops // epochs // bs, mirrored, seed=seed, device=device)
    valid = Batches(still_file(work, 'valid'), 9, 3, as_images, shuffle=False, device=device)
    dls = DataLoaders(train, valid, device=device)
    state = TrainingState()
    learn = autoencoder_learner(dls, ae.cfg, kl_weight=kl_weight, encoder_rests=rest, state=state)
    learn.model.autoencoder.load_state_dict(ae.state_dict())
    learn.model.to(device)
    learn.add_cbs([Reconstructions(work, next(iter(valid))[0]), Pace(state, crops)])
    learn.add_cbs(keeping(work/'autoencoder', 'autoencoder', None, True, seed, 500, state))
    fit_cosine(learn, epochs)
    ae = learn.model.autoencoder.eval()
    save(work, fit_whitening(ae, (x for _, (x, _) in zip(range(75), train))) if rest else ae)

# --- latents

@torch.no_grad()
def encode(work, split='train', n=10**9, bs=8, device='cpu'):
    "Latents (not whitened) of all stills, and of their mirror images: rows 2i and 2i + 1 belong to still i."
    ae, images = autoencoder_of(work).to(device), still_file(work, split)
    file = latent_file(work, split, ae.cfg.latent_channels)
    rows, labels, first = images.rows(), images.labels, len(file) // 2
    for i in range(first, min(len(rows), n), bs):
        x = as_images(torch.from_numpy(np.array(rows[i:i+bs])).to(device))
        z = ae.posterior(torch.stack([x, x.flip(-1)], 1).flatten(0, 1))[0]
        file.append(z.cpu().numpy(), labels[i:i+bs].repeat(2))
    say(f'{split}: latents of {len(file) // 2} stills and their mirror images')

# --- generator

GENERATOR = dict(z_dim=128, w_dim=128, num_layers=4, img_resolution=SIZE//8, channel_base=1536, channel_max=160)

def generator_cfg(channels): return StyleGAN2Config(c_dim=len(KIND_NAMES), img_channels=channels, **GENERATOR)

def some_classes(per_scene):
    "For each scene `per_scene` of its kinds: class indices, scene after scene."
    of = scenes_of(KIND_NAMES)[1]
    return torch.cat([torch.where(of == i)[0].repeat(per_scene)[:per_scene] for i in range(len(SCENES))])

@torch.no_grad()
def generated(G, ae, c, seed=0, psi=1., bs=8):
    "Batches of images [B, 3, 256, 256] in [-1, 1] of these classes."
    z, device = torch.randn(len(c), G.cfg.z_dim, generator=torch.Generator().manual_seed(seed)), G.mapping.w_avg.device
    make = with_decoder(G, ae.to(device))
    for z, c in zip(z.split(bs), c.split(bs)): yield make(z.to(device), c.to(device), psi).clamp(-1, 1).cpu()

class Samples(Callback):
    "A sheet of the averaged generator's samples about every so many images: nine scenes, a row each."
    order = 80
    def __init__(self, state, work, every, per_scene=8):
        self.state, self.work, self.every, self.per_scene = state, work, every, per_scene
    def before_fit(self): self.last = self.state.images // self.every
    def after_batch(self):
        n = self.state.images
        if n // self.every == self.last: return
        self.last = n // self.every
        classes, ae = some_classes(self.per_scene), autoencoder_of(self.work)
        sheet = torch.cat(list(generated(self.model.ema, ae, classes, psi=.7)))
        save_sheet(self.work/'generator'/f'{n:08d}.png', sheet, self.per_scene)

def halves(nets): return {k: v.half().contiguous() for k, v in nets.state_dict().items()}

def start_from(folder, nets, state):
    "Weights and counts that `keep` wrote."
    nets.load_state_dict(load_file(folder/'generator.safetensors'))
    memory = json.loads((folder/'state.json').read_text())['memory']
    vars(state).update({k: v for k, v in memory.items() if hasattr(state, k)})

def train_generator(
    work, images=3_000_000, start=None, lr=2e-3, gamma=.5, bs=16, every=20_000, seed=0, device='cpu'
):
    "The StyleGAN2 of the latents; `start`: a folder that `keep` wrote, to go on from where there is no checkpoint."
    seed_all(seed)
    folder, ae, epoch = work/'generator', autoencoder_of(work), min(images, 10_000) // bs * bs
    folder.mkdir(exist_ok=True)
    cfg = generator_cfg(ae.cfg.latent_channels)
    mean, std = (a[:, None, None].to(device) for a in (ae.mean, ae.std))
    white, file = lambda z: (z.float() - mean) / std, latent_file(work, 'train', cfg.img_channels)
    data = Batches(file, bs, epoch // bs, white, seed=seed, device=device)
    nets, dls = GANModels(Generator(cfg), Discriminator(cfg)).to(device), DataLoaders(data, data, device=device)
    state = GANState()
    if start and not (folder/'generator.pt').exists(): start_from(start, nets, state)
    learn = stylegan_learner(
        dls, cfg, nets, lr, gamma=gamma, moments=100., mapping_lr=20., mixing=.5, seed=seed, state=state)
    learn.add_cbs([ComputeIn(), Samples(state, work, every), Pace(state, images + state.images)])
    learn.add_cbs(keeping(folder, 'generator', None, True, seed, 2000, state))
    learn.fit(-(-images // epoch))

# --- what is measured and kept

def networks_of(work):
    "The networks as the newest checkpoint has them, and its counts."
    state = read_checkpoint(work/'generator'/'generator.pt')
    cfg = StyleGAN2Config.from_dict(state['config'])
    nets = GANModels(Generator(cfg), Discriminator(cfg))
    nets.load_state_dict(state['nets'])
    return nets.eval(), state['memory']

def small(x, size=64): return torch.nn.functional.avg_pool2d(x, x.shape[-1] // size)

@torch.no_grad()
def detail(x): # images [B, 3, H, W]
    "Mean square of what averaging over 2 × 2 pixels loses: the energy of the top octave."
    return float((x - torch.nn.functional.interpolate(small(x, x.shape[-1] // 2), scale_factor=2)).square().mean())

@torch.no_grad()
def measure(work, n=450):
    "Fréchet distances to as many held-out stills, by the shipped pack's image classifier at 64 pixels; detail at 256."
    from sound_video.app.training import mini_image_classifier # takes seconds
    image_classifier, (nets, memory), ae = mini_image_classifier(), networks_of(work), autoencoder_of(work)
    rows, labels = still_file(work, 'valid').rows()[:n], torch.from_numpy(still_file(work, 'valid').labels[:n])
    real = [as_images(torch.from_numpy(np.array(x))) for x in np.array_split(rows, len(rows) // 9)]
    again = [ae.decode(ae.encode(x)).clamp(-1, 1) for x in real]
    fake = list(generated(nets.ema, ae, labels))
    of = scenes_of(KIND_NAMES)[1]
    right = [scene_accuracy(small(x), of[c], image_classifier) * len(x) for x, c in zip(fake, labels.split(8))]
    found = dict(images=memory['images'], stills=len(labels), scene=round(sum(right) / len(labels), 3))
    for name, made in dict(generated=fake, reconstructed=again).items():
        found[f'fid of {name}'] = round(fid(map(small, real), map(small, made), image_classifier), 2)
        found[f'detail of {name}'] = round(sum(map(detail, made)) / len(made) / sum(map(detail, real)) * len(real), 3)
    say(json.dumps(found))
    return found

def keep(work, folder):
    "Write what another machine goes on from: networks in half precision, without the optimisers."
    folder.mkdir(parents=True, exist_ok=True)
    ae = autoencoder_of(work)
    save_autoencoder(folder/'autoencoder.safetensors', ae)
    about = dict(stills=len(latent_file(work, 'train', ae.cfg.latent_channels)) // 2) # beside their mirror images
    if (work/'generator'/'generator.pt').exists():
        nets, memory = networks_of(work)
        with atomic(folder/'generator.safetensors') as tmp: save_file(halves(nets), tmp)
        memory = {k: v for k, v in memory.items() if k not in ('rows', 'moments', 'averaged')}
        about |= dict(config=nets.cfg.to_dict(), memory=memory)
    with atomic(folder/'state.json') as tmp: tmp.write_text(json.dumps(about, indent=1) + '\n')
    say(f"{sum(p.stat().st_size for p in folder.iterdir()):,} bytes in '{folder}'")

def restore(work, folder):
    "Begin a WORK folder with a kept autoencoder; stills, their latents and the generator follow."
    work.mkdir(parents=True, exist_ok=True)
    with atomic(work/'autoencoder.safetensors') as tmp: tmp.write_bytes((folder/'autoencoder.safetensors').read_bytes())

def main():
    parser = argparse.ArgumentParser(description=__doc__.strip())
    sub = parser.add_subparsers(dest='command', required=True)
    def command(name, f, *options):
        p = sub.add_parser(name, help=f.__doc__)
        p.add_argument('work', type=Path, help='folder of all that is made')
        for flag, kind, default, words in options:
            p.add_argument(flag, type=kind, default=default, help=words + (f' (default {default})' if default else ''))
        p.set_defaults(run=f)
    split = '--split', str, 'train', 'train or valid'
    device = '--device', str, default_device(), 'where it is computed'
    command('stills', render, split, ('--n', int, 3600, 'how many, in all'), device)
    command('linear', start_autoencoder, ('--channels', int, 8, 'of the latents'))
    command('autoencoder', train_autoencoder, ('--crops', int, 20000, 'crops of 128 pixels to learn from'),
            ('--rest', float, .75, 'share of them after which the encoder rests; 0: it does not learn'),
            ('--bs', int, 4, 'crops in a batch'), device)
    command('latents', encode, split, device)
    command('generator', train_generator, ('--images', int, 3_000_000, 'latents to be seen in this folder'),
            ('--every', int, 20_000, 'latents between two sheets of samples'),
            ('--bs', int, 16, 'latents in a batch'), device,
            ('--start', Path, None, 'folder that `keep` wrote'))
    command('measure', measure, ('--n', int, 450, 'stills and samples to compare'))
    command('keep', keep, ('folder', Path, None, 'where to write'))
    command('restore', restore, ('folder', Path, None, 'that `keep` wrote'))
    options = vars(parser.parse_args())
    options.pop('command')
    torch.set_num_threads(1)
    try: options.pop('run')(**options)
    except UserError as e: sys.exit(f'latent_stylegan: {e}')

if __name__ == '__main__': main()
