"""Two nodes on one machine: `torchrun` twice, with a rendezvous on loopback. Used by test_nodes.py."""
import os, signal, socket, subprocess, sys, time
from pathlib import Path

TRAIN = (
    '-m sound_video train image_classifier stylegan --out pack --preset tiny --resume --precision float32'
    ' --set images=[160,16] --set stills=36 --set valid=9 --set image_classifier_epochs=1'
).split()

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def launch(folders, *words, restarts=0):
    "One agent in each folder, with one worker each."
    port, env = free_port(), os.environ | dict(OMP_NUM_THREADS='1', TORCH_DISABLE_SHARE_RDZV_TCP_STORE='1')
    torchrun = (
        f'-m torch.distributed.run --nnodes {len(folders)} --nproc-per-node 1 --max-restarts {restarts}'
        f' --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:{port} --rdzv-id test --local-addr 127.0.0.1'
    ).split()
    def agent(i, folder):
        with open(folder/f'log-{i}.txt', 'w') as log:
            return subprocess.Popen([sys.executable, *torchrun, *words], cwd=folder, env=env, stdout=log, stderr=log)
    return [agent(i, folder) for i, folder in enumerate(folders)]

def logs(folders): return '\n'.join(p.read_text()[-4000:] for f in {*folders} for p in sorted(f.glob('log-*.txt')))

def wait_for(agents, folders, seconds=300):
    end = time.time() + seconds
    try:
        for a in agents: a.wait(max(1, end - time.time()))
        assert [a.returncode for a in agents] == [0] * len(agents), logs(folders)
    finally:
        for a in agents:
            if a.poll() is None: a.kill()

def workers(agent):
    "Process numbers of what an agent has started."
    return [int(n) for n in Path(f'/proc/{agent.pid}/task/{agent.pid}/children').read_text().split()]

def kill_worker(agent, file, seconds=240):
    "kill -9 a worker as soon as a file is there."
    end = time.time() + seconds
    while not file.exists():
        assert agent.poll() is None and time.time() < end, 'the training did not get so far'
        time.sleep(.02)
    pid, = workers(agent)
    os.kill(pid, signal.SIGKILL)
    return pid
