"Songs whose beats and bars are known: drums, a bass, chords and a melody, with chance from a seed."
import numpy as np

RATE = 22050 # Hz
TEN = [dict(bpm=60), dict(bpm=75, swing=.62), dict(bpm=88, drums=False), dict(bpm=96), dict(bpm=104, swing=.66),
       dict(bpm=120), dict(bpm=132, change=100), dict(bpm=140), dict(bpm=160, meter=3), dict(bpm=180)]

def hit(rng, kind, seconds): # 'kick', 'snare' or 'hat' -> [n]
    t = np.arange(int(seconds * RATE)) / RATE
    if kind == 'kick': return np.sin(2 * np.pi * (50 * t + 8 * (1 - np.exp(-t * 30)))) * np.exp(-t * 18)
    noise = rng.normal(size=len(t) + 1)
    if kind == 'hat': return .35 * np.diff(noise) * np.exp(-t * 60)
    return (.6 * noise[1:] + .5 * np.sin(2 * np.pi * 190 * t)) * np.exp(-t * 22)

def note(f, seconds, partials=5): # Hz -> [n]
    t = np.arange(int(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * f * k * t) / k**1.5 for k in range(1, partials + 1))
    return tone * np.minimum(1, t / .01) * np.minimum(1, (seconds - t) / .02).clip(0)

def beat_times(bpm, seconds, change, first): # -> s [n]
    at, t = [], first
    while t < seconds - .05:
        at.append(t)
        t += 60 / (bpm if change is None or t < seconds / 2 else change)
    return np.array(at)

def song(bpm=120, seconds=12., swing=.5, change=None, seed=0, drums=True, meter=4): # -> [1, n], beats [b], bars [c]
    "A song; `change`: its tempo in its second half, `swing`: where in a beat its second half begins."
    rng = np.random.default_rng(seed)
    beats = beat_times(bpm, seconds, change, rng.uniform(.05, .6))
    x, roots = np.zeros(int((seconds + 6) * RATE)), 55 * 2**(rng.permutation([0, 3, 5, 7]) / 12)
    def put(y, t): x[(i := round(t * RATE)):i + len(y)] += y
    for k, a in enumerate(beats):
        bar, place, gap = k // meter, k % meter, 60 / (bpm if change is None or a < seconds / 2 else change)
        off, root = a + swing * gap, roots[bar % 4]
        if drums:
            first = place == 0 or meter == 4 and place == 2
            put(.8 * hit(rng, 'kick', .33) if first else .5 * hit(rng, 'snare', .25), a)
            put(.5 * hit(rng, 'hat', .1), a)
            put(.35 * hit(rng, 'hat', .1), off)
            if rng.random() < .25: put(.5 * hit(rng, 'kick', .33), off)
        put(.25 * note(root, .45 * gap), a)
        if rng.random() < .5: put(.2 * note(2 * root, .3 * gap), off)
        if place == 0:
            for i in (0, rng.choice([3, 4]), 7): put(.05 * note(4 * root * 2**(i / 12), meter * gap, 4), a)
        if rng.random() < .6:
            put(.12 * note(8 * root * 2**(rng.choice([0, 3, 5, 7, 10]) / 12), .4 * gap, 3), rng.choice([a, off]))
    x = x[:int(seconds * RATE)]
    return (.8 * x / abs(x).max()).astype(np.float32)[None], beats, beats[::meter]
