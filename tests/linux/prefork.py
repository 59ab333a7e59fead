"""A small preforking server: it loads memory, forks workers that share it, and each writes and reads some of it.

Usage: prefork.py REGIONS WORKERS WRITES_PER_S; it prints its pid when all have been forked, and runs until it is ended.
"""

import ctypes
import mmap
import os
import random
import signal
import sys
import time

PAGE, REGION = 4096, 2 << 20


def load(n_regions):
    """Map regions that are aligned, and write all their pages."""
    memory = mmap.mmap(-1, (n_regions + 1) * REGION, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % REGION
    for page in range(n_regions * 512):
        memory[first + page * PAGE] = 1
    return memory, first


def work(memory, first, n_pages, writes_per_s):
    """Write pages drawn at random from the first quarter, and read from all, until the parent is gone."""
    random.seed(os.getpid())
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(max(1, int(writes_per_s / 20))):
            if writes_per_s:
                memory[first + random.randrange(n_pages // 4) * PAGE] = 2
            memory[first + random.randrange(n_pages) * PAGE]
        time.sleep(0.05)
    os._exit(0)


def main():
    n_regions, n_workers, writes_per_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    memory, first = load(n_regions)
    for _ in range(n_workers):
        if os.fork() == 0:
            work(memory, first, n_regions * 512, writes_per_s)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
