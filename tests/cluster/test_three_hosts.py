"""A sweep over three hosts gives what one process gives, bit for bit; who is unlike, too small or unknown is turned away."""

import collections
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import servers
from tests.cluster.conftest import BIN, ROOT, Cluster, lines, results

pytestmark = [pytest.mark.slow, pytest.mark.servers]

SMALL = ["workload=prefork", "workload.regions=2", "run.replicates=2", "run.duration_s=600", "sweep.track=false"]
POINTS = [*SMALL, "policy=copy,inplace,switch", "sharing.degree=range(2,12)", "run.seed=range(1,11)"]


LONGER = ["workload=prefork", "workload.regions=64", "run.replicates=4", "run.duration_s=3600", "sweep.track=false"]
LONGER += ["policy=copy,inplace,switch", "sharing.degree=range(20,30)", "run.seed=range(1,11)"]
"""12 s of CPU in one process: enough until the last host has begun, also beside other work."""


def swept(root: Path, points: Sequence[str] = POINTS) -> list[str | Path]:
    """Give the command of a sweep."""
    return [BIN / "thpsweep", "sweep", *points, f"sweep.dir={root}"]


def test_three_hosts_give_what_one_process_gives(cluster: Cluster, tmp_path: Path) -> None:
    """300 points; each host does a part of them."""
    said = cluster.head.run(*swept(tmp_path / "cluster", LONGER), "hydra.launcher.address=auto").stdout
    alone = subprocess.run([*map(str, swept(tmp_path / "alone", LONGER)), "hydra/launcher=serial"], capture_output=True)
    assert alone.returncode == 0, alone.stderr
    everywhere = results(tmp_path / "cluster")
    assert len(everywhere) == 300
    assert everywhere == results(tmp_path / "alone")
    hosts = collections.Counter(record["host"] for record in lines(tmp_path / "cluster") if record["type"] == "result")
    assert set(hosts) == {"h1", "h2", "h3"}, said


def test_a_captured_file_needs_to_be_on_the_drivers_host_only(cluster: Cluster, tmp_path: Path) -> None:
    head, capture = cluster.head, Path("/dev/shm/mine.npz")
    sample = ROOT / "thpsweep/samples/redis_bgsave.npz"
    head.run("cp", sample, capture)  # /dev/shm is each host's own
    few = [
        "workload=captured",
        f"workload.path={capture}",
        "run.replicates=1",
        "run.duration_s=600",
        "sweep.track=false",
    ]
    points = [*few, "policy=copy,inplace,switch", "sharing.degree=range(2,52)"]  # enough until other hosts have begun
    head.run("thpsweep", "sweep", *points, f"sweep.dir={tmp_path}/cluster", "hydra.launcher.address=auto")
    head.run("thpsweep", "sweep", *points, f"sweep.dir={tmp_path}/alone", "hydra/launcher=serial")
    assert results(tmp_path / "cluster") == results(tmp_path / "alone")
    hosts = {record["host"] for record in lines(tmp_path / "cluster") if record["type"] == "result"}
    assert len(hosts) > 1 and cluster.hosts[2].run("ls", "/dev/shm").stdout.count("npz") == 0


def test_a_point_that_fits_on_no_host_is_refused_before_anything_runs(cluster: Cluster, tmp_path: Path) -> None:
    large = ["workload=prefork", "workload.regions=1024", "sharing.degree=200", "run.replicates=5000", "policy=inplace"]
    command = ["thpsweep", "sweep", *large, f"sweep.dir={tmp_path}", "sweep.track=false", "hydra.launcher.address=auto"]
    said = cluster.head.run(*command, expect=2).stdout
    assert "GiB and no machine of the cluster gives Ray more than" in said
    assert [record for record in lines(tmp_path) if record["type"] == "result"] == []


def test_a_host_with_another_thpsweep_is_given_nothing(cluster: Cluster, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "thpsweep", cluster.files / "other/thpsweep")
    with (cluster.files / "other/thpsweep/units.py").open("a") as source:
        source.write("# changed\n")
    cluster.join(4, PYTHONPATH=str(cluster.files / "other"))
    try:
        said = cluster.head.run(*swept(tmp_path), "hydra.launcher.address=auto").stdout
    finally:
        cluster.hosts.pop(4).kill()
    assert re.search(r"h4 \(10\.77\.0\.4\) cannot be used: source \w{12} there and \w{12} here", said)
    assert "h4" not in {record["host"] for record in lines(tmp_path) if record["type"] == "result"}
    assert len(results(tmp_path)) == 300


