"""Lives of workers: their lengths, gaps and phases."""

import math
from typing import Any

import numpy as np
from scipy import stats

from tests.model.laws import SIGMAS
from tests.model.points import option
from thpsweep.model import registry
from thpsweep.model.events.lifetimes import Lives, draw_lives


def lives(n_sharers: int = 400, n_ticks: int = 2000, tick_s: float = 1.0, *, absent: int = 0, **changed: Any) -> Lives:
    steady = {"worker_life_s": 0.0, "worker_gap_s": 0.0, "children_at_start": n_sharers - 1 - absent}
    load = registry.build("workload", {**option("workload", "zygote"), **steady, **changed})
    return draw_lives(load, n_sharers, n_ticks, tick_s, np.random.default_rng(6))


def test_lives_of_one_sharer_do_not_overlap_and_gaps_are_kept() -> None:
    for law in ("exponential", "fixed", "together"):
        found = lives(50, 500, worker_life_s=7.0, worker_gap_s=3.0, worker_life_law=law)
        assert (found.begin < found.end).all() and found.end.max() <= 500 and found.begin.min() == 0
        for sharer in range(1, 50):
            mine = found.where(found.sharer == sharer)
            assert not mine.forked[0] and mine.forked[1:].all()
            assert (mine.begin[1:] >= mine.end[:-1]).all()


def test_without_a_length_workers_live_on() -> None:
    found = lives(worker_life_s=0.0)
    assert found.sharer.size == 399 and (found.end == 2000).all() and not found.forked.any()


def test_exponential_lives_end_as_a_poisson_process() -> None:
    """399 workers, each replaced at once: 399 * 2000 / 100 deaths on average, and as many in variance."""
    found = lives(worker_life_s=100.0)
    expected = 399 * 2000 / 100
    assert abs(found.forked.sum() - expected) < SIGMAS * math.sqrt(expected)
    inner = found.where(found.forked & (found.end < 1000) & (found.begin < 500))
    # Every life that began before 500 and was shorter than 500 is among these: the law, cut at 500.
    short = (inner.end - inner.begin)[(inner.end - inner.begin) < 500]
    mean, cut = 100.0, 500.0
    truncated = mean - cut / math.expm1(cut / mean)
    assert abs(short.mean() - truncated) < SIGMAS * mean / math.sqrt(short.size) + 1  # a tick of rounding


def test_gaps_leave_places_empty_for_their_share_of_the_time() -> None:
    """In the long run a place is taken for life / (life + gap) of the time."""
    found = lives(n_ticks=20_000, worker_life_s=60.0, worker_gap_s=20.0)
    taken = np.bincount(found.sharer, weights=found.end - found.begin, minlength=400)[1:] / 20_000
    assert abs(taken.mean() - 0.75) < SIGMAS * taken.std() / math.sqrt(399) + 80 / 20_000


def test_fixed_lives_have_one_length_and_phases_of_their_own() -> None:
    found = lives(worker_life_s=100.0, worker_gap_s=10.0, worker_life_law="fixed")
    inner = found.where(found.forked & (found.end < 2000))
    assert set(inner.end - inner.begin) == {100}
    first = found.where(~found.forked)
    assert abs(first.end.mean() - 50.5) < SIGMAS * 100 / math.sqrt(12 * 399)
    assert stats.kstest((first.end - 0.5) / 100, "uniform").pvalue > 1e-5


def test_together_all_begin_and_end_in_the_same_ticks() -> None:
    found = lives(worker_life_s=100.0, worker_gap_s=10.0, worker_life_law="together")
    assert sorted(set(found.begin)) == list(range(0, 2000, 110))
    assert (found.end == np.minimum(found.begin + 100, 2000)).all()


def test_the_absent_come_after_a_gap() -> None:
    found = lives(absent=100, worker_life_s=0.0, worker_gap_s=50.0)
    late = found.where(found.sharer >= 300)
    assert late.forked.all() and late.sharer.size == 100 and not found.where(found.sharer < 300).forked.any()
    assert abs(late.begin.mean() + 0.5 - 50) < SIGMAS * 50 / math.sqrt(100)


def test_a_life_shorter_than_a_tick_lasts_one() -> None:
    found = lives(10, 50, worker_life_s=0.01)
    assert ((found.end - found.begin) == 1).all() and found.sharer.size == 9 * 50
