"""Do the tests notice a broken loss? Flips the sign of every term of every loss, or cuts its gradient, one at a time in
a copy of the package, runs the tests that should notice, and says which of these changes none noticed. On demand:
`python tests/mutate.py [WORD …]` tries those whose file or text has one of the words; all take some minutes. Needs a
system that can fork."""
import os, shutil, sys, tempfile, time
from importlib import import_module
from pathlib import Path

ROOT, TESTS = Path(__file__).parents[1], 'tests/test_losses.py'
GAN, INV, PIC, WALK, SOUND, HEAD, CLASSES, WORDS = (
    'stylegan or augmentation or path or moments',
    'inversion',
    'picture',
    'trajectory or image_discriminator or known_films',
    'alignment or contrast or agreement',
    'finetuning',
    'shares_of_classes',
    'captions or contrast',
)
STEPS, INVERT, TRAJ = 'core/steps', 'motion/inversion_training', 'motion/trajectory_training'
MUTATIONS = [  # file, what stands there, what it becomes, tests
    # the sum of all terms
    (STEPS, 'return sum(weigh(t) * values', 'return sum(-weigh(t) * values', GAN),
    (STEPS, 'return sum(weigh(t) * values[name]', 'return sum(weigh(t) * values[name].detach()', GAN),
    (STEPS, 'weigh = lambda t: t.every * (', 'weigh = lambda t: (', WALK),
    (STEPS, 'n % t.every == 0', 'n % t.every == 1', GAN),
    # the game of two: real, fake, non-saturating
    ('stylegan/adversarial', 'F.softplus(-real).mean()', 'F.softplus(real).mean()', GAN),
    ('stylegan/adversarial', 'F.softplus(-real).mean()', 'F.softplus(-real.detach()).mean()', GAN),
    ('stylegan/adversarial', 'F.softplus(-real).mean()', '-F.softplus(-real).mean()', GAN),
    ('stylegan/adversarial', '+ F.softplus(fake).mean()', '- F.softplus(fake).mean()', GAN),
    ('stylegan/adversarial', '+ F.softplus(fake).mean()', '+ F.softplus(fake.detach()).mean()', GAN),
    ('stylegan/adversarial', '+ F.softplus(fake).mean()', '+ F.softplus(-fake).mean()', GAN),
    ('stylegan/adversarial', 'return F.softplus(-fake).mean()', 'return F.softplus(fake).mean()', GAN),
    ('stylegan/adversarial', 'return F.softplus(-fake).mean()', 'return -F.softplus(-fake).mean()', GAN),
    *[
        ('stylegan/adversarial', f'lambda s: {term}', f'lambda s: {new}', GAN)
        for term in (
            'discriminator_loss(s.real_scores, s.fake_scores)',
            'r1_penalty(s.score, s.real)',
            'generator_loss(s.fake_scores)',
            '(s.lengths - s.mean_length).square().mean()',
        )
        for new in (f'-{term}', f'{term}.detach()')
    ],
    ('stylegan/adversarial', 'loss(s.real_scores, s', 'loss(s.real_scores.detach(), s', GAN),
    ('stylegan/adversarial', 'loss(s.real_scores, s.fake_scores)', 'loss(s.fake_scores, s.real_scores)', GAN),
    ('stylegan/adversarial', 'w, make(w), score', 'w, make(w.detach()), score', GAN),
    # R1, path length, augmentation
    ('stylegan/adversarial', 'score_of(real).sum(), real, create_graph=True', 'score_of(real).sum(), real', GAN),
    ('stylegan/adversarial', '(s.lengths - s.mean_length)', '(s.lengths.detach() - s.mean_length)', GAN),
    ('stylegan/adversarial', '(s.lengths - s.mean_length)', '(s.lengths + s.mean_length)', GAN),
    ('stylegan/adversarial', '(img*y).sum(), w, create_graph=True', '(img*y).sum(), w', GAN),
    ('stylegan/adversarial', 'for x in (self.real, self.fake)', 'for x in (self.fake, self.real)', GAN),
    ('stylegan/adversarial', '(slope * (s.moments[1]', '(-slope * (s.moments[1]', GAN),
    ('stylegan/adversarial', 's.moments[1] - s.past[1]', 's.moments[1].detach() - s.past[1]', GAN),
    ('stylegan/adversarial', 'squares / variance**2', 'means / variance', GAN),
    ('stylegan/adversarial', 'self.state.path += self.decay', 'self.state.path -= self.decay', GAN),
    ('stylegan/adversarial', 's.sign += scores', 's.sign -= scores', GAN),
    ('stylegan/ada', 'r - target), 0.)', 'target - r), 0.)', GAN),
    # inversion of sounds: CLIP to the sound and to the words, norm
    *[
        (INVERT, f'lambda s: {term}', f'lambda s: {new}', INV)
        for term in (
            'discriminator_loss(s.score(s.real), s.score(s.fake))',
            'r1_penalty(s.score, s.real)',
            'generator_loss(s.score(s.fake))',
            's.distance(s.sounds)',
            's.distance(s.words)',
            'latent_norm(s.w, s.mean, s.std), near',
        )
        for new in (f'-{term}', f'{term}.detach()' if 'near' not in term else term.replace('s.w,', 's.w.detach(),'))
    ],
    (INVERT, 's.score(s.real), s.score(s.fake)', 's.score(s.fake), s.score(s.real)', INV),
    (INVERT, 'clip_distance(self.embedded, vectors', 'clip_distance(self.embedded.detach(), vectors', INV),
    (INVERT, 'x = self.G.synthesis(w[', 'x = self.G.synthesis(w.detach()[', INV),
    (INVERT, 'return whiten(self.w, self.mean', 'return whiten(self.w.detach(), self.mean', INV),
    ('motion/inversion', 'return 1 - F.cosine_similarity', 'return 1 + F.cosine_similarity', INV),
    ('motion/inversion', 'whiten(w, mean, std).square().mean()', '-whiten(w, mean, std).square().mean()', INV),
    # inversion of pictures
    *[
        (INVERT, f'lambda s: {term}', f'lambda s: -{term}', PIC)
        for term in (
            'F.l1_loss(s.made, s.images)',
            'F.avg_pool2d(s.made - s.images, 4).abs()',
            'clip_distance(s.embed(s.made)',
            'latent_norm(s.w, s.mean, s.std), 2',
            '(s.w[-len(s.known):] - s.known)',
        )
    ],
    (INVERT, 'F.l1_loss(s.made, ', 'F.l1_loss(s.made.detach(), ', PIC),
    (INVERT, 'F.avg_pool2d(s.made - s.images, 4)', 'F.avg_pool2d(s.made - s.images, 4).detach()', PIC),
    (INVERT, 'clip_distance(s.embed(s.made)', 'clip_distance(s.embed(s.made).detach()', PIC),
    (INVERT, 'latent_norm(s.w, s.mean, s.std), 2', 'latent_norm(s.w.detach(), s.mean, s.std), 2', PIC),
    (INVERT, '(s.w[-len(s.known):] - s.known)', '(s.w[-len(s.known):].detach() - s.known)', PIC),
    (INVERT, 'made = self.G.synthesis(found)', 'made = self.G.synthesis(found.detach())', PIC),
    (INVERT, 's.w[-len(s.known):]', 's.w[:len(s.known)]', PIC),
    (INVERT, '2 * pixels', 'pixels', PIC),
    (INVERT, 'found.detach().requires_grad_() for found', 'found.detach() for found', PIC),
    # trajectory: motion, light, detail, CLIP, near, both discriminators, mismatched curves
    *[
        (TRAJ, f'{name}=Term({term}', f'{name}=Term({new}', WALK)
        for name, term in dict(
            video_G='lambda s: generator_loss(s.score_videos(s.fake, s.curves))',
            image_G='lambda s: generator_loss(s.score_images(s.fake))',
            motion='lambda s: motion_loss(s.fake, s.real)',
            light='lambda s: light_loss(s.fake, s.real)',
            detail='lambda s: detail_loss(s.fake, s.still(), s.real, s.detail)',
            near='moved_far',
            clip='lambda s: shown_distance(s, clip)',
            video_D='video_discriminator_loss',
            mismatch='mismatch_loss',
            video_r1='video_slope',
            image_D='image_discriminator_loss',
            image_r1='lambda s: r1_penalty(s.score_images, s.real)',
        ).items()
        for loss in [term if term.startswith('lambda') else f'lambda s: {term}(s)']
        for new in (loss.replace('s: ', 's: -', 1), f'{loss}.detach()')
    ],
    (TRAJ, 'frame_changes(fake)[:, None]', 'frame_changes(fake).detach()[:, None]', WALK),
    (TRAJ, '+ .3 * apart', '- .3 * apart', WALK),
    (TRAJ, 'return apart(soft(a)', 'return -apart(soft(a)', WALK),
    (TRAJ, '(torch.log(a + floor) - ', '(torch.log(a + floor) + ', WALK),
    (TRAJ, 'return ((a - a.mean(1', 'return -((a - a.mean(1', WALK),
    (TRAJ, ' - (b - b.mean(1', ' + (b - b.mean(1', WALK),
    (
        TRAJ,
        'return ((a - a.mean(1, keepdim=True))',
        'return ((a - a.mean(1, keepdim=True)).detach()',
        WALK,
    ),
    (TRAJ, 'return (more(fake', 'return -(more(fake', WALK),
    (TRAJ, ' - more(real, usual)', ' + more(real, usual)', WALK),
    (TRAJ, '(more(fake, ', '(more(fake.detach(), ', WALK),
    (TRAJ, '(log_detail(x) - usual', '(log_detail(x) + usual', WALK),
    (TRAJ, 'clip.embed_image(s.fake[:, k])', 'clip.embed_image(s.fake[:, k].detach())', WALK),
    (TRAJ, 'torch.stack([x.square().mean() for x', 'torch.stack([-x.square().mean() for x', WALK),
    (
        TRAJ,
        'torch.stack([x.square().mean() for x',
        'torch.stack([x.detach().square().mean() for x',
        WALK,
    ),
    (
        TRAJ,
        'return M.latents(w_a.expand(-1, T, -1, -1), moved), moved',
        'return M.latents(w_a.expand(-1, T, -1, -1), moved).detach(), moved',
        WALK,
    ),
    (TRAJ, 'detail, fake, moved, start', 'detail, fake.detach(), moved, start', WALK),
    (TRAJ, 'self.image(x[:, ::8]', 'self.image(x.detach()[:, ::8]', WALK),
    (TRAJ, 'self.image(x[:, ::8].flatten(0, 1))', '-self.image(x[:, ::8].flatten(0, 1))', WALK),
    (TRAJ, 'return self.video(x, s)', 'return self.video(x.detach(), s)', WALK),
    (TRAJ, 'return self.video(x, s)', 'return -self.video(x, s)', WALK),
    (TRAJ, 'loss(s.score_images(s.real), s', 'loss(s.score_images(s.real).detach(), s', WALK),
    (TRAJ, 's.score_images(s.real), s.score_images(s.fake)', 's.score_images(s.fake), s.score_images(s.real)', WALK),
    (TRAJ, 'loss(s.score_videos(s.real, s.curves), s', 'loss(s.score_videos(s.real, s.curves).detach(), s', WALK),
    (TRAJ, 's.score_videos(s.fake, s.curves))\n\n', 's.score_videos(s.fake, s.curves).detach())\n\n', WALK),
    (TRAJ, 'F.softplus(s.score_videos', 'F.softplus(-s.score_videos', WALK),
    (TRAJ, 's.score_videos(s.real, s.other)', 's.score_videos(s.real, s.curves)', WALK),
    (TRAJ, 'curves.roll(1, 0)', 'curves', WALK),
    (TRAJ, 'game * video / 2', 'game * video', WALK),
    (TRAJ, 'game * video * gamma/2', 'game * video * gamma', WALK),
    (TRAJ, 'game * gamma/2', 'game * gamma', WALK),
    # alignment: captions, pictures, two views; both ways of the contrast; the head's finetuning
    ('hearing/clip_training', '-(A / A.sum', '(A / A.sum', WORDS),
    ('hearing/clip_training', '(one_way(logits, agree) +', '(one_way(logits, agree) -', WORDS),
    ('hearing/clip_training', '(one_way(logits, agree) +', '(-one_way(logits, agree) +', WORDS),
    ('hearing/clip_training', '(one_way(logits, agree) +', '(one_way(logits.detach(), agree) +', WORDS),
    ('hearing/clip_training', 'one_way(logits.T, agree.T)', 'one_way(logits.T.detach(), agree.T)', WORDS),
    ('hearing/clip_training', 's * I @ T.T', 's * I.detach() @ T.T', WORDS),
    ('hearing/clip_training', 's * I @ T.T', 's * I @ T.detach().T', WORDS),
    ('hearing/clip_training', 's * I @ T.T', '-s * I @ T.T', WORDS),
    (
        'hearing/clip_training',
        'labels[:, None] == labels, scene[:, None] == scene',
        'scene[:, None] == scene, labels[:, None] == labels',
        SOUND,
    ),
    *[
        ('hearing/alignment', f'lambda s: {term}', f'lambda s: {new}', SOUND)
        for term in ('both(s, s.words, s.agree)', 'both(s, s.pictures, s.alike)', 'pair(s.a, s.b, s.alike)')
        for new in (f'-{term}', f'{term}.detach()')
    ],
    ('hearing/alignment', '(pair(s.a, other', '(pair(s.a.detach(), other', SOUND),
    ('hearing/alignment', '+ pair(s.b, other', '- pair(s.b, other', SOUND),
    ('hearing/alignment', '+ pair(s.b, other', '+ pair(s.b.detach(), other', SOUND),
    ('hearing/alignment', 'pair(s.a, s.b, s.alike)', 'pair(s.a.detach(), s.b, s.alike)', SOUND),
    *[
        ('hearing/finetuning', f'lambda s: {term}', f'lambda s: {new}', HEAD)
        for term in ('s.wrong(0)', 's.wrong(1)')
        for new in (f'-{term}', f'{term}.detach()')
    ],
    ('hearing/finetuning', 'lambda s: (1 - (s.v.chunk(2)[1]', 'lambda s: (1 + (s.v.chunk(2)[1]', HEAD),
    ('hearing/finetuning', '(1 - (s.v.chunk(2)[1]', '(1 - (s.v.chunk(2)[1].detach()', HEAD),
    ('hearing/classifier', '-(s.shares * s.logits', '(s.shares * s.logits', CLASSES),
    ('hearing/classifier', '-(s.shares * s.logits.log', '-(s.shares * s.logits.detach().log', CLASSES),
]