def test_a_driver_of_another_python_is_told_so_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    claim = "import ray._private.utils as ray; ray.compute_version_info = lambda: ('2.60.0', '3.99.1')"
    code = f"import sys; {claim}; from thpsweep.cli import main; main(sys.argv[1:])"
    said = cluster.head.run(
        sys.executable, "-c", code, *swept(tmp_path)[1:], "hydra.launcher.address=auto", expect=2
    ).stdout
    (line,) = [line for line in said.splitlines() if line.startswith("thpsweep:")]
    assert "on Python 3.99.1: expected the same versions" in line
    assert "Traceback" not in said


def submit(cluster: Cluster, root: Path, expect: int = 0, **variables: str) -> str:
    """Submit a small sweep from a host other than the head."""
    points = [*SMALL, "policy=copy,switch", "sharing.degree=2,3", f"sweep.dir={root}"]
    command = [
        BIN / "python",
        ROOT / "jobs/submit.py",
        "--address",
        f"http://{cluster.head.address}:8265",
        "--",
        *points,
    ]
    return cluster.hosts[2].run(*command, expect=expect, **variables).stdout


def test_a_job_is_submitted_with_the_token_and_resumed_by_submitting_it_again(cluster: Cluster, tmp_path: Path) -> None:
    said = submit(cluster, tmp_path)
    assert "submitted: thpsweep-" in said and "4 points; journal in" in said and "SUCCEEDED" in said
    assert len(results(tmp_path)) == 4
    assert "4 points, 4 already done" in submit(cluster, tmp_path)
    assert len(results(tmp_path)) == 4


