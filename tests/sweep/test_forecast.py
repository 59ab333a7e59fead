"""A prediction rests on what points like these took; what is read for it is bounded; journals of others do no harm."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from thpsweep.model.setting import estimate
from thpsweep.sweep.planning import forecast as module
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.planning.forecast import (
    ALONE,
    ASSUMED_S_PER_WORK,
    ASSUMED_SHARED,
    MLFLOW_BYTES,
    Costs,
    Workers,
    forecast,
)
from thpsweep.sweep.planning.limits import IDLE_BYTES, need_bytes
from thpsweep.sweep.planning.plan import Plan
from thpsweep.sweep.records.point import Point

MiB = 1 << 20
TWO = Workers("two", 2, start_s=5.0, process_bytes=100 * MiB, overhead_bytes=300 * MiB)


def record(
    folder: Path, *results: tuple[Point, float], broken: str = "", batch_size: Sequence[int] | None = None
) -> Path:
    """Write a journal by hand."""
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = [{"type": "sweep"}]
    for number, (point, _) in enumerate(results):
        lines.append({"type": "point", "id": str(number), "point": point})
    for number, (_, wall_s) in enumerate(results):
        lines.append({"type": "result", "id": str(number), "state": "done", "wall_s": wall_s})
        lines[-1] |= {"batch_size": batch_size[number]} if batch_size else {}
    file = folder / "journal.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + broken)
    return file


def work(point: Point) -> float:
    return estimate(point)["work"]


def assumed_s(point: Point, batch_size: int = 1) -> float:
    """Give what is assumed for a point of so many side by side."""
    return work(point) * ASSUMED_S_PER_WORK * (1 + ASSUMED_SHARED / (batch_size * point["run"]["replicates"]))


def test_without_results_it_says_what_it_assumes(tmp_path: Path, make_point: Callable[..., Point]) -> None:
    costs, point = Costs(tmp_path / "nowhere"), make_point()
    for batch_size in (1, 32):
        assert costs.seconds(point, work(point), batch_size) == pytest.approx(assumed_s(point, batch_size))
    assert assumed_s(point, 1) > 2 * assumed_s(point, 32)
    assert "assumed" in costs.source


def test_the_closest_likeness_counts(tmp_path: Path, make_point: Callable[..., Point]) -> None:
    copy, inplace = make_point("policy=copy"), make_point("policy=inplace")
    record(tmp_path / "a", (copy, 3.0), (inplace, 9.0))
    costs = Costs(tmp_path)
    assert costs.seconds(copy, work(copy)) == pytest.approx(3.0)
    assert costs.seconds(inplace, 2 * work(inplace)) == pytest.approx(18.0)
    zygote = make_point("policy=copy", "workload=zygote")
    assert costs.seconds(zygote, 100.0) == pytest.approx(3.0 / work(copy) * 100)
    other = make_point("policy=switch")
    assert costs.seconds(other, 100.0) == pytest.approx(12.0 / (work(copy) + work(inplace)) * 100)
    assert "2 results in 1 journals" in costs.source


def test_time_and_memory_of_what_is_left(
    tmp_path: Path, degrees: Callable[..., list[tuple[str, Point]]], make_plan: Callable[[Sequence[Any]], Plan]
) -> None:
    tasks = degrees(2, 4, 8)
    plan = make_plan(tasks)
    done = {plan.points[0].id}
    predicted = forecast(plan, done, TWO)
    left = [task["point"] for _, task in tasks[1:]]
    taken = [assumed_s(point) for point in left]
    assert predicted.busy_s == pytest.approx(sum(taken))
    assert predicted.wall_s == pytest.approx(5.0 + max(sum(taken) / 2, max(taken)))
    state = sum(estimate(point)["state_bytes"] * point["run"]["replicates"] for point in left)
    assert predicted.peak_bytes == pytest.approx((300 + 2 * 100) * MiB + state, abs=2)


def test_what_ran_side_by_side_says_nothing_of_what_runs_alone(
    tmp_path: Path, make_point: Callable[..., Point], make_plan: Callable[[Sequence[Any]], Plan]
) -> None:
    seeds = [make_point(f"run.seed={seed}") for seed in range(4)]
    record(tmp_path / "a", (seeds[0], 7.0), *((point, 0.5) for point in seeds), batch_size=[1, 4, 4, 4, 4])
    costs = Costs(tmp_path)
    assert costs.seconds(seeds[1], work(seeds[1])) == pytest.approx(7.0)
    assert costs.seconds(seeds[1], work(seeds[1]), batch_size=3) == pytest.approx(0.5)
    plan = make_plan([("", check(point)) for point in seeds])
    predicted = [forecast(plan, {point.id for point in plan.points[n:]}, TWO).busy_s for n in (1, 4)]
    assert predicted == pytest.approx([7.0, 2.0])


def test_nothing_left_takes_nothing(
    degrees: Callable[..., list[tuple[str, Point]]], make_plan: Callable[[Sequence[Any]], Plan]
) -> None:
    plan = make_plan(degrees(2))
    predicted = forecast(plan, {plan.points[0].id}, TWO)
    assert (predicted.busy_s, predicted.wall_s) == (0, 0)


def test_journals_that_cannot_be_used_teach_nothing(tmp_path: Path, make_point: Callable[..., Point]) -> None:
    point = make_point()
    unknown = {**point, "workload": {"kind": "of a plugin that is not here"}}
    record(
        tmp_path / "a", (point, 1.0), (unknown, 99.0), ({"another": "version"}, 99.0), broken='{"type": "result", "id"'
    )
    costs = Costs(tmp_path)
    assert "1 results" in costs.source and costs.seconds(point, work(point)) == pytest.approx(1.0)


def test_only_the_newest_journals_and_results_are_read(
    tmp_path: Path, make_point: Callable[..., Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_JOURNALS", 2)
    monkeypatch.setattr(module, "MAX_RESULTS", 3)
    point = make_point()
    for age in range(4):
        file = record(tmp_path / str(age), *[(point, 100.0 * age + n) for n in range(5)])
        os.utime(file, (1e9 - age, 1e9 - age))
    costs = Costs(tmp_path)
    assert "6 results in 2 journals" in costs.source
    assert costs.seconds(point, work(point)) == pytest.approx((2 + 3 + 4 + 102 + 103 + 104) / 6)


def test_a_long_journal_is_read_at_its_ends(
    tmp_path: Path, make_point: Callable[..., Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = make_point()
    file = record(tmp_path / "a", *[(point, float(n)) for n in range(50)])
    monkeypatch.setattr(module, "MAX_BYTES", file.stat().st_size // 3)
    n_results = int(Costs(tmp_path).source.split()[2])
    assert 0 < n_results < 50


def test_who_may_stay_in_the_driver_pays_for_no_start(
    tmp_path: Path, degrees: Callable[..., list[tuple[str, Point]]], make_plan: Callable[[Sequence[Any]], Plan]
) -> None:
    plan = make_plan(degrees(2, 4))
    alone = forecast(plan, set(), dataclasses.replace(TWO, may_stay=True))
    there = forecast(plan, set(), TWO)
    assert alone.wall_s == alone.busy_s < there.wall_s and alone.workers.processes == 1
    assert alone.peak_bytes < there.peak_bytes - 300 * MiB + 100 * MiB


def test_where_memory_is_short_fewer_run_at_once_and_what_fits_nowhere_takes_no_time(
    degrees: Callable[..., list[tuple[str, Point]]], make_plan: Callable[[Sequence[Any]], Plan]
) -> None:
    plan = make_plan(degrees(2, 4, 8, 16))
    needs = [need_bytes(point.checked) for point in plan.points]
    room = {
        n: forecast(plan, set(), dataclasses.replace(TWO, process_bytes=IDLE_BYTES), n * max(needs)) for n in (2, 1)
    }
    assert room[2].busy_s == room[1].busy_s
    assert room[2].wall_s == pytest.approx(5.0 + room[2].busy_s / 2) and room[1].wall_s == pytest.approx(
        5.0 + room[1].busy_s
    )
    assert room[2].peak_bytes == 300 * MiB + sum(sorted(needs)[-2:]) and room[1].peak_bytes == 300 * MiB + max(needs)
    assert 0 < forecast(plan, set(), TWO, max(needs) - 1).busy_s < room[1].busy_s
    assert forecast(plan, set(), TWO, 1).busy_s == 0


def test_mlflow_takes_memory_where_nobody_has_counted_it(
    degrees: Callable[..., list[tuple[str, Point]]], make_plan: Callable[[Sequence[Any]], Plan]
) -> None:
    plan = make_plan(degrees(2))
    tracked = dataclasses.replace(plan, tracked=True)
    for workers, more in ((ALONE, MLFLOW_BYTES), (TWO, 0)):
        peaks = [forecast(one, set(), workers).peak_bytes for one in (tracked, plan)]
        assert peaks[0] - peaks[1] == more
