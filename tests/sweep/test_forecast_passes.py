"""A daemon that wakes often takes long, whatever it finds: its passes are work, up to some a tick."""

import time
from collections.abc import Callable

import pytest

from thpsweep.model.setting import STEP_WORK, estimate
from thpsweep.model.simulate import simulate
from thpsweep.sweep.planning.forecast import ASSUMED_S_PER_WORK, ASSUMED_SHARED
from thpsweep.sweep.records.schema import Point

KHUGEPAGED = ("policy=copy", "policy/trigger=khugepaged", "run.duration_s=30", "run.tick_s=10")


def test_each_pass_is_work(make_point: Callable[..., Point]) -> None:
    works = []
    for sleep_ms in (10_000, 5000, 1250):
        point = make_point(*KHUGEPAGED, f"policy.trigger.scan_sleep_millisecs={sleep_ms}")
        works.append(estimate(point)["work"] / point["run"]["replicates"] - 30_000 / sleep_ms * STEP_WORK)
    assert works == pytest.approx([works[0]] * 3)


def test_passes_that_are_gone_over_at_once_are_no_work_each(make_point: Callable[..., Point]) -> None:
    works = [
        estimate(make_point(*KHUGEPAGED, f"policy.trigger.scan_sleep_millisecs={sleep_ms}"))["work"]
        for sleep_ms in (1250, 1000, 10)
    ]
    assert works[0] < works[1] == works[2]


def test_what_is_never_scanned_takes_no_passes(make_point: Callable[..., Point]) -> None:
    frequent = (*KHUGEPAGED[1:], "policy.trigger.scan_sleep_millisecs=10", "policy/mechanism=none")
    assert (
        estimate(make_point(*frequent))["work"]
        == estimate(make_point(*frequent[:-1], frequent[-1], "run.seed=2"))["work"]
    )
    assert estimate(make_point(*frequent))["work"] < 30_000 / 10 * STEP_WORK


@pytest.mark.bench
def test_what_a_daemon_takes_beside_what_is_assumed(make_point: Callable[..., Point]) -> None:
    point = make_point(*KHUGEPAGED, "policy.trigger.scan_sleep_millisecs=10")
    simulate(point)
    began_s = time.thread_time()
    simulate(point)
    took_s = time.thread_time() - began_s
    assumed_s = estimate(point)["work"] * ASSUMED_S_PER_WORK * (1 + ASSUMED_SHARED / point["run"]["replicates"])
    print(f"\n3,000 passes took {took_s:.2f} s; {assumed_s / took_s:.2f} times as much is assumed before anything ran")
