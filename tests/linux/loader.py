"""Feed batches from a pool of forked workers, as PyTorch's DataLoader does: the data set is loaded before the fork.

Usage: loader.py MIB WORKERS; it prints its pid when all workers have been forked, and runs until it is ended. Each worker
draws samples at random, puts them together and sends the batch to the parent, which drops it.
"""

import multiprocessing
import os
import sys

import numpy as np

SAMPLE_BYTES, BATCH = 16 << 10, 32


def work(samples, queue, seed):
    """Send batches until the parent is gone."""
    rng, parent = np.random.default_rng(seed), os.getppid()
    while os.getppid() == parent:
        queue.put(samples[rng.integers(len(samples), size=BATCH)])


def main():
    mib, n_workers = int(sys.argv[1]), int(sys.argv[2])
    fork = multiprocessing.get_context("fork")
    samples = np.random.default_rng(0).integers(0, 256, ((mib << 20) // SAMPLE_BYTES, SAMPLE_BYTES), np.uint8)
    queue = fork.Queue(maxsize=2 * n_workers)
    for seed in range(n_workers):
        fork.Process(target=work, args=(samples, queue, seed), daemon=True).start()
    print(os.getpid(), flush=True)
    while True:
        queue.get()


if __name__ == "__main__":
    main()
