"""Do the tests notice a broken loss? Flips the sign of every term of every loss, or cuts its gradient, one at a time in
a copy of the package, runs the tests that should notice, and says which of these changes none noticed. On demand:
`python tests/mutate.py [WORD …]` tries those whose file or text has one of the words; all take some minutes. Needs a
system that can fork."""
import os, shutil, sys, tempfile, time
from importlib import import_module
from pathlib import Path

ROOT, TESTS = Path(__file__).parents[1], 'tests/test_losses.py'
GAN, INV, PIC, WALK, SOUND, HEAD, WORDS = (
    'stylegan or augmentation or path',
    'inversion',
    'picture',
    'trajectory or image_discriminator or known_films',
    'alignment or contrast or agreement',
    'finetuning',
    'captions or contrast',
)
INVERT, TRAJ = 'motion/inversion_training', 'motion/trajectory_training'
MUTATIONS = [  # file, what stands there, what it becomes, tests
    # the game of two: real, fake, non-saturating
    ('stylegan/adversarial', 'F.softplus(-real).mean()', 'F.softplus(real).mean()', GAN),
    ('stylegan/adversarial', 'F.softplus(-real).mean()', 'F.softplus(-real.detach()).mean()', GAN),
    ('stylegan/adversarial', 'F.softplus(-real).mean()', '-F.softplus(-real).mean()', GAN),
    ('stylegan/adversarial', '+ F.softplus(fake).mean()', '- F.softplus(fake).mean()', GAN),
    ('stylegan/adversarial', '+ F.softplus(fake).mean()', '+ F.softplus(fake.detach()).mean()', GAN),
    ('stylegan/adversarial', '+ F.softplus(fake).mean()', '+ F.softplus(-fake).mean()', GAN),
    ('stylegan/adversarial', 'return F.softplus(-fake).mean()', 'return F.softplus(fake).mean()', GAN),
    ('stylegan/adversarial', 'return F.softplus(-fake).mean()', 'return -F.softplus(-fake).mean()', GAN),
    ('stylegan/adversarial', 'else (self.score(fake),)', 'else (self.score(fake.detach()),)', GAN),
    ('stylegan/adversarial', 'return self.make(self.w)', 'return self.make(self.w.detach())', GAN),
    # R1, path length, augmentation
    ('stylegan/adversarial', 'self.loss_grad + r1 *', 'self.loss_grad - r1 *', GAN),
    ('stylegan/adversarial', 'self.loss_grad + r1 *', 'self.loss_grad + r1.detach() *', GAN),
    ('stylegan/adversarial', 'score_of(real).sum(), real, create_graph=True', 'score_of(real).sum(), real', GAN),
    ('stylegan/adversarial', 'self.loss_grad + (lengths - ', 'self.loss_grad - (lengths - ', GAN),
    ('stylegan/adversarial', 'self.loss_grad + (lengths - ', 'self.loss_grad + (lengths.detach() - ', GAN),
    ('stylegan/adversarial', "(lengths - self.memory['path'])", "(lengths + self.memory['path'])", GAN),
    ('stylegan/adversarial', '(img*y).sum(), w, create_graph=True', '(img*y).sum(), w', GAN),
    ('stylegan/adversarial', "self.memory['path'] += self.decay", "self.memory['path'] -= self.decay", GAN),
    ('stylegan/adversarial', "m['sign'] += scores", "m['sign'] -= scores", GAN),
    ('stylegan/ada', 'r - target), 0.)', 'target - r), 0.)', GAN),
    # inversion of sounds: CLIP to the sound and to the words, norm
    (
        INVERT,
        'self.loss_grad + self.weight * self.every * value',
        'self.loss_grad - self.weight * self.every * value',
        INV,
    ),
    (INVERT, 'self.weight * self.every * value', 'self.weight * self.every * value.detach()', INV),
    (INVERT, 'loss = clip_distance(seen', 'loss = -clip_distance(seen', INV),
    (INVERT, 'loss = clip_distance(seen', 'loss = clip_distance(seen.detach()', INV),
    (INVERT, 'loss + words * clip_distance(seen', 'loss - words * clip_distance(seen', INV),
    (INVERT, 'loss + words * clip_distance(seen', 'loss + words * clip_distance(seen.detach()', INV),
    (INVERT, 'x = G.synthesis(learn.w[:k])', 'x = G.synthesis(learn.w[:k].detach())', INV),
    (INVERT, 'lambda learn: latent_norm(learn.w,', 'lambda learn: -latent_norm(learn.w,', INV),
    (INVERT, 'lambda learn: latent_norm(learn.w,', 'lambda learn: latent_norm(learn.w.detach(),', INV),
    (INVERT, 'return whiten(self.w, self.model', 'return whiten(self.w.detach(), self.model', INV),
    (INVERT, 'R1(gamma)', 'R1(-gamma)', INV),
    ('motion/inversion', 'return 1 - F.cosine_similarity', 'return 1 + F.cosine_similarity', INV),
    ('motion/inversion', 'whiten(w, mean, std).square().mean()', '-whiten(w, mean, std).square().mean()', INV),
    # inversion of pictures
    *[
        (INVERT, f'lambda: {term}', f'lambda: -{term}', PIC)
        for term in (
            'F.l1_loss(y, x)',
            'F.avg_pool2d(y - x, 4).abs()',
            'clip_distance(clip.embed_image(y)',
            'latent_norm(found',
            '(found - w).div',
        )
    ],
    (INVERT, 'F.l1_loss(y, x)', 'F.l1_loss(y.detach(), x)', PIC),
    (INVERT, 'F.avg_pool2d(y - x, 4)', 'F.avg_pool2d(y - x, 4).detach()', PIC),
    (INVERT, 'clip.embed_image(y)', 'clip.embed_image(y).detach()', PIC),
    (INVERT, 'latent_norm(found', 'latent_norm(found.detach()', PIC),
    (INVERT, '(found - w).div', '(found.detach() - w).div', PIC),
    (INVERT, 'y = self.G.synthesis(found)', 'y = self.G.synthesis(found.detach())', PIC),
    (INVERT, '+ distance(own, mine', '- distance(own, mine', PIC),
    (INVERT, 'distance(x, mine(self.leaves[0]))', '-distance(x, mine(self.leaves[0]))', PIC),
    (INVERT, 'found.detach().requires_grad_() for found', 'found.detach() for found', PIC),
    # trajectory: motion, light, detail, CLIP, near, both discriminators, mismatched curves
    *[
        (TRAJ, f'{name} * weigh)', f'-{name} * weigh)', WALK)
        for name in ('motion', 'light', 'detail', 'near', 'show')
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
    (
        TRAJ,
        'return clip_distance(clip.embed_image(learn.film[:, k])',
        'return -clip_distance(clip.embed_image(learn.film[:, k])',
        WALK,
    ),
    (TRAJ, 'clip.embed_image(learn.film[:, k])', 'clip.embed_image(learn.film[:, k].detach())', WALK),
    (TRAJ, 'torch.stack([x.square().mean() for x', 'torch.stack([-x.square().mean() for x', WALK),
    (
        TRAJ,
        'torch.stack([x.square().mean() for x',
        'torch.stack([x.detach().square().mean() for x',
        WALK,
    ),
    (
        TRAJ,
        'return M.latents(w_a.expand(-1, T, -1, -1), self.moved)',
        'return M.latents(w_a.expand(-1, T, -1, -1), self.moved).detach()',
        WALK,
    ),
    (TRAJ, '            return self.film\n', '            return self.film.detach()\n', WALK),
    (TRAJ, 'self.image(x[:, ::8]', 'self.image(x.detach()[:, ::8]', WALK),
    (TRAJ, 'self.image(x[:, ::8].flatten(0, 1))', '-self.image(x[:, ::8].flatten(0, 1))', WALK),
    (TRAJ, 'torch.cat([self.video(x, s', 'torch.cat([self.video(x.detach(), s', WALK),
    (TRAJ, 'torch.cat([self.video(x, s', 'torch.cat([-self.video(x, s', WALK),
    (TRAJ, 'self.loss_grad + F.softplus(wrong)', 'self.loss_grad - F.softplus(wrong)', WALK),
    (TRAJ, 'F.softplus(wrong)', 'F.softplus(-wrong)', WALK),
    (TRAJ, 'F.softplus(wrong)', 'F.softplus(wrong.detach())', WALK),
    (TRAJ, 'self.yb[0].roll(1, 0)', 'self.yb[0]', WALK),
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
    (
        'hearing/alignment',
        'sum(w * term() for w, term in zip(self.weights',
        'sum(-w * term() for w, term in zip(self.weights',
        SOUND,
    ),
    *[
        ('hearing/alignment', f'lambda: {term}', f'lambda: {new}', SOUND)
        for term in ('both(words, agree)', 'both(pictures, alike)', 'contrast((a, b, self.scale), alike)')
        for new in (f'-{term}', f'{term}.detach()')
    ],
    ('hearing/alignment', '(contrast((a, other, self.scale)', '(contrast((a.detach(), other, self.scale)', SOUND),
    ('hearing/alignment', '+ contrast((b, other, self.scale)', '- contrast((b, other, self.scale)', SOUND),
    ('hearing/alignment', '+ contrast((b, other, self.scale)', '+ contrast((b.detach(), other, self.scale)', SOUND),
    ('hearing/alignment', 'contrast((a, b, self.scale), alike)', 'contrast((a.detach(), b, self.scale), alike)', SOUND),
    *[
        ('hearing/finetuning', f'lambda: {term}', f'lambda: {new}', HEAD)
        for term in ('wrong(v[:batch], y[i])', 'wrong(v[batch:], t[j])')
        for new in (f'-{term}', f'{term}.detach()')
    ],
    ('hearing/finetuning', 'lambda: (1 - (v[batch:] * old[j])', 'lambda: (1 + (v[batch:] * old[j])', HEAD),
    ('hearing/finetuning', '(1 - (v[batch:] * old[j])', '(1 - (v[batch:].detach() * old[j])', HEAD),
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
