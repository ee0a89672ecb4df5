"Processes that do the same at the same moment."
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import pytest, torch

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')

def _wait(barrier):
    torch.set_num_threads(1) # those of the process that was forked are gone
    barrier.wait()

def together(n, f, *args):
    "What f gives in each of n processes, forked from this one, none of which begins before all are there."
    context = get_context('fork')
    with ProcessPoolExecutor(n, context, _wait, (context.Barrier(n, timeout=60),)) as pool:
        return [made.result() for made in [pool.submit(f, *args) for _ in range(n)]]
