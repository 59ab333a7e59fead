"""The contract of launchers: every point has one outcome, whatever it does; one Ray session serves all its questions."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.each import each
from tests.faults.points import EXITS, HANGS, HOGS, KILLS, RAISES, UNSENDABLE, misbehave
from thpsweep.sweep.local import serial as serial_module
from thpsweep.sweep.local.attempt import Outcome, outcome
from thpsweep.sweep.local.launcher import Arrival, Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.ray import auto as auto_module
from thpsweep.sweep.ray.auto import run_auto
from thpsweep.sweep.ray.pool import run_pool

ECHOES = (1, 2, 3, 4, 5, 6)
TROUBLE = (RAISES, EXITS, HANGS, HOGS)
TERMS = Terms(PointLimits(deadline_s=1.5, memory_bytes=256 << 20))

Degrees = Callable[..., list[Task]]


def flat(arrivals: Iterator[Arrival]) -> list[tuple[str, Outcome]]:
    return [ended for arrival in arrivals for ended in arrival]


@pytest.fixture(scope="module")
def ray_outcomes(degrees: Degrees, ray_token: None) -> list[tuple[str, Outcome]]:
    """Run every kind of point in one pool."""
    return flat(run_pool(degrees(*ECHOES, *TROUBLE, KILLS, UNSENDABLE), TERMS, actors=2, function=misbehave))


@pytest.fixture(scope="module")
def serial_outcomes(degrees: Degrees) -> list[tuple[str, Outcome]]:
    return flat(run_serial(degrees(*ECHOES, *TROUBLE), TERMS, function=misbehave))


@pytest.fixture(scope="module")
def auto_outcomes(degrees: Degrees, ray_token: None) -> list[tuple[str, Outcome]]:
    """Hand over after the first point."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        patch.setattr(auto_module, "RAY_START_S", 0.0)
        patch.setattr(auto_module, "WARM_S", 0.0)
        patch.setattr(serial_module, "ARRIVAL_S", 0.0)
        return flat(run_auto(degrees(*ECHOES, *TROUBLE), TERMS, function=misbehave))


@pytest.fixture(params=["serial", "ray", "auto"])
def outcomes(request: pytest.FixtureRequest) -> list[tuple[str, Outcome]]:
    """Give all that one launcher yielded."""
    found: list[tuple[str, Outcome]] = request.getfixturevalue(f"{request.param}_outcomes")
    return found


def test_each_point_has_one_outcome(outcomes: list[tuple[str, Outcome]]) -> None:
    keys = [key for key, _ in outcomes if key not in (str(KILLS), str(UNSENDABLE))]
    assert sorted(keys) == sorted(map(str, (*ECHOES, *TROUBLE)))


def test_result_belongs_to_its_point(outcomes: list[tuple[str, Outcome]]) -> None:
    assert [dict(outcomes)[str(degree)]["result"]["degree"] for degree in ECHOES] == list(ECHOES)


def test_done_has_no_error_and_its_cost(outcomes: list[tuple[str, Outcome]]) -> None:
    done = dict(outcomes)["1"]
    assert (done["state"], done["error"]) == ("done", None)
    assert done["wall_s"] > 0 and done["cpu_s"] >= 0 and done["peak_bytes"] > 1 << 20 and done["host"]


def test_exception_comes_back_as_data(outcomes: list[tuple[str, Outcome]]) -> None:
    failed = dict(outcomes)[str(RAISES)]
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert (failed["error"]["type"], failed["error"]["message"]) == ("ValueError", "nine hundred and one")
    assert "misbehave" in failed["error"]["traceback"]


def test_exit_of_a_point_is_its_failure(outcomes: list[tuple[str, Outcome]]) -> None:
    assert dict(outcomes)[str(EXITS)]["error"]["type"] == "SystemExit"


def test_point_that_hangs_ends_at_its_deadline(outcomes: list[tuple[str, Outcome]]) -> None:
    ended = dict(outcomes)[str(HANGS)]
    assert (ended["state"], ended["error"]["message"]) == ("timeout", "it took longer than sweep.deadline_s=1.5")
    assert 1.5 <= ended["wall_s"] < 5


