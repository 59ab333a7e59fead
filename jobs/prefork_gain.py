"""Measure what huge pages from before the fork save a preforking service: CPU time a request, against small pages.

    python jobs/prefork_gain.py --workers 1,4,16

Three `gunicorn --preload` services load 300 MiB each (jobs/prefork_app.py) and fork their workers: `small`, `huge`
(MADV_COLLAPSE of all that was loaded, before the first fork), and `again`, which is `small` a second time. In each round
each of them answers as many requests, in an order that changes; the CPU time of its workers for one is compared with that of
`small` in the same round. The median of the rounds is a service's ratio, and services are started anew several times, as
which memory one gets makes a difference, too: the interval is from the smallest to the largest ratio, and `again` shows what
of it is noise. Beside it stands what the model predicts over the ranges of all prices and rates, the CPU share of a worker
and the rate of its writes being measured. With --memory buffer requests only read what was loaded; with --memory objects
they look up Python objects, which counts references, so that they write. One line of JSON for each number of workers, from
the second one on with how much dearer page walks are than with the first number of workers, measured and predicted.
Needs gunicorn beside thpsweep, and Linux 6.1.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ARMS = ("small", "huge", "again")
LOOKUPS = 1_000
"""Of a request: prefork_app.LOOKUPS."""

PRELOAD_MIB, PAGES_PER_MIB, REGION_MIB = 300, 256, 2
REQUESTS = 40
"""Of a round, to each service: short, so that what disturbs one disturbs all."""

READY_S = 120.0


@dataclasses.dataclass(frozen=True)
class Ratio:
    """CPU time a request against that of `small`: the median of several starts, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        """Sum up, one ratio a start."""
        return cls(statistics.median(ratios), min(ratios), max(ratios))


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was found with so many workers. cpu_share: CPUs that a worker of `small` kept busy under load; huge_bytes: what
    a worker of `huge` maps by PMDs when it was loaded, and at the end."""

    workers: int
    memory: str
    us_per_request: dict[str, float]
    huge: Ratio
    again: Ratio
    cpu_share: float
    huge_bytes: tuple[int, int]

    @property
    def walks_us(self) -> float:
        """CPU time of the page walks of a request that PMDs save."""
        return self.us_per_request["small"] * (1 - self.huge.median)


class Service:
    """A running gunicorn, its workers forked. cpu_s, wall_s: what its workers took for requests, and how long that was."""

    def __init__(self, path: Path, pid: int, n_workers: int) -> None:
        self._path, self._pid, self._n_workers = path, pid, n_workers
        self.cpu_s = self.wall_s = 0.0

    @property
    def workers(self) -> list[int]:
        """Process IDs of the workers."""
        return [int(pid) for pid in Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()]

    def us_per_request(self, requests: int) -> float:
        """Send requests, as many at a time as there are workers; give the workers' CPU time for one."""
        workers, each, begun = self.workers, math.ceil(requests / self._n_workers), time.monotonic()
        before_s = sum(map(cpu_s, workers))
        clients = [threading.Thread(target=self._ask, args=(each,)) for _ in range(self._n_workers)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if self.workers != workers:
            raise SystemExit("a worker ended during the measurement")
        taken_s = sum(map(cpu_s, workers)) - before_s
        self.cpu_s, self.wall_s = self.cpu_s + taken_s, self.wall_s + time.monotonic() - begun
        return taken_s / (each * self._n_workers) * 1e6

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
    """Measure and predict for each number of workers, and print both."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--workers", type=lambda text: [int(one) for one in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--starts", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=31, help="of each start")
    parser.add_argument("--memory", choices=("buffer", "objects"), default="buffer")
    parser.add_argument("--machine", default="milan_vm", help="profile whose prices predict")
    options = parser.parse_args()
    first = None
    for n_workers in options.workers:
        found = measure(n_workers, options.memory, options.starts, options.rounds)
        told = dataclasses.asdict(found) | {"predicted": predicted(found, options.machine)}
        if first is not None:
            told["walks_dearer"] = found.walks_us / first.walks_us
            told["predicted_dearer"] = dearer(n_workers, first.workers, options.machine)
        first = first or found
        print(json.dumps(told), flush=True)


def measure(n_workers: int, memory: str, starts: int, rounds: int) -> Measured:
    """Start the three services several times, and compare them."""
    runs = [_start(n_workers, memory, rounds, order) for order in _orders(starts)]
    ratios = {
        arm: [
            statistics.median(one / base for one, base in zip(run[0][arm], run[0]["small"], strict=True))
            for run in runs
        ]
        for arm in ARMS
    }
    return Measured(
        n_workers,
        memory,
        {arm: round(statistics.median(value for run in runs for value in run[0][arm]), 1) for arm in ARMS},
        Ratio.of(ratios["huge"]),
        Ratio.of(ratios["again"]),
        statistics.median(run[1] for run in runs),
        runs[-1][2],
    )


def _orders(n: int) -> list[tuple[str, ...]]:
    return list(itertools.islice(itertools.cycle(itertools.permutations(ARMS)), n))


def _start(
    n_workers: int, memory: str, rounds: int, order: Sequence[str]
) -> tuple[dict[str, list[float]], float, tuple[int, int]]:
    """Start the services in this order; give the CPU times of each round, a worker's CPU share, and what is huge."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arms = {arm: stack.enter_context(service(arm, folder, n_workers, memory)) for arm in order}
        loaded = arms["huge"].huge_bytes()
        for one in arms.values():
            one.us_per_request(5 * REQUESTS)  # first touches and first writes
        taken: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for turn in _orders(rounds):
            for arm in turn:
                taken[arm].append(arms[arm].us_per_request(REQUESTS))
        small = arms["small"]
        return taken, small.cpu_s / small.wall_s / n_workers, (loaded, arms["huge"].huge_bytes())


def predicted(found: Measured, machine: str, n_draws: int = 1024) -> tuple[float, float]:
    """Predict the ratio: 95 % of what comes out where all prices and rates are drawn from their ranges at once.

    The model's ratio is that of CPU time with and without the page walks that PMDs save, once the service has run a while.
    """
    import numpy as np

    import thpsweep
    from thpsweep.answers.analysis.ranges import machine_ranges, rate_range
    from thpsweep.answers.analysis.uncertainty import draws
    from thpsweep.api import composed
    from thpsweep.model.metrics.repricing import recording
    from thpsweep.profiles import load
    from thpsweep.shipped import machine_file

    requests_per_s = found.cpu_share / found.us_per_request["small"] * 1e6
    writes = 3600 * requests_per_s * LOOKUPS / (PRELOAD_MIB * PAGES_PER_MIB) if found.memory == "objects" else 0.0
    point = composed((
        "workload=prefork", f"workload.regions={PRELOAD_MIB // REGION_MIB}", "workload.hot_regions=0",
        f"workload.worker_cold_writes_per_page_hour={writes}", f"workload.worker_cpu_share={found.cpu_share}",
        f"sharing.degree={found.workers + 1}", "policy=copy_before_fork", f"machine={machine}",
        "run.duration_s=3600", "run.tick_s=10", "run.replicates=2",
    ))  # fmt: skip
    recorded = recording(point, thpsweep.simulate(point))
    file = machine_file("--machine", machine)
    ranges = machine_ranges(load(file), file) | {
        key: rate_range(key, recorded.keys[key]) for key in ("workload.page_walk_share", "workload.reach_exponent")
    }
    drawn = draws([key for key in ranges if key in recorded.keys], n_draws)
    saved_ms = recorded.cpu(drawn.values(ranges))["benefit/tlb_ms_saved"].mean(axis=1)
    busy_ms = min(found.workers * found.cpu_share, recorded.machine.cpus) * recorded.duration_s * 1e3
    low, high = np.percentile(1 - saved_ms / busy_ms, (2.5, 97.5))
    return float(low), float(high)


def dearer(n_workers: int, before: int, machine: str) -> tuple[float, float]:
    """Predict how much more a page walk takes with so many workers than with fewer, whose page tables are in the cache for
    a larger part: from one end of the ranges of its two prices to the other."""
    import numpy as np

    from thpsweep.answers.analysis.ranges import machine_ranges
    from thpsweep.model.accounting.translation import PTE_BYTES, uncached
    from thpsweep.model.machines.profile import LEAST_NS
    from thpsweep.profiles import load
    from thpsweep.shipped import machine_file

    file = machine_file("--machine", machine)
    profile = load(file)
    ranges = machine_ranges(profile, file)
    cached, more = ranges["machine.page_walk_ns"], ranges["machine.page_walk_uncached_ns"]
    workers = np.array([n_workers, before])
    share = uncached(workers * float(PRELOAD_MIB * PAGES_PER_MIB * PTE_BYTES), profile)
    ends = ((cached.high, more.low), (max(cached.low, LEAST_NS), more.high))
    low, high = sorted(float(np.divide(*(hit + (miss - hit) * share))) for hit, miss in ends)
    return low, high


def cpu_s(pid: int) -> float:
    """Read how long a process with one thread has run so far (Documentation/scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.contextmanager
def service(arm: str, folder: Path, n_workers: int, memory: str) -> Iterator[Service]:
    """Start a gunicorn and wait until all its workers are there; end it afterwards."""
    path = folder / arm
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(n_workers), "--bind", f"unix:{path}"]
    command += ["--chdir", str(Path(__file__).parent), "--log-level", "warning", "--timeout", "0", "prefork_app:app"]
    asked = {"PREFORK_PAGES": arm, "PREFORK_MIB": str(PRELOAD_MIB), "PREFORK_MEMORY": memory}
    with subprocess.Popen(command, env=os.environ | asked) as process:
        try:
            yield wait_for(Service(path, process.pid, n_workers), process, n_workers)
        finally:
            process.terminate()


def wait_for(one: Service, process: subprocess.Popen[bytes], n_workers: int) -> Service:
    """Wait until a service has all its workers and answers."""
    for _ in range(int(READY_S * 10)):
        if process.poll() is not None:
            raise SystemExit(f"gunicorn ended with {process.returncode}")
        with contextlib.suppress(OSError):
            if len(one.workers) == n_workers:
                one.get()
                return one
        time.sleep(0.1)
    raise SystemExit(f"gunicorn did not answer within {READY_S:g} s")


if __name__ == "__main__":
    main()
