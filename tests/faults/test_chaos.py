"""Kill whatever a sweep consists of, again and again, from a seed: no point is lost, doubled or different.

    CHAOS_KILLS=1000 CHAOS_SEED=1 pytest -n 0 -s -m chaos tests/faults/test_chaos.py

Killed are drivers, workers, the process that holds Ray, raylets, the GCS, the process that talks to MLflow, an MLflow
server, and machines: a driver is killed and the boot id that it left behind is another one afterwards. A kill takes seconds,
with Ray the start of another Ray, which is why it stands outside CI; a Ray that runs loses some workers before it is lost
itself.
"""

import collections
import dataclasses
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.faults.conftest import MakePlace, Place
from tests.servers import MlflowServer, running
from thpsweep.sweep.ray import process
from thpsweep.sweep.ray.pool import MAX_FRUITLESS
from thpsweep.sweep.records import crash_log
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track

pytestmark = pytest.mark.chaos

LAUNCHERS = os.environ.get("CHAOS_LAUNCHERS", "serial,ray,ray,eager_auto").split(",")
KILLS, SEED = int(os.environ.get("CHAOS_KILLS", "1000")), os.environ.get("CHAOS_SEED", "1")
N_POINTS = 240
KILLS_A_SWEEP = 30
SILENT_S = 60.0
"""Nobody waits longer than this without a line on the terminal."""

OF_A_DRIVER = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

KINDS = {"driver": 1, "machine": 1, "worker": 8, "ray": 1, "raylet": 1, "gcs_server": 1, "follower": 1, "server": 1}
"""What is killed, and how often, of what there is."""

OF_RAY = ("ray", "raylet", "gcs_server")
"""Any of these is the end of the sweep's Ray."""


@dataclasses.dataclass
class Driver:
    """A driver that runs, and the longest that it said nothing."""

    process: "subprocess.Popen[str]"
    silent_s: float = 0.0
    lines: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        last_s = time.monotonic()
        for line in self.process.stderr:
            self.lines.append(line)
            self.silent_s, last_s = max(self.silent_s, time.monotonic() - last_s), time.monotonic()
        self.silent_s = max(self.silent_s, time.monotonic() - last_s)

    def end(self) -> int:
        """Wait for its end, and for what it said."""
        code = self.process.wait(300)
        self._listener.join(10)
        return code


class Chaos:
    """Run one sweep to its end, killing on the way; `killed` counts by kind."""

    def __init__(self, place: Place, launcher: str, uri: str, server: MlflowServer, dice: random.Random) -> None:
        self.place, self.launcher, self.uri, self.server, self.dice = place, launcher, uri, server, dice
        self.killed: collections.Counter[str] = collections.Counter()
        self.silent_s = 0.0
        self.n_fruitless, self.last_count = 0, -1

    def run(self, most: int) -> list[str]:
        """Give what the drivers said. The sweep has to end with exit code 0."""
        said: list[str] = []
        for _ in range(100):
            driver = Driver(self.place.start(self.launcher, "unhurried", **OF_A_DRIVER, TRACKED=self.uri))
            self._let_it_begin(driver)
            while driver.process.poll() is None and self.killed.total() < most:
                time.sleep(self.dice.uniform(0.0, 1.5))
                self._kill(driver)
            code = driver.end()
            self.silent_s = max(self.silent_s, driver.silent_s)
            said += driver.lines
            if code != -signal.SIGKILL:
                assert code == 0, "".join(driver.lines)
                return said
        raise AssertionError("it does not end")

    def _let_it_begin(self, driver: Driver) -> None:
        """Wait for a result, mostly: else nothing but drivers would die, before Ray has started."""
        known = self.place.count()
        while self.dice.random() < 0.99 and driver.process.poll() is None and self.place.count() == known:
            time.sleep(0.2)

    def _kill(self, driver: Driver) -> None:
        """Kill something that is there."""
        victims = {kind: pids for kind in KINDS if (pids := self._victims(driver, kind))}
        if driver.process.poll() is not None or not victims:
            return
        (kind,) = self.dice.choices(list(victims), [KINDS[kind] for kind in victims])
        if kind in OF_RAY and not self._may_lose_ray():
            return
        if kind == "server":
            self.server.stop()
            self.server.start()
        else:
            try:
                os.kill(self.dice.choice(victims[kind]), signal.SIGKILL)
            except ProcessLookupError:
                return
        if kind == "machine":
            driver.process.wait(60)
            self._reboot()
        self.killed[kind] += 1

    def _may_lose_ray(self) -> bool:
        """Tell whether the driver would start Ray anew: it gives up when MAX_FRUITLESS were lost without a result."""
        count = self.place.count()
        self.n_fruitless = self.n_fruitless + 1 if count == self.last_count else 1
        self.last_count = count
        return self.n_fruitless < MAX_FRUITLESS - 1  # results that were on their way still come in after a kill

    def _victims(self, driver: Driver, kind: str) -> list[int]:
        pid = driver.process.pid
        if kind in ("driver", "machine"):
            return [pid]
        if kind == "worker":
            return self.place.processes(b"ray::Worker")
        if kind == "follower":
            return [child for child in self.place.processes(b"tracking.process") if child != pid]
        if kind == "server":
            return [0] if self.uri == self.server.uri else []
        if kind == "ray":
            return [child for child, name in process.children(pid).items() if name == "thpsweep-ray"]
        return self.place.of_ray(pid, kind)

    def _reboot(self) -> None:
        """Let the crash log be of an earlier start of the machine."""
        for file in self.place.root.glob(f"*/{crash_log.FILE_NAME}"):
            text = file.read_text()
            file.write_text(text.replace(crash_log.boot_id(), "0" * len(crash_log.boot_id())))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """Run one MLflow server for all sweeps that have one."""
    with running(tmp_path_factory.mktemp("server")) as one:
        yield one