def test_point_that_allocates_without_bound_is_stopped_by_its_limit(outcomes: list[tuple[str, Outcome]]) -> None:
    ended = dict(outcomes)[str(HOGS)]
    assert (ended["state"], ended["error"]["type"]) == ("failed", "MemoryError")
    assert "sweep.memory_bytes" in ended["error"]["message"]
    assert 256 << 20 <= ended["peak_bytes"] < 2 << 30


def test_limits_end_with_the_point(degrees: Degrees, serial_outcomes: list[tuple[str, Outcome]]) -> None:
    import resource
    import signal

    assert len(bytearray(300 << 20)) == 300 << 20
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_point_that_kills_its_worker_is_quarantined_after_its_retries(
    ray_outcomes: list[tuple[str, Outcome]],
) -> None:
    ended = dict(ray_outcomes)[str(KILLS)]
    assert (ended["state"], ended["error"]["type"]) == ("quarantined", "WorkerDied")
    assert "died 3 times, alone with it" in ended["error"]["message"] and ended["attempts"] >= 3


def test_result_that_cannot_travel_is_its_points_failure(ray_outcomes: list[tuple[str, Outcome]]) -> None:
    ended = dict(ray_outcomes)[str(UNSENDABLE)]
    assert ended["state"] == "failed" and "lock" in ended["error"]["message"]


def test_nobody_else_suffers(ray_outcomes: list[tuple[str, Outcome]]) -> None:
    assert [dict(ray_outcomes)[str(degree)]["state"] for degree in ECHOES] == ["done"] * len(ECHOES)


def test_points_run_in_other_processes(ray_outcomes: list[tuple[str, Outcome]]) -> None:
    pids = {ended["result"]["pid"] for _, ended in ray_outcomes if ended["state"] == "done"}
    assert pids and os.getpid() not in pids


def test_auto_begins_here_and_goes_on_elsewhere(auto_outcomes: list[tuple[str, Outcome]]) -> None:
    pids = [ended["result"]["pid"] for _, ended in auto_outcomes if ended["state"] == "done"]
    assert pids[0] == os.getpid() and os.getpid() not in pids[1:]


@pytest.mark.parametrize("cpus", [{0}, {0, 1}])
def test_auto_stays_here_where_ray_saves_nothing(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch, cpus: set[int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus)
    if len(cpus) == 1:
        monkeypatch.setattr(auto_module, "RAY_START_S", 0.0)

    def unwanted(*_: Any, **__: Any) -> Any:
        raise AssertionError("no Ray")

    monkeypatch.setattr(auto_module, "run_pool", unwanted)
    assert {ended["result"]["pid"] for _, ended in flat(run_auto(degrees(*ECHOES), function=misbehave))} == {
        os.getpid()
    }


def test_auto_takes_what_the_first_point_loads_for_no_points_own(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(auto_module, "run_pool", lambda *_, **__: iter([[("pool", outcome("done"))]]))
    loaded: list[int] = []

    def loading(point: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.3 if not loaded else 0.001)  # 100 like the first one would be worth the start of Ray
        loaded.append(1)
        return {}

    small = flat(run_auto(degrees(*range(1, 101)), function=each(loading)))
    assert len(small) == 100 and "pool" not in dict(small)
    heavy = flat(run_auto(degrees(*range(1, 101)), function=each(lambda point: {"slept": time.sleep(0.7)})))
    assert len(heavy) == 2 and "pool" in dict(heavy)


def test_nothing_new_begins_while_draining(degrees: Degrees) -> None:
    terms = Terms()

    def drain(point: dict[str, Any]) -> dict[str, Any]:
        if point["sharing"]["degree"] == 3:
            terms.draining.set()
        return {}

    assert [key for key, _ in flat(run_serial(degrees(*ECHOES), terms, function=each(drain)))] == ["1", "2", "3"]
