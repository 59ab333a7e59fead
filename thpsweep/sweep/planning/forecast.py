"""Predict what a plan will take: wall time from what points like its own took, peak memory from the model's estimate."""

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from thpsweep.errors import ThpsweepError
from thpsweep.model.setting import estimate
from thpsweep.sweep.planning.batches import batches
from thpsweep.sweep.planning.limits import IDLE_BYTES, MLFLOW_BYTES, Room, need_bytes
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records.journal import FILE_NAME
from thpsweep.sweep.records.point import canonical
from thpsweep.sweep.records.schema import Point, Record

MAX_JOURNALS, MAX_BYTES, MAX_RESULTS = 5, 4 << 20, 500
"""What is read of other sweeps: the newest journals, of each so much from either end, and so many of its results."""

ASSUMED_S_PER_WORK, ASSUMED_SHARED = 0.15e-6, 4.0
"""Where nothing was recorded: what a unit of work takes of many replicates at once, and how many times that each run takes
on top, which those that run at once share. Of 14 points of six workloads with their usual replicates the median is that of
the former, of 30 small ones with a single one 0.8e-6, and 0.3e-6 where many of them run side by side, on one core of a Zen
5. Single points lay from a fifth to eight times of it; another machine may be a few times slower."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who will simulate: how many processes (None: as many as a cluster has), and what they take before they do.

    may_stay: the driver does it alone where that is faster. A process that simulates nothing yet was measured at 100 to
    150 MiB.
    """

    name: str
    processes: int | None
    start_s: float = 0.0
    process_bytes: int = 150 << 20
    overhead_bytes: int = 0
    may_stay: bool = False


