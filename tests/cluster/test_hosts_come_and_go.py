"""Hosts come and go while a sweep runs: every point has one result, the one it always has, and what it cost is printed.

Points take a second whatever the machine is busy with, so that the time that was lost can be told.
"""

import collections
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import BIN, Cluster, lines, n_results, results
from tests.cluster.hosts import Host, wait

pytestmark = [pytest.mark.slow, pytest.mark.servers]

N_POINTS = 180


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory, degrees: Callable[..., list[Any]]) -> Path:
    """Write points that differ in seed and degree."""
    file = tmp_path_factory.mktemp("points") / "points.json"
    found = [
        {**task["point"], "run": {**task["point"]["run"], "seed": seed}}
        for seed in range(N_POINTS)
        for _, task in degrees(2 + seed % 7)
    ]
    file.write_text(json.dumps(found))
    return file


@pytest.fixture(scope="module")
def undisturbed(
    make_cluster: Callable[[], Cluster], points: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Give what one process gives."""
    root = tmp_path_factory.mktemp("alone")
    host = make_cluster().switch_on(9)
    host.run(BIN / "python", "-m", "tests.cluster.driver", points, root, "simulate", "serial")
    host.kill()
    return results(root)


def drive(host: Host, points: Path, root: Path) -> Any:
    """Start a driver there."""
    return host.start(BIN / "python", "-m", "tests.cluster.driver", points, root, "very_slow")


def ended(root: Path) -> list[dict[str, Any]]:
    """List results as they stand in the journal."""
    return [record for record in lines(root) if record["type"] == "result"]


def at_work(root: Path) -> collections.Counter[str]:
    """Count results by host."""
    return collections.Counter(record["host"] for record in ended(root))


def n_again(root: Path) -> int:
    """Count results of points that had to go out again."""
    return sum(record["attempts"] > 1 for record in ended(root))


def until_again_s(root: Path, n_before: int) -> float:
    """Wait until points that a host took with it have their results from another."""
    began_s = time.monotonic()
    wait(lambda: n_again(root) > n_before, 90, "points that were lost, from another host")
    return time.monotonic() - began_s


def test_cut_off_killed_late_and_the_head_itself(
    make_cluster: Callable[[], Cluster], points: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    cluster = make_cluster()
    cluster.start(1, 2, 3)
    driver = drive(cluster.head, points, tmp_path)
    wait(lambda: set(at_work(tmp_path)) == {"h1", "h2", "h3"}, 90, "three hosts at work")

    cluster.hosts[2].link("down")
    cut_s = until_again_s(tmp_path, 0)
    began_s = time.monotonic()
    cluster.join(4)
    wait(lambda: "h4" in at_work(tmp_path), 60, "the late host at work")
    late_s = time.monotonic() - began_s
    again = n_again(tmp_path)
    cluster.hosts[3].kill()
    lost_s = until_again_s(tmp_path, again)

    for number in (1, 2, 4):
        cluster.hosts[number].kill()
    driver.communicate(timeout=30)
    kept = n_results(tmp_path)
    assert kept < N_POINTS, "the head has to die in the middle"
    began_s = time.monotonic()
    cluster.start(1, 2, 3)
    started_s = time.monotonic() - began_s
    resumed = drive(cluster.head, points, tmp_path)
    wait(lambda: n_results(tmp_path) > kept, 60, "the driver at work again")
    back_s = time.monotonic() - began_s - started_s
    said, _ = resumed.communicate(timeout=180)
    assert resumed.returncode == 0, said
    assert f"{kept} already done" in said
    assert results(tmp_path) == undisturbed and len(undisturbed) == N_POINTS
    print(f"\na host cut off: its {again} points came from another one after {cut_s:.0f} s; one killed: {lost_s:.0f} s")
    print(f"a host that joins is at work after {late_s:.0f} s, the start of Ray there included; after the head's death")
    print(f"Ray started in {started_s:.0f} s, and the same command had its next results after {back_s:.0f} s")
    print(f"results by host: {dict(at_work(tmp_path))}")
