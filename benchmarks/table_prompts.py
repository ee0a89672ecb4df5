"""How well are prompts met? Thirty prompts on which nothing was tuned (`prompts.json`), each with sounds of the world's
test split, of the scene that stands before it, and what is to be seen. In videos of both engines, a network looks at
four frames a second that looks with other maps than the pack's, and was trained on other pictures. Training it takes a
while the first time; it is kept in FILE. Run by hand: `python benchmarks/table_prompts.py --checker FILE`."""
import argparse, json
from collections import defaultdict
from pathlib import Path
import torch
from sound_video.all import SoundVideo, WorldVideo, render, to_float
from sound_video.metrics.attributes import AttributeConfig, AttributeNet, train_attributes
from sound_video.world.clips import split_seeds
from sound_video.world.depiction import labelled_stills

CHECKER = AttributeConfig((24, 48, 96, 192), 64)

def eyes(sv): # the maps of the pack's picture encoder, which plays no part in what is measured
    def maps(x):
        found = []
        for layer in sv.image_encoder.body[:4]: found.append(x := layer(x))
        return found
    return maps

def learn(sv, n): # pictures -> an `AttributeNet`
    x, y = map(torch.cat, zip(*labelled_stills(n, 1000)))
    return train_attributes(AttributeNet(CHECKER, eyes(sv)), ((x + 1) * 127.5).round().byte(), y, seed=7)

def checker(sv, file, n):
    if file and Path(file).is_file():
        net = AttributeNet(CHECKER, eyes(sv))
        net.load_state_dict(torch.load(file))
        return net.eval().requires_grad_(False)
    net = learn(sv, n)
    if file: torch.save(net.state_dict(), file)
    return net

def right(net, frames, wanted): # -> {attribute: share of the frames}
    seen = net.seen(to_float(frames))
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
    net = checker(sv, a.checker, a.stills)
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
