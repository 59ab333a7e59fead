"""jobs/slurm.sbatch on three hosts, with Slurm played by this test: what `srun` is told runs on each host, as Slurm would.

Ray's own `symmetric-run` is real, and so are the hosts; that Slurm understands its options is not tested.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.conftest import BIN, ROOT, STORE_BYTES, Cluster, n_results, results
from tests.cluster.hosts import Host, wait

pytestmark = [pytest.mark.slow, pytest.mark.servers]

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
[ "$1" != hostname ] || { echo 10.77.0.1; exit; }
env -0 >"$SPOOL/env"; printf '%s\\0' "$@" "--object-store-memory=STORE" >"$SPOOL/part"; mv "$SPOOL/part" "$SPOOL/command"
trap 'exit 143' TERM
until [ -f "$SPOOL/code" ]; do sleep 0.1; done
cat "$SPOOL/said"; code=$(cat "$SPOOL/code"); rm "$SPOOL/code"; exit "$code"
"""
SCONTROL = """#!/bin/bash
[ "$1" != show ] || printf '%s\\n' h1 h2 h3
[ "$1" != requeue ] || echo "$2" >>"$SPOOL/requeued"
"""
POINTS = ["workload=prefork", "workload.regions=64", "run.replicates=8", "policy=copy,inplace", "sharing.degree=48"]


class Slurm:
    """Three hosts, and a thread that does on each of them what the job's `srun` says."""

    def __init__(self, cluster: Cluster) -> None:
        self.spool = cluster.files / "spool"
        tools = self.spool / "bin"
        tools.mkdir(parents=True)
        for name, text in (("srun", SRUN.replace("STORE", str(STORE_BYTES))), ("scontrol", SCONTROL)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self._switch_on, self.hosts = cluster.switch_on, list[Host]()
        self._path = f"{tools}:{BIN}:{os.environ['PATH']}"

    def sbatch(self, *arguments: str) -> tuple[int, str]:
        """Run the job to its end; give its exit code and what it said."""
        for file in self.spool.glob("[a-z]*"):
            file.unlink() if file.is_file() and file.name != "requeued" else None
        self.hosts = [self._switch_on(number) for number in (1, 2, 3)]
        told = {
            "SLURM_JOB_NODELIST": "h[1-3]",
            "SLURM_JOB_ID": "42",
            "SLURM_JOB_NUM_NODES": "3",
            "SLURM_CPUS_ON_NODE": "1",
        }
        node = threading.Thread(target=self._nodes, daemon=True)
        node.start()
        command = f'echo $$ >{self.spool}/pid; exec bash {ROOT}/jobs/slurm.sbatch "$@"'
        job = self.hosts[0].start(
            "bash", "-c", command, "sbatch", *arguments, PATH=self._path, SPOOL=str(self.spool), **told
        )
        said, _ = job.communicate(timeout=240)
        node.join(timeout=30)
        for host in self.hosts:
            host.kill()
        return job.returncode, said

    def preempt(self) -> None:
        """Tell the job's script what Slurm tells it before it takes the nodes away."""
        self.hosts[0].run("kill", "-TERM", (self.spool / "pid").read_text().strip())

    def _nodes(self) -> None:
        wait(lambda: (self.spool / "command").exists(), 60, "srun")
        words = (self.spool / "command").read_text().split("\0")[:-1]
        where = words.index("--")
        words = [*words[:where], words[-1], *words[where:-1]]  # less memory for the store than Ray would take
        pairs = [line.partition("=") for line in (self.spool / "env").read_text().split("\0")[:-1]]
        variables = {key: value for key, _, value in pairs if not key.startswith("BASH_FUNC")}
        first, *_ = [host.start(*words, **variables) for host in self.hosts]
        said, _ = first.communicate()
        (self.spool / "said").write_text(said)
        (self.spool / "code").write_text(str(first.returncode))


def test_a_job_that_is_preempted_queues_itself_again_and_goes_on(
    make_cluster: Callable[[], Cluster], tmp_path: Path
) -> None:
    slurm = Slurm(make_cluster())
    sweep = [*POINTS, "run.seed=range(1,21)", f"sweep.dir={tmp_path}", "sweep.track=false"]
    ended: list[tuple[int, str]] = []
    job = threading.Thread(target=lambda: ended.append(slurm.sbatch(*sweep)))
    job.start()
    wait(lambda: n_results(tmp_path) >= 5, 150, "points of the first job")
    slurm.preempt()
    began_s = time.monotonic()
    job.join(timeout=120)
    ((code, said),) = ended
    assert code == 0 and "draining" in said, said
    assert (slurm.spool / "requeued").read_text() == "42\n"
    kept = n_results(tmp_path)
    assert 5 <= kept < 40
    print(
        f"\npreempted: the job was ready to be queued again {time.monotonic() - began_s:.0f} s later, {kept} points done"
    )
    code, said = slurm.sbatch(*sweep)
    assert code == 0 and f"40 points, {kept} already done" in said, said
    assert len(results(tmp_path)) == 40
