"""What a cluster adds to the points that it runs: time, traffic and memory a point, and how many actors one driver serves.

Run as root with `python -m pytest -m bench -s tests/bench/test_cluster.py`: three hosts that are namespaces, as in
tests/cluster. All is measured in one run, without MLflow.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench.test_engine import private_bytes, trivial
from tests.cluster.conftest import BIN, Cluster, make_cluster
from tests.cluster.hosts import Host
from tests.faults.driver import plan_of
from tests.sweep.conftest import degrees, make_point
from thpsweep.sweep.driver.drive import drive
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.ray.pool import run_pool

__all__ = ["degrees", "make_cluster", "make_point"]

pytestmark = pytest.mark.bench

SLEEP_S = 0.25
POINTS_EACH = 400
"""Sleeping points an actor: 100 s, as it takes a while until all of them have started on two cores."""


def sleeping(point: dict[str, Any]) -> dict[str, Any]:
    """Take a while, but no CPU, so that many actors fit on few; give as much as a simulated point."""
    time.sleep(SLEEP_S)
    return {**trivial(point), "actor": [os.uname().nodename, os.getpid()]}


def main(file: str, root: str, function: str, n_actors: str) -> None:
    """Drive the points of a file and print what it took from the first results on; of sleeping ones, of so many actors."""
    plan = plan_of(Path(root), json.loads(Path(file).read_text()))
    launch = functools.partial(run_pool, address="auto", function={"trivial": trivial, "sleeping": sleeping}[function])
    seen: list[tuple[float, float, int, float, int]] = []
    actors: set[tuple[str, int]] = set()
    all_there: list[int] = []

    def watched(tasks: Sequence[Task], terms: Terms) -> Generator[Arrival, None, None]:
        for arrival in launch(tasks, terms):
            work_s = sum(outcome["wall_s"] for _, outcome in arrival)
            actors.update(tuple(outcome["result"].get("actor", ())) for _, outcome in arrival)
            if len(actors) >= int(n_actors):
                all_there.append(len(seen))
            seen.append((time.perf_counter(), time.process_time(), len(arrival), work_s, private_bytes()))
            yield arrival

    driven = drive(plan, watched, lambda sweep: None)
    assert driven.exit_code == 0 and sum(1 for _ in driven.results.values()) == len(plan.points)
    first, last = seen[all_there[0]], seen[-1]
    counted = [at for at in seen if at[0] > first[0]]
    n_points = sum(at[2] for at in counted)
    found = {
        "points": n_points,
        "arrivals": len(counted),
        "took_s": last[0] - first[0],
        "driver_cpu_s": last[1] - first[1],
        "work_s": sum(at[3] for at in counted),
        "most_bytes": max(at[4] for at in seen),
    }
    print(json.dumps(found))


def driven(
    host: Host, tmp_path: Path, points: list[dict[str, Any]], function: str, n_actors: int = 1
) -> dict[str, float]:
    """Drive points from a host, in a process of its own."""
    file = tmp_path / f"{function}-{len(points)}.json"
    file.write_text(json.dumps(points))
    root = tmp_path / f"{function}-{len(points)}"
    arguments = [file, root, function, n_actors]
    said = host.run(BIN / "python", "-m", "tests.bench.test_cluster", *map(str, arguments), timeout_s=600)
    return dict(json.loads(said.stdout.splitlines()[-1]))


def seeded(point: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """Make n points of one."""
    return [{**point, "run": {**point["run"], "seed": seed}} for seed in range(n)]


def sent_bytes(cluster: Cluster) -> int:
    """Count what all hosts have sent to each other. Source: the tenth field of /proc/net/dev."""
    counted = [host.run("grep", "eth0:", "/proc/net/dev").stdout for host in cluster.hosts.values()]
    return sum(int(line.partition(":")[2].split()[8]) for line in counted)


def test_ten_thousand_points_and_the_driver_of_many_actors(
    make_cluster: Callable[[], Cluster], tmp_path: Path, degrees: Callable[..., list[Task]]
) -> None:
    cluster = make_cluster()
    cluster.start(1, 2, 3)
    ((_, task),) = degrees(2)
    point = task["point"]
    ended, sent = [], [sent_bytes(cluster)]
    for n in (1_000, 10_000):
        ended.append(driven(cluster.head, tmp_path, seeded(point, n), "trivial"))
        sent.append(sent_bytes(cluster))
    few, many = ended
    cost_us = [found["took_s"] / found["points"] * 1e6 for found in (few, many)]
    print(f"\nthree hosts: {cost_us[0]:.0f} us a point of 1,000, {cost_us[1]:.0f} of 10,000", end=": ")
    print(f"{cost_us[1] / cost_us[0]:.2f} times; results of 20 KB")
    traffic = [(after - before) / n / 1e3 for before, after, n in zip(sent, sent[1:], (1_000, 10_000), strict=False)]
    print(f"traffic between hosts: {traffic[0]:.1f} KB a point of 1,000, {traffic[1]:.1f} of 10,000")
    grown_bytes = (many["most_bytes"] - few["most_bytes"]) / 9_000
    print(f"the driver's memory grows by {grown_bytes / 1e3:.1f} KB a point while it runs")
    cpu_s = many["driver_cpu_s"] / many["points"]
    print(
        f"the driver's CPU: {cpu_s * 1e6:.0f} us a point in {many['points'] / many['arrivals']:.0f} points an arrival"
    )


@pytest.mark.parametrize("per_host", [2, 8, 16])
def test_the_driver_keeps_so_many_actors_busy(
    make_cluster: Callable[[], Cluster], tmp_path: Path, degrees: Callable[..., list[Task]], per_host: int
) -> None:
    cluster = make_cluster()
    cluster.join(1, cpus=per_host)
    for number in (2, 3):
        cluster.join(number, cpus=per_host)
    ((_, task),) = degrees(2)
    point = task["point"]
    n_actors = 3 * per_host
    found = driven(cluster.head, tmp_path, seeded(point, n_actors * POINTS_EACH), "sleeping", n_actors)
    for host in cluster.hosts.values():
        host.kill()
    busy = found["work_s"] / found["took_s"] / n_actors
    cpu_s = found["driver_cpu_s"] / found["points"]
    print(f"\n{n_actors} actors, points of {SLEEP_S} s: at work {busy:.0%} of the time; the driver's CPU: ", end="")
    print(
        f"{found['driver_cpu_s'] / found['took_s']:.0%} of a core, {cpu_s * 1e3:.2f} ms a point: one core of it would"
    )
    print(f"serve {SLEEP_S / cpu_s:.0f} actors with points of {SLEEP_S} s, {1 / cpu_s:.0f} with points of a second")


if __name__ == "__main__":
    main(*sys.argv[1:])
