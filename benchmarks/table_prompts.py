"""How well are prompts met? Thirty prompts on which nothing was tuned (`prompts.json`), each with sounds of the world's
test split, of the scene that stands before it, and what is to be seen. In videos of both engines, a network looks at
four frames a second that shares nothing with the pack's: trained from nothing, on other pictures. Training it takes a
quarter of an hour the first time; it is kept in FILE. Run by hand: `python benchmarks/table_prompts.py --checker
FILE`."""
import argparse, json
from collections import defaultdict
from pathlib import Path
import torch
from torch import nn
from sound_video.all import SoundVideo, WorldVideo, render, seed_all, to_float
from sound_video.app.training import shrink
from sound_video.metrics.attributes import attribute_loss, augmented
from sound_video.world.clips import split_seeds
from sound_video.world.depiction import SEEN, labelled_stills

class Checker(nn.Module):
    "A network of its own, trained from nothing: logits of the classes of `SEEN`."
    def __init__(self, channels=(24, 48, 96, 160)):
        super().__init__()
        def block(ci, co, stride):
            return nn.Sequential(nn.Conv2d(ci, co, 3, stride, 1, bias=False), nn.BatchNorm2d(co), nn.ReLU())
        pairs = list(zip((3, *channels), channels))
        self.body = nn.Sequential(*(nn.Sequential(block(a, b, 2), block(b, b, 1)) for a, b in pairs))
        self.end = nn.Sequential(nn.Dropout(.3), nn.Linear(channels[-1] * 8, sum(map(len, SEEN.values()))))

    def forward(self, x): # [B, 3, 64, 64] in [-1, 1] -> {attribute: [B, classes]}
        y = self.body(x) # [B, C, 4, 4]
        y = torch.cat([y.mean(3).flatten(1), y.amax(3).flatten(1)], 1) # each height by itself
        return dict(zip(SEEN, self.end(y).split([*map(len, SEEN.values())], 1)))

    @torch.no_grad()
    def seen(self, x): return {k: [SEEN[k][i] for i in v.argmax(1).tolist()] for k, v in self(x).items()}

def learn(n, epochs=14, batch=64):
    "A checker, trained on stills of its own seeds; says for other stills how often it is right."
    seed_all(7)
    x, y = map(torch.cat, zip(*labelled_stills(n + 960, 1000)))
    x, net = ((x + 1) * 127.5).round().byte(), Checker()
    opt = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, epochs * (n // batch))
    for epoch in range(epochs):
        for at in torch.randperm(n).split(batch)[:n // batch]:
            images, labels = augmented(x[at].float() / 127.5 - 1, y[at])
            loss = attribute_loss(net(images), labels).mean()
            opt.zero_grad(); loss.backward(); opt.step(); plan.step()
        print(f'  epoch {epoch + 1} of {epochs}: loss {loss.item():.2f}', flush=True)
    net.eval().requires_grad_(False)
    logits = [net(part.float() / 127.5 - 1) for part in x[n:].split(160)]
    for k, name in enumerate(SEEN):
        found, known = torch.cat([l[name].argmax(1) for l in logits]), y[n:, k] >= 0
        print(f'  {name}: right for {(found == y[n:, k])[known].float().mean():.1%} of {int(known.sum())} other stills')
    return net

def checker(file, n):
    net = Checker().eval().requires_grad_(False)
    if file and Path(file).is_file(): net.load_state_dict(torch.load(file))
    else:
        net = learn(n)
        if file: torch.save(net.state_dict(), file)
    return net

def right(net, frames, wanted): # -> {attribute: share of the frames}
    seen = net.seen(shrink(to_float(frames), 64))
    return {k: sum(s == v for s in seen[k]) / len(frames) for k, v in wanted.items()}

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--checker', metavar='FILE', help='where the network is kept')
    p.add_argument('--stills', type=int, default=12000, help='pictures that it learns from (default: 12000)')
    p.add_argument('--prompts', default=Path(__file__).parent/'prompts.json', help='other prompts')
    p.add_argument('--engines', default='world,learned')
    p.add_argument('--videos', type=int, default=2, help='of each prompt (default: 2)')
    a = p.parse_args()
    sv = SoundVideo.load(device='cpu')
    net = checker(a.checker, a.stills)
    engines = dict(world=(WorldVideo(sv, 'cpu'), dict(size=(64, 64))), learned=(sv, {}))
    seeds = split_seeds('test', 400).tolist()
    for name in a.engines.split(','):
        engine, more = engines[name]
        shares = defaultdict(list)
        for scene, text, wanted in json.loads(Path(a.prompts).read_text(encoding='utf-8')):
            total = defaultdict(float)
            for i in range(a.videos):
                sound = render(scene, seeds[7 * i + 3], 3., 1, 16).sound, 22050
                frames = engine.generate(sound, fps=4, seed=i, class_name=scene, prompt=text, **more)[:]
                found = right(net, frames, wanted)
                for k, x in found.items():
                    total[k] += x
                    shares[k].append(x)
                    shares['all'].append(x)
            line = ', '.join(f'{wanted[k]} {x / a.videos:.0%}' for k, x in total.items())
            print(f'  {name}, {scene}: {text}: {line}', flush=True)
        print(f'{name} engine: ' + ', '.join(f'{k} {sum(x) / len(x):.1%}' for k, x in shares.items()), flush=True)

if __name__ == '__main__': main()
