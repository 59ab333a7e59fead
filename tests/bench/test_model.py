"""How fast the model is, in passes: one pass = np.copyto of three uint64 arrays of (n_regions, n_sharers, 8).

Run with `python -m pytest -m bench -s tests/bench`. Both sides are measured in one process; medians of several runs, in CPU
time, so that what else runs on the machine takes no part in it beyond the caches.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.model.points import point
from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.probes.collapsing import shmem
from thpsweep.linux.live.bench import Bench
from thpsweep.model import registry
from thpsweep.model.capture.start import populate
from thpsweep.model.mechanisms.base import NOBODY
from thpsweep.model.mechanisms.visit import ScanLimits, Visit
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.links import grow_older
from thpsweep.model.setting import setting
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family

pytestmark = pytest.mark.bench


def pass_ns(n_regions: int, n_sharers: int) -> float:
    """Time one pass: median of nine."""
    boards = [
        (np.ones((n_regions, n_sharers, 8), np.uint64), np.zeros((n_regions, n_sharers, 8), np.uint64)) for _ in "abc"
    ]

    def copy() -> None:
        for source, target in boards:
            np.copyto(target, source)

    return median_ns(copy, 9)


def median_ns(work: Callable[[], object], times: int) -> float:
    """Time a call: median of the CPU time after one warm-up."""
    work()
    took = []
    for _ in range(times):
        begin = time.process_time_ns()
        work()
        took.append(time.process_time_ns() - begin)
    return float(np.median(took))


def family_of(n_regions: int, n_sharers: int, share: float) -> Family:
    """Make a fully mapped family in which a share of all words has one private page."""
    workload = registry.build("workload", point(regions=n_regions)["workload"])
    family = Family(1, n_regions, n_sharers)
    populate(family, workload.start(n_sharers))
    rng = np.random.default_rng(1)
    words = np.flatnonzero(rng.random(n_regions * n_sharers * 8) < share)
    write(family, Counts(1), words * 64 + rng.integers(0, 64, words.size))
    return family


def live_ns_per_pte() -> float:
    """Let this machine's kernel collapse shmem that 1, 4 and 16 processes map by ptes: ns for each pte of each sharer."""
    try:
        with Bench(patience_s=60.0) as bench:
            return float(np.median([shmem(bench)["shmem_pte"] for _ in range(3)]))
    except LiveError as problem:
        print(f"\nno live kernel to compare with: {problem}")
        return float("nan")


LINGERING = {"incremental": {"ptes_per_slice": 512}, "deferred": {"deadline_s": 1e-9}}
"""Mechanisms that go on after the attempt, and options with which their next step ends it."""

MECHANISMS = [(name, {"inplace": 3, "inplace_pmd": 4}.get(name, 8)) for name in registry.options("mechanism")]


@pytest.mark.parametrize(("mechanism", "bar"), [each for each in MECHANISMS if each[0] != "none"])
def test_one_shot_collapse(mechanism: str, bar: float) -> None:
    n_regions, n_sharers = 1000, 200
    unit = pass_ns(n_regions, n_sharers)
    made = registry.build("mechanism", {"kind": mechanism, **LINGERING.get(mechanism, {})})
    took, all_of_it = [], []
    for _ in range(7):
        family, counts = family_of(n_regions, n_sharers, 0.05), Counts(1)
        rows, races = family.rows_of(0, 0), np.full(n_regions, NOBODY)
        races[::50] = 100  # twenty regions are pinned in the middle
        begin = time.process_time_ns()
        made.attempt(Visit(family, counts, rows, races, ScanLimits()))
        took.append(time.process_time_ns() - begin)
        if mechanism in LINGERING and len(all_of_it) < 3:
            grow_older(family)
            made.step(family, counts, 0, 1e9, lambda rows: np.zeros(rows.size, bool))
            assert not family.layers.link.any()
            all_of_it.append(time.process_time_ns() - begin)
    ns = float(np.median(took))
    ptes = n_regions * n_sharers * 512
    live_ns = live_ns_per_pte() if mechanism == "inplace" else float("nan")
    against = f"; {live_ns * ptes / ns:,.0f} times as fast as this kernel's {live_ns:.0f} ns a pte of shmem (bar 3,000)"
    if all_of_it:
        against = f"; until every sharer is switched, all in one tick: {np.median(all_of_it) / unit:.1f} passes"
    told = against if live_ns == live_ns or all_of_it else ""
    print(f"\n{mechanism}: {ns / 1e6:.1f} ms = {ns / unit:.2f} passes (bar {bar}){told}")


