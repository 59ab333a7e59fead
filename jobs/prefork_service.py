"""Run a small preforking service as gunicorn --preload does, with its load, to try `thpsweep capture` and `advise` on.

    python jobs/prefork_service.py --workers 6 --preload-mib 300 --requests-per-s 200

A master loads a table of Python objects and forks workers; each worker answers requests that it makes up itself: it looks
entries of the table up, which counts references and so writes to the shared pages, and keeps a small cache of its own.
`--requests-per-s 0` is the idle service. SIGHUP replaces the workers one by one, SIGTERM ends all. Each worker writes a
line with the CPU time a request to standard output every few seconds (--report-s).
"""

import argparse
import gc
import os
import random
import signal
import sys
import time

ENTRY_BYTES = 1_024
LOOKUPS = 200
CACHE_ENTRIES = 2_000


def main() -> None:
    """Load, fork, replace workers that end, until told to stop."""
    options = parse()
    table = [os.urandom(ENTRY_BYTES - 33) for _ in range(options.preload_mib * 1024)]
    if options.freeze:
        gc.freeze()
    workers = [start(options, table) for _ in range(options.workers)]
    print(f"pid {os.getpid()}: {len(workers)} workers", flush=True)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    signal.signal(signal.SIGHUP, lambda number, frame: os.kill(workers[0], signal.SIGTERM))
    while not stopping:
        ended = wait()
        if ended in workers:
            workers.remove(ended)
            workers.append(start(options, table))
    for pid in workers:
        os.kill(pid, signal.SIGTERM)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--preload-mib", type=int, default=300)
    parser.add_argument("--requests-per-s", type=float, default=200.0, help="of each worker")
    parser.add_argument("--report-s", type=float, default=5.0)
    parser.add_argument("--freeze", action="store_true", help="gc.freeze() before the first fork")
    return parser.parse_args()


def wait() -> int:
    """Wait for a worker to end, or a signal; 0 where none ended."""
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
    if ended is None:
        time.sleep(0.1)
        return 0
    return ended.si_pid


def start(options: argparse.Namespace, table: list[bytes]) -> int:
    """Fork a worker; it ends with its master."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        work(options, table)
    return pid


def work(options: argparse.Namespace, table: list[bytes]) -> None:
    """Answer requests at a steady rate, and say now and then what one takes."""
    master, cache = os.getppid(), dict[int, bytes]()
    random.seed(os.getpid())
    asked, told_s, used_s = 0, time.monotonic(), time.process_time()
    while os.getppid() == master:
        begun = time.monotonic()
        if options.requests_per_s:
            request(table, cache)
            asked += 1
        if begun - told_s > options.report_s and asked:
            each_us = (time.process_time() - used_s) / asked * 1e6
            print(f"worker {os.getpid()}: {each_us:.0f} us of CPU a request", flush=True)
            asked, told_s, used_s = 0, begun, time.process_time()
        pause_s = 1 / options.requests_per_s if options.requests_per_s else 1.0
        time.sleep(max(0.0, begun + pause_s - time.monotonic()))
    sys.exit(0)


def request(table: list[bytes], cache: dict[int, bytes]) -> None:
    """Look entries up at random, and remember one answer."""
    total = 0
    for _ in range(LOOKUPS):
        total += table[random.randrange(len(table))][7]
    cache[total % CACHE_ENTRIES] = os.urandom(ENTRY_BYTES)


if __name__ == "__main__":
    main()
