"""kill -9 at random moments: `python tests/kill.py N SEED [STAGE…]` trains, with N kills, and prints whether all ended
with the same files. Run by test_robust.py."""
import json, os, random, signal, sys, tempfile, time
from pathlib import Path
from brief import BRIEF, fork, get_ready
from sound_video.app import training

STAGES = sys.argv[3:] or training.STAGES

def files(pack):
    both = pack, Path(f'{pack}.training')/'clip'
    return {
        str(p.relative_to(pack.parent)): p.read_bytes()
        for folder in both
        for p in sorted(folder.rglob('*'))
        if p.is_file()
    }

def attempt(out, seconds):
    "One life of a training, ended after so many seconds; True if it was complete before."
    pid, end = fork(go_on, out, log=out.parent/'log.txt'), time.time() + seconds
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done: return finished(status, out)
        time.sleep(.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False

def go_on(out): training.train(out, 'brief', STAGES, resume=True)

def finished(status, out):
    if status: raise SystemExit(f'training failed:\n{(out.parent/"log.txt").read_text()[-3000:]}')
    return True

def main(kills, seed):
    rng, done, moments, trainings, equal = random.Random(seed), 0, [], 0, True
    training.PRESETS['brief'] = BRIEF
    get_ready()
    with tempfile.TemporaryDirectory() as d:
        d, start = Path(d), time.time()
        (d/'0').mkdir()
        attempt(d/'0'/'pack', 1e9)
        whole, took = files(d/'0'/'pack'), time.time() - start
        while done < kills:
            trainings += 1
            out = d/str(trainings)/'pack'
            out.parent.mkdir()
            while not attempt(out, rng.uniform(0, took/2) if done < kills else 1e9):
                done += 1
                moments.append(len(list(out.parent.rglob('*.csv'))))
            equal &= files(out) == whole and not [p for p in out.parent.rglob('.*') if p.is_file()]
    print(
        json.dumps(
            dict(
                kills=done, trainings=trainings, equal=equal, seconds=round(took, 1), stages_begun=sorted(set(moments))
            )
        )
    )

if __name__ == '__main__': main(int(sys.argv[1]), int(sys.argv[2]))
