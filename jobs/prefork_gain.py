"""Measure what huge pages from before the fork save a preforking service: CPU time a request, against small pages.

    python jobs/prefork_gain.py --workers 1,4,16 --rounds 11

Three `gunicorn --preload` services load 300 MiB each and fork their workers: `small`, `huge` (MADV_COLLAPSE of all that was
loaded, before the first fork), and `again`, which is `small` a second time and shows what is noise. In each round each of
them answers as many requests, in an order that changes; the CPU time of its workers for one is compared with that of `small`
in the same round. With --memory buffer requests only read what was loaded, with --memory objects they look up Python
objects, which counts references, and so copies the pages that these lie in. One line of JSON for each number of workers.
Needs gunicorn in this Python, and Linux 6.1.
"""

import argparse
import contextlib
import ctypes
import itertools
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ENTRY_BYTES = 1_024
LOOKUPS = 1_000
"""Of a request."""

MADV_COLLAPSE, PR_SET_THP_DISABLE, REGION = 25, 41, 2 << 20
ARMS = ("small", "huge", "again")
READY_S = 120.0


class Service:
    """A running gunicorn, its workers forked."""

    def __init__(self, path: Path, pid: int, n_workers: int) -> None:
        self._path, self._pid, self._n_workers = path, pid, n_workers

    @property
    def workers(self) -> list[int]:
        """Process IDs of the workers."""
        return [int(pid) for pid in Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()]

    def us_per_request(self, requests: int) -> float:
        """Send requests, as many at a time as there are workers; give the workers' CPU time for one."""
        workers = self.workers
        before_ns = sum(map(cpu_ns, workers))
        each = math.ceil(requests / self._n_workers)
        clients = [threading.Thread(target=self._ask, args=(each,)) for _ in range(self._n_workers)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if self.workers != workers:
            raise SystemExit("a worker ended during the measurement")
        return (sum(map(cpu_ns, workers)) - before_ns) / (each * self._n_workers) / 1e3

    def _ask(self, times: int) -> None:
        for _ in range(times):
            self.get()

    def get(self) -> None:
        """Send one request. Raises: OSError."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while connection.recv(4096):
                pass

    def huge_bytes(self) -> int:
        """Give what a worker maps by PMDs, the mean."""
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.workers]
        kib = [int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("AnonHuge")]
        return round(statistics.fmean(kib) * 1024)


def main() -> None:
    """Measure each number of workers, and print what came of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--workers", type=lambda text: [int(one) for one in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--requests", type=int, default=400, help="of a round, to each service")
    parser.add_argument("--preload-mib", type=int, default=300)
    parser.add_argument("--memory", choices=("buffer", "objects"), default="buffer")
    options = parser.parse_args()
    for n_workers in options.workers:
        found = measure(n_workers, options.rounds, options.requests, options.preload_mib, options.memory)
        print(json.dumps(found), flush=True)


def measure(n_workers: int, rounds: int, requests: int, preload_mib: int, memory: str) -> dict[str, Any]:
    """Run the three services beside each other; give the ratios to `small`, and what was mapped by PMDs."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arms = {arm: stack.enter_context(service(arm, folder, n_workers, preload_mib, memory)) for arm in ARMS}
        loaded = {arm: one.huge_bytes() for arm, one in arms.items()}
        for one in arms.values():
            one.us_per_request(2 * requests)  # first touches and first writes
        taken: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for order in itertools.islice(itertools.cycle(itertools.permutations(ARMS)), rounds):
            for arm in order:
                taken[arm].append(arms[arm].us_per_request(requests))
        left = {arm: one.huge_bytes() for arm, one in arms.items()}
    ratios = {arm: [one / base for one, base in zip(taken[arm], taken["small"], strict=True)] for arm in ARMS[1:]}
    return {
        "workers": n_workers,
        "memory": memory,
        "us_per_request": {arm: round(statistics.median(values), 1) for arm, values in taken.items()},
        **{arm: middle(values) for arm, values in ratios.items()},
        "huge_bytes_a_worker": {"before": loaded, "after": left},
    }


def middle(values: Sequence[float]) -> dict[str, float]:
    """Give the median, and the ends of an interval that holds that of all rounds in 95 % at least (sign test)."""
    order, n = sorted(values), len(values)
    tails = itertools.accumulate(math.comb(n, k) / 2**n for k in range(n))
    at = max(0, sum(tail <= 0.025 for tail in tails) - 1)
    return {"median": statistics.median(order), "low": order[at], "high": order[n - 1 - at]}


def cpu_ns(pid: int) -> int:
    """Read what a process with one thread has run so far (Documentation/scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


@contextlib.contextmanager
def service(arm: str, folder: Path, n_workers: int, preload_mib: int, memory: str) -> Iterator[Service]:
    """Start a gunicorn and wait until all its workers are there; end it afterwards."""
    path, here = folder / arm, Path(__file__)
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(n_workers), "--bind", f"unix:{path}"]
    command += ["--chdir", str(here.parent), "--log-level", "warning", "--timeout", "0", f"{here.stem}:app"]
    asked = {"PREFORK_PAGES": arm, "PREFORK_MIB": str(preload_mib), "PREFORK_MEMORY": memory}
    with subprocess.Popen(command, env=os.environ | asked) as process:
        try:
            yield wait_for(Service(path, process.pid, n_workers), process, n_workers)
        finally:
            process.terminate()


def wait_for(one: Service, process: subprocess.Popen[bytes], n_workers: int) -> Service:
    """Wait until a service answers and has all its workers."""
    for _ in range(int(READY_S * 10)):
        if process.poll() is not None:
            raise SystemExit(f"gunicorn ended with {process.returncode}")
        with contextlib.suppress(OSError):
            one.get()
            if len(one.workers) == n_workers:
                return one
        time.sleep(0.1)
    raise SystemExit(f"gunicorn did not answer within {READY_S:g} s")


# What follows runs in the services.


def load(pages: str, preload_mib: int, memory: str) -> Sequence[Any]:
    """Load what all workers share, by small pages or by huge ones."""
    libc = ctypes.CDLL(None, use_errno=True)
    if pages != "huge" and libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE)")
    if memory == "buffer":
        table: Sequence[Any] = os.urandom(preload_mib << 20)
    else:
        table = [os.urandom(ENTRY_BYTES - 33) for _ in range(preload_mib * 1024)]
    if pages == "huge":
        collapse(libc)
    return table


def collapse(libc: ctypes.CDLL) -> None:
    """Make all private memory huge that this process has written, region by region; what is refused stays small."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, *_, inode = line.split()[:5]
        first, last = (int(end, 16) for end in span.split("-"))
        if mode.startswith("rw-p") and inode == "0":
            for region in range(-(-first // REGION) * REGION, last - REGION + 1, REGION):
                libc.madvise(ctypes.c_void_p(region), ctypes.c_size_t(REGION), MADV_COLLAPSE)


def served(table: Sequence[Any], memory: str) -> Callable[..., Iterable[bytes]]:
    """Make the application: each request looks up entries at random."""
    n_entries, first = (len(table) // ENTRY_BYTES, ENTRY_BYTES) if memory == "buffer" else (len(table), 1)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        total = 0
        for _ in range(LOOKUPS):
            entry = table[first * int(n_entries * random.random())]
            total += entry if memory == "buffer" else entry[7]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(total).encode()]

    return answer


if "PREFORK_PAGES" in os.environ:
    kind = os.environ["PREFORK_MEMORY"]
    app = served(load(os.environ["PREFORK_PAGES"], int(os.environ["PREFORK_MIB"]), kind), kind)
elif __name__ == "__main__":
    main()