def test_nothing_is_lost_doubled_or_different(
    make_place: MakePlace, server: MlflowServer, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "MLFLOW_HTTP_REQUEST_TIMEOUT", "120"
    )  # for this process, which looks at what there is at the end
    dice = random.Random(f"chaos {SEED}")
    undisturbed = make_place("undisturbed", N_POINTS)
    undisturbed.finish("serial", "slow")
    wanted, killed, silent_s, began_s = undisturbed.results(), collections.Counter[str](), 0.0, time.monotonic()
    for number in itertools.count():
        if killed.total() >= KILLS:
            break
        place = make_place(f"sweep{number}", N_POINTS)
        launcher, uri = dice.choice(LAUNCHERS), dice.choice(["", "sqlite", server.uri])
        if uri == "sqlite":
            shutil.copy(migrated, place.root / "mlflow.db")
        chaos = Chaos(place, launcher, uri, server, dice)
        said = chaos.run(min(KILLS_A_SWEEP, KILLS - killed.total()))
        killed += chaos.killed
        silent_s = max(silent_s, chaos.silent_s)
        print(
            f"\n{time.monotonic() - began_s:.0f} s: {launcher}, {killed.total()} kills {dict(killed)}, {silent_s:.0f} s"
        )
        assert place.results() == wanted, "".join(said)
        assert chaos.silent_s < SILENT_S, "".join(said)
        assert not uri or in_mlflow(place, uri, server) == {key: 1 for key in wanted}
    print(json.dumps({"seed": SEED, "kills": killed, "longest_silence_s": round(silent_s, 1)}))


def in_mlflow(place: Place, uri: str, server: MlflowServer) -> dict[str, int]:
    """Count the runs of each point, after MLflow caught up."""
    (journal,) = place.root.glob("*/journal.jsonl")
    where = target(place.root, None if uri == "sqlite" else server.uri)
    track(journal.parent, target=where)
    client = MlflowClient(tracking_uri=where.uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "t"]
    filters = f"tags.`thpsweep.sweep` = '{sweep_of(journal)}'"
    (parent,) = client.search_runs([experiment.experiment_id], filters)
    runs = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", max_results=5000
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    return dict(collections.Counter(run.data.tags["thpsweep.point"] for run in runs))


def sweep_of(journal: Path) -> str:
    """Read a sweep's id."""
    with journal.open() as lines:
        return str(json.loads(next(lines))["sweep"])
