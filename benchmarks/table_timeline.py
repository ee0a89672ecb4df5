"""How right is the timeline? Three sounds of the world's test split, of different scenes and 5 to 12 s each, one after
another: is the scene in the middle of each right, how far from the true borders are those that are heard, and what does
the pack's image classifier see in the middle frames of the two engines' videos? Takes three minutes. Run by hand:
`python benchmarks/table_timeline.py`."""
import argparse, random, statistics
import torch
from sound_video.all import SCENES, SoundVideo, render, to_float
from sound_video.app.generate import listen
from sound_video.app.world import WorldVideo
from sound_video.world.clips import split_seeds

def three(rng, seeds): # -> names of scenes, their lengths in s, (samples [1, N], rate in Hz)
    scenes, lengths = rng.sample(SCENES, 3), [rng.uniform(5, 12) for _ in range(3)]
    parts = [torch.as_tensor(render(s, rng.choice(seeds), l, 1, 32).sound) for s, l in zip(scenes, lengths)]
    return scenes, lengths, (torch.cat([p.mean(0, keepdim=True) for p in parts], 1), 22050)

def scene_at(timeline, t): return next((s.scene for s in timeline if s.start <= t < s.end), None)

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--n', type=int, default=24, help='sounds of three parts (default: 24)')
    a = p.parse_args()
    sv, rng, right, apart, extra = SoundVideo.load(device='cpu'), random.Random(0), [], [], 0
    shown, world, net = dict(learned=[], world=[]), WorldVideo(sv, 'cpu'), sv.image_classifier
    seeds = split_seeds('test', 40).tolist()
    for _ in range(a.n):
        scenes, (x, y, z), sound = three(rng, seeds)
        timeline, borders = listen(sv, sound), (0, x, x + y, x + y + z)
        videos = dict(learned=sv.generate(sound, fps=10), world=world.generate(sound, fps=10, size=(64, 64)))
        for name, s, e in zip(scenes, borders, borders[1:]):
            if scene_at(timeline, (s + e) / 2) != name: continue # what is heard wrongly cannot be shown rightly
            for engine, video in videos.items():
                seen = net(to_float(video[int(5 * (s + e))][None])).argmax(1)
                shown[engine].append(net.classes[int(seen)] == name)
        right += [scene_at(timeline, (s + e) / 2) == name for name, s, e in zip(scenes, borders, borders[1:])]
        apart += [min((abs(b - s.start) for s in timeline[1:]), default=float('inf')) for b in borders[1:3]]
        extra += len(timeline) - 3
    print(f'{len(right)} parts: {sum(right) / len(right):.1%} of the middles have the right scene')
    for engine, x in shown.items():
        print(f'{engine} engine: of {len(x)} heard right, {sum(x) / len(x):.1%} show the scene in their middle')
    near, median = sum(d <= 2 for d in apart) / len(apart), statistics.median(apart)
    print(f'{len(apart)} borders: {near:.1%} within 2 s, the median {median:.2f} s away')
    print(f'{extra:+d} segments more than there are parts')

if __name__ == '__main__': main()