@pytest.mark.parametrize(("share", "bar"), [(0.0001, 1), (0.01, 2), (0.15, 4)])
def test_mean_tick_of_an_hour(share: float, bar: float) -> None:
    _hour(f"{share:.2%} of pages written in the hour", bar, root_cold=0.0, worker_cold=share, life_s=0.0)


def test_mean_tick_with_short_lives() -> None:
    _hour("workers live 10 minutes", 10, root_cold=0.0, worker_cold=0.01, life_s=600.0)


def _hour(title: str, bar: float, *, root_cold: float, worker_cold: float, life_s: float) -> None:
    from thpsweep.model.simulate import _run

    n_regions, n_sharers = 512, 200
    unit = pass_ns(n_regions, n_sharers)
    one = point(
        "inplace",
        n_sharers,
        trigger={"kind": "khugepaged"},
        run={"replicates": 1, "duration_s": 3600.0, "tick_s": 10.0},
        regions=n_regions,
        hot_regions=0.0,
        root_cold_writes_per_page_hour=root_cold,
        worker_cold_writes_per_page_hour=worker_cold,
        worker_life_s=life_s,
    )
    ns = median_ns(lambda: _run(setting(one)), 3) / 360
    print(f"\n1 GiB x 200, {title}: mean tick {ns / 1e6:.2f} ms = {ns / unit:.2f} passes, drawing included (bar {bar})")


def sparse(gib: int, degree: int, rows_share: float, bar_gib: float | None = None) -> float:
    """Run and print an hour of a sparse family in a process of its own; give its CPU time in s."""
    code = f"""
import json, resource, time
from tests.bench.test_model import sparse_hour
begin = time.process_time(); rows = sparse_hour({gib}, {degree}, {rows_share})
print(json.dumps([rows, time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    rows, took_s, peak_gib = json.loads(ran.stdout)
    bar = "" if bar_gib is None else f" (bar {bar_gib:g})"
    print(
        f"\n{gib} GiB x {degree}, {rows_share:.0%} of rows = {rows:,} written: {took_s:.1f} s, {peak_gib:.2f} GiB{bar}"
    )
    return float(took_s)


def test_sparse_families() -> None:
    """Time and peak memory follow the rows that are ever written, not all rows."""
    few = sparse(64, 100, 0.1)
    once = sparse(64, 1000, 0.01, bar_gib=1)
    ten_times = sparse(64, 1000, 0.1)
    print(f"\nten times the rows written: {ten_times / once:.1f} times the time (bar 20)")
    print(f"ten times the sharers at equal rows written: {once / few:.2f} times the time (bar 1.5)")


def test_sparse_tebibyte() -> None:
    sparse(1024, 1000, 0.01, bar_gib=8)


def sparse_hour(gib: int, degree: int, rows_share: float) -> int:
    """Run a simulated hour of a family of which a share of the rows is ever written; give how many were."""
    from thpsweep.model.simulate import _run

    one = point(
        "inplace",
        degree,
        trigger={"kind": "khugepaged"},
        run={"replicates": 1, "duration_s": 3600.0, "tick_s": 10.0},
        regions=gib * 512,
        hot_regions=0.0,
        worker_cold_writes_per_page_hour=rows_share / 512,
    )
    run, _ = _run(setting(one))
    return int(np.count_nonzero(run.family.records.rows[run.family.records.live()] == 1))


def test_batch_of_replicates() -> None:
    from thpsweep.model.simulate import _run

    def hour(replicates: int, seed: int) -> Counts:
        run, _ = _run(
            setting(
                point(
                    "inplace",
                    32,
                    trigger={"kind": "khugepaged"},
                    run={"replicates": replicates, "duration_s": 3600.0, "tick_s": 10.0, "seed": seed},
                    regions=16,
                )
            )
        )
        return run.counts

    many, one = hour(3, 1).total, hour(1, 1).total
    assert all(many[name][0] == one[name][0] for name in one), "the batch's first replicate is the single one"
    alone = median_ns(lambda: [hour(1, seed) for seed in range(4)], 3) / 4
    batch = median_ns(lambda: hour(32, 1), 3) / 32
    print(
        f"\n16 x 32, a replicate: alone {alone / 1e6:.1f} ms, of 32 {batch / 1e6:.2f} ms: x {alone / batch:.1f} (bar 10)"
    )
