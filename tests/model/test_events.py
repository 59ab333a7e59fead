"""Writes of a scene follow the laws that they are drawn from, over lives and forks: against closed forms."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.model.laws import near
from tests.model.points import option
from thpsweep.model import registry
from thpsweep.model.bits import Ints
from thpsweep.model.events import draw
from thpsweep.model.events.rates import Law
from thpsweep.model.events.scene import Scene

KEY = "0123456789abcdef"


def scene(n_sharers: int = 5, n_regions: int = 8, n_ticks: int = 60, tick_s: float = 60.0, **changed: Any) -> Scene:
    """Make a scene in which nothing is written but what is asked for."""
    quiet = {"hot_regions": 0.0, "worker_hot_writes_per_page_hour": 0.0, "regions": n_regions}
    workload = registry.build("workload", {**option("workload", "prefork"), **quiet, **changed})
    return Scene(workload, n_regions, n_sharers, n_ticks, tick_s)


def drawn(one: Scene, seed: int = 1) -> list[draw.Tick]:
    return list(draw.ticks(one, seed, KEY, 0))


def writes(ticks: list[draw.Tick]) -> tuple[Ints, Ints]:
    """Give the keys of all writes and their ticks."""
    when = np.repeat(np.arange(len(ticks)), [tick.writes.size for tick in ticks])
    return np.concatenate([tick.writes for tick in ticks]), when


def first_writes(ticks: list[draw.Tick]) -> tuple[Ints, Ints]:
    """Give each written key once, with the tick of its first write."""
    keys, when = writes(ticks)
    found, index = np.unique(keys, return_index=True)
    return found, when[index]


# ---- writes of a scene -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_hour", [0.001, 0.1, 1.0, 5.0])
def test_share_of_pages_written_in_the_run(per_hour: float) -> None:
    one = scene(n_regions=32, worker_cold_writes_per_page_hour=per_hour)
    keys, _ = first_writes(drawn(one))
    assert near(keys.size, np.full(4 * 32 * 512, -math.expm1(-per_hour)))


@pytest.mark.parametrize("per_hour", [0.3, 4.0])
def test_time_of_the_first_write(per_hour: float) -> None:
    one = scene(n_regions=32, worker_cold_writes_per_page_hour=per_hour)
    keys, when = first_writes(drawn(one))
    chances = -np.diff(np.exp(-per_hour * np.arange(one.n_ticks + 1) / one.n_ticks))
    expected = keys.size * chances / chances.sum()
    assert stats.chisquare(np.bincount(when, minlength=one.n_ticks), expected).pvalue > 1e-5


@pytest.mark.parametrize("window", [1, 7, 60])
def test_windows_do_not_change_the_law(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "window_ticks", lambda _: window)
    one = scene(worker_cold_writes_per_page_hour=2.0, write_zipf_exponent=0.8)
    keys, _ = first_writes(drawn(one))
    assert near(keys.size, np.tile(-np.expm1(-Law(8 * 512, 2.0, 0.8).rates(0, 8 * 512)), 4))


@pytest.mark.parametrize("per_hour", [0.01, 1.0, 50.0])
def test_a_window_holds_no_more_than_it_may(per_hour: float) -> None:
    one = scene(n_sharers=500, n_regions=1000, n_ticks=360, worker_cold_writes_per_page_hour=per_hour)
    window = draw.window_ticks(one)
    assert 1 <= window <= 360
    assert window == 1 or draw.expected_writes(one, window) <= draw.MOST_WRITES


def test_a_window_is_longer_only_where_that_spares_draws() -> None:
    sizes = {"n_sharers": 200, "n_regions": 512, "n_ticks": 360, "tick_s": 10.0}
    rare = scene(**sizes, worker_cold_writes_per_page_hour=0.15)
    often = scene(**sizes, worker_hot_writes_per_page_hour=6.0, hot_regions=0.125)
    assert draw.expected_writes(rare, draw.window_ticks(rare)) <= draw.WINDOW_WRITES
    assert draw.window_ticks(often) == 360


def test_classes_of_pages_and_writers_are_kept_apart() -> None:
    names = [f"{who}_{what}_writes_per_page_hour" for who in ("root", "worker") for what in ("hot", "cold")]
    for number, name in enumerate(names):
        keys, _ = writes(drawn(scene(n_sharers=3, n_regions=4, hot_regions=0.25, **{name: 3.0})))
        row = keys // 512
        assert set(row % 3) == ({0} if number < 2 else {1, 2})
        assert set(row // 3) == ({0} if number % 2 == 0 else {1, 2, 3})


def test_writes_are_ascending_and_distinct_in_a_tick() -> None:
    one = scene(worker_cold_writes_per_page_hour=400.0, worker_life_s=300.0, burst_pages_share=0.5, burst_s=100.0)
    for tick in drawn(one):
        assert (np.diff(tick.writes) > 0).all()
        assert tick.writes.size == 0 or (tick.writes[0] >= 0 and tick.writes[-1] < 8 * 5 * 512)


def test_one_kind_of_event_moves_no_other() -> None:
    plain = {"worker_cold_writes_per_page_hour": 1.0, "worker_life_s": 900.0}
    alone, beside = (
        drawn(scene(**plain, **more)) for more in ({}, {"root_cold_writes_per_page_hour": 2.0, "hot_regions": 0.0})
    )
    for one, other in zip(alone, beside, strict=True):
        assert np.array_equal(one.forks, other.forks) and np.array_equal(one.exits, other.exits)
        assert np.array_equal(one.writes, other.writes[other.writes // 512 % 5 != 0])


# ---- lives and writes together -----------------------------------------------------------------------------------------


def test_after_a_fork_a_worker_writes_its_pages_again() -> None:
    """Each life of length t writes a share 1 - exp(-r t) of the pages, whatever was written in the one before."""
    one = scene(n_sharers=9, n_regions=4, worker_cold_writes_per_page_hour=6.0, worker_life_s=1200.0)
    ticks = drawn(one)
    life = np.zeros(9, np.int64)
    length: dict[tuple[int, int], int] = {}
    pages: dict[tuple[int, int], set[int]] = {}
    for tick in ticks:
        life[tick.forks] += 1
        for sharer in range(1, 9):
            length[sharer, life[sharer]] = length.get((sharer, life[sharer]), 0) + 1
            mine = tick.writes[tick.writes // 512 % 9 == sharer]
            pages.setdefault((sharer, life[sharer]), set()).update(mine.tolist())
    chances = np.concatenate([np.full(4 * 512, -math.expm1(-6.0 * n / 60)) for n in length.values()])
    assert len(length) > 16 and near(sum(map(len, pages.values())), chances)


def test_after_a_fork_the_root_writes_its_pages_again() -> None:
    one = scene(
        n_sharers=3, n_regions=16, root_cold_writes_per_page_hour=12.0, worker_life_s=600.0, worker_life_law="together"
    )
    ticks = drawn(one)
    forks = [number for number, tick in enumerate(ticks) if tick.forks.size]
    assert forks == list(range(10, 60, 10))
    for begin in [0, *forks]:
        keys, _ = first_writes(ticks[begin : begin + 10])
        assert near(keys.size, np.full(16 * 512, -math.expm1(-12.0 / 6)))


@pytest.mark.parametrize("burst_s", [0.0, 30.0, 120.0, 300.0])
@pytest.mark.parametrize("window", [1, 7, 60])
def test_burst_writes_its_share_of_the_pages(burst_s: float, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "window_ticks", lambda _: window)
    one = scene(
        n_sharers=3,
        n_regions=16,
        burst_pages_share=0.3,
        burst_s=burst_s,
        worker_life_s=600.0,
        worker_life_law="together",
    )
    ticks, n_long = drawn(one), max(1, math.ceil(burst_s / 60))
    for begin in range(0, 60, 10):
        keys, when = first_writes(ticks[begin : begin + 10])
        assert near(keys.size, np.full(2 * 16 * 512, 0.3)) and when.max() < n_long


def test_burst_ends_with_a_life() -> None:
    """A burst cut off after half its time has written 1 - sqrt(1 - share)."""
    one = scene(
        n_sharers=3,
        n_regions=16,
        burst_pages_share=0.75,
        burst_s=1200.0,
        worker_life_s=600.0,
        worker_life_law="together",
    )
    keys, _ = first_writes(drawn(one)[:10])
    assert near(keys.size, np.full(2 * 16 * 512, 0.5))


def test_reads_of_the_dataloader_write() -> None:
    """A counted read is a write: pages written in an epoch follow from the rate of reads alone."""
    fields = {**option("workload", "dataloader"), "regions": 16, "counted_reads_share": 0.5, "reads_per_page_hour": 6.0}
    one = Scene(registry.build("workload", fields), 16, 4, 10, 60.0)
    keys, _ = first_writes(drawn(one))
    assert set(keys // 512 % 4) == {1, 2, 3}
    assert near(keys.size, np.full(3 * 16 * 512, -math.expm1(-0.5 * 6.0 / 6)))


def test_snapshot_has_one_child_at_a_time_at_degree_two() -> None:
    one = Scene(registry.build("workload", {**option("workload", "snapshot"), "regions": 2}), 2, 2, 60, 60.0)
    alive = [True]
    for tick in drawn(one):
        alive.append((alive[-1] and not tick.exits.size) or bool(tick.forks.size))
    assert alive[1:] == [number % 6 == 0 for number in range(60)]


def test_clustering_leaves_cold_regions_out_and_hot_ones_alone() -> None:
    """Half of 8 regions are hot; of the 4 cold ones half are written, twice as often."""
    rates = {"worker_cold_writes_per_page_hour": 2.0, "worker_hot_writes_per_page_hour": 9.0, "hot_regions": 0.5}
    even, clustered = (
        {source.kind: source.law for source in scene(**rates, write_clustering=share).sources} for share in (0.0, 0.5)
    )
    assert clustered["worker_hot"] == even["worker_hot"]
    assert clustered["worker_cold"] == Law(2 * 512, 2 * even["worker_cold"].mean, of_regions=4)