def preload():
    "Import what takes seconds once, and nothing of the package itself."
    names = """av fastai.callback.progress fastai.callback.schedule fastai.metrics librosa matplotlib.pyplot open_clip
        pytest scipy.interpolate scipy.ndimage scipy.signal torch torchaudio torchvision"""
    for name in names.split(): import_module(name)
    import torch
    torch.set_num_threads(1)

def failing(where, tests, log):
    "Run the tests in a process of its own, with the package that lies in `where`: do some fail?"
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] != 0
    import pytest

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(where)
    sys.path[:] = [
        str(where),
        str(where / 'tests'),
        *(p for p in sys.path if Path(p or '.').resolve() not in (ROOT, ROOT / 'tests')),
    ]
    os._exit(int(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', TESTS, '-k', tests])) in (1, 2))

def main(words):
    preload()
    sys.dont_write_bytecode = True
    chosen = [m for m in MUTATIONS if not words or any(w in ' '.join(m[:3]) for w in words)]
    missed, start = [], time.time()
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/'copy'
        copy.mkdir()
        for name in ('sound_video', 'tests', 'cuda'):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('packs', '__pycache__', '*.pt'))
        for tests in sorted({m[3] for m in chosen}):
            if failing(copy, tests, Path(d) / 'log'):
                sys.exit(f"the tests fail as the package is ({tests}):\n{(Path(d)/'log').read_text()[-3000:]}")
        for i, (name, old, new, tests) in enumerate(chosen, 1):
            file, began = copy/f'sound_video/{name}.py', time.time()
            text = file.read_text(encoding='utf-8')
            if text.count(old) != 1: sys.exit(f"'{old}' stands {text.count(old)} times in {name}.py: name it otherwise")
            file.write_text(text.replace(old, new), encoding='utf-8')
            found = failing(copy, tests, Path(d)/'log')
            file.write_text(text, encoding='utf-8')
            if not found: missed.append((name, old, new))
            print(
                f"{i:3}/{len(chosen)} {'found' if found else 'NOT FOUND':10} {time.time() - began:4.0f} s  {name}:"
                f" {old.strip()}  →  {new.strip()}",
                flush=True,
            )
    print(f'{len(chosen) - len(missed)} of {len(chosen)} found in {time.time() - start:.0f} s')
    return bool(missed)

if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