@pytest.mark.parametrize("token", ["none", "wrong"])
def test_without_the_token_job_and_driver_are_turned_away(cluster: Cluster, tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    if token == "wrong":
        file.write_text("0" * 64)
    one_line = r"turned away: expected the cluster's token, in ~/\.ray/auth_token"
    said = submit(cluster, tmp_path, expect=2, RAY_AUTH_TOKEN_PATH=str(file))
    assert re.search(rf"^submit\.py: .*{one_line}", said, re.MULTILINE) and "Traceback" not in said
    command = [*swept(tmp_path), "hydra.launcher.address=auto"]
    said = cluster.hosts[2].run(*command, expect=2, RAY_AUTH_TOKEN_PATH=str(file)).stdout
    assert re.search(rf"^thpsweep: hydra\.launcher\.address='auto': {one_line}", said, re.MULTILINE)
    assert "Traceback" not in said
    assert [record for record in lines(tmp_path) if record["type"] == "result"] == []


def test_a_cluster_that_has_no_token_is_not_used_by_mistake(cluster: Cluster, tmp_path: Path) -> None:
    command = [*swept(tmp_path), "hydra.launcher.address=auto"]
    said = cluster.head.run(*command, expect=2, RAY_AUTH_MODE="disabled").stdout
    assert "RAY_AUTH_MODE='disabled': expected token; with THPSWEEP_INSECURE_RAY=1" in said


def test_a_head_that_is_not_there_is_told_within_seconds(cluster: Cluster, tmp_path: Path) -> None:
    command = [*swept(tmp_path), "hydra.launcher.address=10.77.0.99:6379"]
    said = cluster.head.run(*command, expect=2, timeout_s=60).stdout
    assert "hydra.launcher.address='10.77.0.99:6379': nobody answers there" in said


def test_ray_listens_where_the_readme_says(cluster: Cluster) -> None:
    (said,) = re.findall(r"ports `([-0-9, ]+)`", " ".join((ROOT / "jobs" / "README.md").read_text().split()))
    ranges = [[int(end) for end in part.split("-")] for part in said.replace(" ", "").split(",")]
    allowed = {port for part in ranges for port in range(part[0], part[-1] + 1)}
    for host in cluster.hosts.values():
        listening = host.run("ss", "-Hltn").stdout.splitlines()
        found = {int(line.split()[3].rpartition(":")[2]) for line in listening}
        assert {6380, 6381} <= found <= allowed, found - allowed


KNOCK = """
import sys, urllib.error, urllib.request
import grpc
host, *workers = sys.argv[1:]
calls = [(6379, "NodeInfoGcsService/GetAllNodeInfo"), (6379, "InternalKVGcsService/InternalKVGet")]
calls += [(6380, "NodeManagerService/GetNodeStats"), (6381, "ObjectManagerService/Push")]
calls += [(6382, "ReporterService/GetTraceback"), (10001, "RayletDriver/Init")]
calls += [(int(port), "CoreWorkerService/GetCoreWorkerStats") for port in workers]
for port, method in calls:
    try:
        grpc.insecure_channel(f"{host}:{port}").unary_unary(f"/ray.rpc.{method}")(b"", timeout=10)
        print(port, "answered")
    except grpc.RpcError as problem:
        print(port, problem.code().name)
job = b'{"entrypoint": "id"}'
for port, path, data in [
    (8265, "api/jobs/", None), (8265, "api/jobs/", job), (8265, "nodes?view=summary", None),
    (6385, "api/job_agent/jobs/", job), (6383, "get_or_create_runtime_env", b""),
    (6384, "metrics", None), (6386, "metrics", None), (6387, "metrics", None),
]:
    asked = urllib.request.Request(f"http://{host}:{port}/{path}", data=data, headers={"Content-Type": "application/json"})
    try:
        print(port, urllib.request.urlopen(asked, timeout=10).status)
    except urllib.error.HTTPError as problem:
        print(port, problem.code)
"""


def test_every_port_but_those_of_metrics_asks_for_the_token(cluster: Cluster) -> None:
    code = "import time, ray; ray.init('auto', log_to_driver=False); print('in', flush=True); time.sleep(600)"
    driver = cluster.head.start(BIN / "python", "-c", code)
    assert driver.stdout is not None
    while "in\n" not in (line := driver.stdout.readline()):
        assert line, "the driver could not join"
    listening = [
        int(line.split()[3].rpartition(":")[2]) for line in cluster.head.run("ss", "-Hltn").stdout.splitlines()
    ]
    of_workers = [str(port) for port in listening if 10_002 <= port < 20_000]
    assert of_workers
    said = cluster.hosts[2].run(BIN / "python", "-c", KNOCK, cluster.head.address, *of_workers).stdout
    driver.kill()
    answers = dict.fromkeys(tuple(line.split()) for line in said.splitlines())
    assert {port for port, answer in answers if answer in ("answered", "200")} == {"6384", "6386", "6387"}, said
    assert {answer for _, answer in answers} == {"UNAUTHENTICATED", "401", "200"}, said


def test_a_driver_on_one_host_records_on_an_mlflow_server_on_another(cluster: Cluster, tmp_path: Path) -> None:
    password = secrets.token_hex(8)
    host = cluster.switch_on(5)
    with servers.running(tmp_path / "server", password=password, host=host.address, wrap=host.command()) as server:
        track = ["sweep.track=true", "sweep.tracking_uri=${oc.env:TRACKING_URI}", "hydra.launcher.address=auto"]
        few = [*SMALL[:-1], "policy=copy,inplace,switch", "sharing.degree=range(2,12)", f"sweep.dir={tmp_path}/sweeps"]
        cluster.head.run("thpsweep", "sweep", *few, *track, TRACKING_URI=server.uri)
        # On a busy machine MLflow may be too slow to keep up; then this is what the sweep says that catches up.
        cluster.head.run("thpsweep", "sync", "--dir", tmp_path / "sweeps", TRACKING_URI=server.uri)
        ask = "import sys; from tests.bench.test_tracking import n_recorded; print(n_recorded(sys.argv[1]))"
        counted = cluster.hosts[3].run(BIN / "python", "-c", ask, server.uri).stdout
        assert counted.splitlines()[-1] == "30"
        assert password not in "".join(file.read_text(errors="replace") for file in (tmp_path / "sweeps").glob("*/*.*"))
    host.kill()
    assert len(results(tmp_path / "sweeps")) == 30


def test_a_machine_alone_listens_to_itself_only(cluster: Cluster) -> None:
    host = cluster.switch_on(6)
    host.run(ROOT / "jobs/local.sh", "head", "127.0.0.1", "--num-cpus=1", "--object-store-memory=100000000")
    listening = [line.split()[3].rpartition(":")[0] for line in host.run("ss", "-Hltn").stdout.splitlines()]
    host.kill()
    assert len(listening) > 5 and set(listening) <= {"127.0.0.1", "[::ffff:127.0.0.1]"}
