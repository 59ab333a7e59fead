"""A sweep over three hosts gives what one process gives, bit for bit; who is unlike, too small or unknown is turned away."""

import collections
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import BIN, Cluster, lines, results

pytestmark = pytest.mark.slow

SMALL = ["workload=prefork", "workload.regions=2", "run.replicates=2", "run.duration_s=600", "sweep.track=false"]
POINTS = [*SMALL, "policy=copy,inplace,switch", "sharing.degree=range(2,12)", "run.seed=range(1,11)"]


def swept(root: Path) -> list[str | Path]:
    """Give the command of a sweep."""
    return [BIN / "thpsweep", "sweep", *POINTS, f"sweep.dir={root}"]


def test_three_hosts_give_what_one_process_gives(cluster: Cluster, tmp_path: Path) -> None:
    """300 points; each host does a part of them."""
    said = cluster.head.run(*swept(tmp_path / "cluster"), "hydra.launcher.address=auto").stdout
    alone = subprocess.run([*map(str, swept(tmp_path / "alone")), "hydra/launcher=serial"], capture_output=True)
    assert alone.returncode == 0, alone.stderr
    everywhere = results(tmp_path / "cluster")
    assert len(everywhere) == 300
    assert everywhere == results(tmp_path / "alone")
    hosts = collections.Counter(record["host"] for record in lines(tmp_path / "cluster") if record["type"] == "result")
    assert set(hosts) == {"h1", "h2", "h3"}, said
    assert min(hosts.values()) >= 30, hosts
