"""Measure what huge pages from before the fork save a preforking service: CPU time a request, against small pages.

    python jobs/prefork_gain.py --workers 1,4,16

Three `gunicorn --preload` services load 300 MiB each (jobs/prefork_app.py) and fork their workers: `small`, `huge`
(MADV_COLLAPSE of all that was loaded, before the first fork), and `again`, which is `small` a second time. In each round
each of them answers as many requests, in an order that changes; the CPU time of its workers for one is compared with that of
`small` in the same round. The median of the rounds is a start's ratio, and services are started anew several times, as
which memory one gets makes a difference, too: low and high are the smallest and the largest ratio of a start, `again` shows
what of them is noise, and Ratio.interval() is what both spreads leave of the mean. Beside it stands what the model predicts
over the ranges of all prices and rates, the CPU share of a worker and the rate of its writes being measured. With --memory
buffer requests only read what was loaded; with --memory objects they look up Python objects, which counts references, so
that they write. One line of JSON for each number of workers, from the second one on with how much dearer page walks are
than with the first, measured and predicted: services with any number of workers stand side by side and take turns, so that
a machine that is busy with other things for a while is busy for all of them. Needs gunicorn beside thpsweep, and Linux 6.1.
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
    """CPU time against that of something else: the median of several starts, the smallest and the largest."""

    median: float
    low: float
    high: float
    starts: tuple[float, ...]

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        """Sum up, one ratio a start."""
        return cls(statistics.median(ratios), min(ratios), max(ratios), tuple(ratios))

    def interval(self, level: float) -> tuple[float, float]:
        """Give Student's interval of the mean logarithm over starts: the spread of rounds is in that of their medians."""
        return interval([math.log(one) for one in self.starts], level)

    def against(self, other: "Ratio", level: float) -> tuple[float, float]:
        """Give the same of this ratio over another one, start by start."""
        both = zip(self.starts, other.starts, strict=True)
        return interval([math.log(mine / theirs) for mine, theirs in both], level)


def interval(logarithms: Sequence[float], level: float) -> tuple[float, float]:
    """Give the interval of a mean, of which each is one start's, as a factor. Raises: StatisticsError below two of them."""
    from scipy.stats import t

    mean, n = statistics.fmean(logarithms), len(logarithms)
    half = float(t.ppf((1 + level) / 2, n - 1)) * statistics.stdev(logarithms) / math.sqrt(n)
    return math.exp(mean - half), math.exp(mean + half)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was found with so many workers. cpu_share: CPUs that a worker of `small` kept busy under load; huge_bytes: what
    a worker of `huge` maps by PMDs when it was loaded, and at the end; dearer: CPU time of the page walks of a request that
    PMDs save, against that with the first number of workers, where both are above zero."""

    workers: int
    memory: str
    us_per_request: dict[str, float]
    huge: Ratio
    again: Ratio
    cpu_share: float
    huge_bytes: tuple[int, int]
    dearer: Ratio | None


class Service:
    """A running gunicorn, its workers forked. cpu_s, wall_s: what its workers took for requests, and how long that was."""

    def __init__(self, path: Path, pid: int, n_workers: int) -> None:
        self._path, self.pid, self._n_workers = path, pid, n_workers
        self.cpu_s = self.wall_s = 0.0

    @property
    def workers(self) -> list[int]:
        """Process IDs of the workers."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

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
    for found in measure(options.workers, options.memory, options.starts, options.rounds):
        told = dataclasses.asdict(found) | {"predicted": predicted(found, options.machine)}
        if found.workers != options.workers[0]:
            told["predicted_dearer"] = dearer(found.workers, options.workers[0], options.machine)
        print(json.dumps(told), flush=True)


def measure(workers: Sequence[int], memory: str, starts: int, rounds: int) -> list[Measured]:
    """Start the three services with each number of workers several times, and compare them."""
    runs = [_start(workers, memory, rounds, order) for order in _orders(starts)]
    return [_measured([run[n] for run in runs], [run[workers[0]] for run in runs], n, memory) for n in workers]


@dataclasses.dataclass(frozen=True)
class Start:
    """One start's CPU times a request, round by round, of each service; a worker's CPU share; what is huge."""

    us: dict[str, list[float]]
    cpu_share: float
    huge_bytes: tuple[int, int]

    def ratio(self, arm: str) -> float:
        """Compare with `small` in the same rounds."""
        return statistics.median(one / base for one, base in zip(self.us[arm], self.us["small"], strict=True))

    @property
    def walks_us(self) -> float:
        """CPU time of the page walks of a request that PMDs save."""
        return statistics.median(self.us["small"]) * (1 - self.ratio("huge"))


def _measured(runs: Sequence[Start], first: Sequence[Start], n_workers: int, memory: str) -> Measured:
    """Sum up the starts with a number of workers."""
    walks = [(one.walks_us, base.walks_us) for one, base in zip(runs, first, strict=True)]
    return Measured(
        n_workers,
        memory,
        {arm: round(statistics.median(value for run in runs for value in run.us[arm]), 1) for arm in ARMS},
        Ratio.of([run.ratio("huge") for run in runs]),
        Ratio.of([run.ratio("again") for run in runs]),
        statistics.median(run.cpu_share for run in runs),
        runs[-1].huge_bytes,
        Ratio.of([one / base for one, base in walks]) if min(map(min, walks)) > 0 else None,
    )


def _orders(n: int) -> list[tuple[str, ...]]:
    return list(itertools.islice(itertools.cycle(itertools.permutations(ARMS)), n))


def _start(workers: Sequence[int], memory: str, rounds: int, order: Sequence[str]) -> dict[int, Start]:
    """Start the services in this order, and let them take turns."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arms = {
            (n, arm): stack.enter_context(service(folder / f"{arm}-{n}", arm, n, memory))
            for n in workers
            for arm in order
        }
        loaded = {n: arms[n, "huge"].huge_bytes() for n in workers}
        for one in arms.values():
            one.us_per_request(5 * REQUESTS)  # first touches and first writes
        taken: dict[tuple[int, str], list[float]] = {which: [] for which in arms}
        for turn in _orders(rounds):
            for n in workers:
                for arm in turn:
                    taken[n, arm].append(arms[n, arm].us_per_request(REQUESTS))
        return {
            n: Start(
                {arm: taken[n, arm] for arm in ARMS},
                arms[n, "small"].cpu_s / arms[n, "small"].wall_s / n,
                (loaded[n], arms[n, "huge"].huge_bytes()),
            )
            for n in workers
        }


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
def service(path: Path, arm: str, n_workers: int, memory: str) -> Iterator[Service]:
    """Start a gunicorn that listens at this path and wait until all its workers are there; end it afterwards."""
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