ALONE = Workers("one process", 1)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What is still to do takes so long in one process and in all of them, and so much memory on the way.

    `workers` are those who will do it: the driver alone where they may leave it to it, and that is faster.
    """

    busy_s: float
    wall_s: float
    peak_bytes: int
    source: str
    workers: Workers


def forecast(plan: Plan, done: set[str], workers: Workers, usable_bytes: int | None = None) -> Forecast:
    """Predict what the points that are not done yet will take, but for those that there is no memory for.

    Where memory is short, fewer processes run: `usable_bytes` is what there is for points (None: of this machine; it is not
    known of a cluster).
    """
    if plan.tracked and not workers.overhead_bytes:
        workers = dataclasses.replace(workers, overhead_bytes=MLFLOW_BYTES)
    if usable_bytes is None:
        is_known = workers.processes is not None
        usable_bytes = Room.beside(max(workers.overhead_bytes, MLFLOW_BYTES)).usable_bytes if is_known else sys.maxsize
    left = [(point.id, point.checked) for point in plan.points if point.id not in done]
    left = [(key, point) for key, point in left if need_bytes(point) <= usable_bytes]
    costs = Costs(plan.root)
    batch_sizes = {key: len(batch) for batch in batches(left) for key, _ in batch}
    taken_s = [costs.seconds(point["point"], point["work"], batch_sizes[key]) for key, point in left]
    needs = [workers.process_bytes + need_bytes(point) - IDLE_BYTES for _, point in left]
    if workers.may_stay and sum(taken_s) <= _wall_s(taken_s, needs, workers, usable_bytes):
        workers = dataclasses.replace(ALONE, overhead_bytes=MLFLOW_BYTES if plan.tracked else 0)
    return Forecast(
        busy_s=sum(taken_s),
        wall_s=_wall_s(taken_s, needs, workers, usable_bytes),
        peak_bytes=workers.overhead_bytes + _peak_bytes(needs, workers, usable_bytes),
        source=costs.source,
        workers=workers,
    )


def _wall_s(taken_s: Sequence[float], needs: Sequence[int], workers: Workers, usable_bytes: int) -> float:
    """Predict how long points take, as many side by side as there are processes and memory for; none take no time."""
    if not taken_s:
        return 0.0
    processes = min(workers.processes or 1, len(taken_s))
    at_once = [max(min(processes, usable_bytes // need), 1) for need in needs]
    shared_s = sum(taken / n for taken, n in zip(taken_s, at_once, strict=True))
    return workers.start_s + max(shared_s, max(taken_s))


def _peak_bytes(needs: Sequence[int], workers: Workers, usable_bytes: int) -> int:
    """Add up the largest points that are there at once."""
    total = 0
    for need in sorted(needs, reverse=True)[: workers.processes or 1]:
        total += need if not total or total + need <= usable_bytes else 0
    return total


class Costs:
    """Seconds a unit of work took, of the newest sweeps below a folder: by mechanism and workload, and in all.

    What points took side by side says nothing of what one takes alone.
    """

    def __init__(self, root: Path) -> None:
        self._of: dict[tuple[str, ...], tuple[float, float]] = {}
        self._n_results = self._n_journals = 0
        for file in _newest(root):
            before = self._n_results
            for point, result in _results(file):
                self._learn(point, float(result["wall_s"]), result.get("batch_size", 1))
            self._n_journals += self._n_results > before

    @property
    def source(self) -> str:
        """Say what the prediction rests on."""
        if not self._n_results:
            us = f"{ASSUMED_S_PER_WORK * 1e6:g} us"
            return (
                f"no results yet to learn from: {us} a unit of work assumed, more for few replicates, maybe 4 times off"
            )
        return f"learnt from {self._n_results} results in {self._n_journals} journals"

    def seconds(self, point: Point, work: float, batch_size: int = 1) -> float:
        """Predict one point, of so many that run side by side, from those most like it."""
        for kind in _kinds(point, batch_size):
            if kind in self._of:
                wall_s, known_work = self._of[kind]
                return work * wall_s / known_work
        shared = batch_size * int(point["run"]["replicates"])
        return work * ASSUMED_S_PER_WORK * (1 + ASSUMED_SHARED / shared)

    def _learn(self, point: Point, wall_s: float, batch_size: int) -> None:
        try:
            work = max(_work(canonical({**point, "run": {**point["run"], "seed": 0}})), 1.0)
        except (ThpsweepError, KeyError, TypeError):  # of a member or a version that is not here
            return
        self._n_results += 1
        for kind in _kinds(point, batch_size):
            known_s, known_work = self._of.get(kind, (0.0, 0.0))
            self._of[kind] = known_s + wall_s, known_work + work


@functools.lru_cache(maxsize=4096)
def _work(point_json: str) -> float:
    """Estimate a recorded point; those that differ in their seeds only are built once."""
    return estimate(json.loads(point_json))["work"]


def _kinds(point: Point, batch_size: int) -> list[tuple[str, ...]]:
    """Name what a point is like, the closest likeness first."""
    how, mechanism, workload = _how(batch_size), point["policy"]["mechanism"]["kind"], point["workload"]["kind"]
    return [(how, mechanism, workload), (how, mechanism), (how,)]


def _how(batch_size: int) -> str:
    return "together" if batch_size > 1 else "alone"


def _newest(root: Path) -> list[Path]:
    files = [(file.stat().st_mtime, file) for file in root.glob(f"*/{FILE_NAME}")] if root.is_dir() else []
    return [file for _, file in sorted(files, reverse=True)[:MAX_JOURNALS]]


def _results(file: Path) -> list[tuple[Point, Record]]:
    """Give the newest results of a journal whose points are near its beginning."""
    head, tail = _ends(file)
    points = {record["id"]: record["point"] for record in _records(head) if record["type"] == "point"}
    newest = [r for r in _records(tail) if r["type"] == "result" and r["state"] == "done" and r["id"] in points]
    return [(points[record["id"]], record) for record in newest[-MAX_RESULTS:]]


def _ends(file: Path) -> tuple[bytes, bytes]:
    with file.open("rb") as content:
        head = content.read(MAX_BYTES)
        content.seek(max(0, file.stat().st_size - MAX_BYTES))
        return head, content.read(MAX_BYTES)


def _records(content: bytes) -> Iterator[Record]:
    """Read whole lines; what is cut off at either end, torn or of another make teaches nothing."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and record.get("type") in ("point", "result"):
                yield record
