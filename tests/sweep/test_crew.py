"""Seats follow the machines: as many as their CPUs and memory allow, for what is left."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from thpsweep.errors import SweepError
from thpsweep.sweep.local.serial import Task
from thpsweep.sweep.ray import slots as crew_module
from thpsweep.sweep.ray.memory_queue import LEAST_BAND_BYTES, Needs, layout, need_bytes
from thpsweep.sweep.ray.slots import Crew, Machine

GIB = 1 << 30

Degrees = Callable[..., list[Task]]


def sized(task: Task, replicates: int) -> Task:
    """Make a point larger: state is held for all replicates at once."""
    key, point = task
    return f"{key}x{replicates}", {**point, "run": {**point["run"], "replicates": replicates}}


@pytest.fixture
def there() -> dict[str, Machine]:
    return {"a": Machine("a", 2, 8 * GIB), "b": Machine("b", 4, 8 * GIB)}


@pytest.fixture
def make_crew(degrees: Degrees, there: dict[str, Machine], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Crew]:
    monkeypatch.setattr(crew_module, "LOOK_S", 0.0)
    small = degrees(*range(1, 101))

    def crew(tasks: list[Task] = small, actors: int | None = None) -> Crew:
        return Crew(lambda: dict(there), actors, Needs(tasks))

    return crew


def placed(crew: Crew) -> list[str]:
    return sorted(seat.machine for seat in crew.seats.values())


def test_a_seat_a_cpu(make_crew: Callable[..., Crew]) -> None:
    crew = make_crew()
    assert crew.refresh(()) == []
    assert placed(crew) == ["a", "a", "b", "b", "b", "b"]


@pytest.mark.parametrize("actors", [1, 3])
def test_actors_bound_the_seats_of_all_machines(make_crew: Callable[..., Crew], actors: int) -> None:
    crew = make_crew(actors=actors)
    crew.refresh(())
    crew.refresh(())
    assert len(crew.seats) == actors


def test_no_more_seats_than_points(make_crew: Callable[..., Crew], degrees: Degrees) -> None:
    crew = make_crew(degrees(1, 2, 3))
    crew.refresh(())
    assert len(crew.seats) == 3


def test_a_machine_that_joins_gets_seats(make_crew: Callable[..., Crew], there: dict[str, Machine]) -> None:
    crew = make_crew()
    crew.refresh(())
    there["c"] = Machine("c", 3, 8 * GIB)
    assert crew.refresh(set(crew.seats)) == []
    assert placed(crew).count("c") == 3


def test_a_machine_that_leaves_takes_its_seats_once_their_calls_have_ended(
    make_crew: Callable[..., Crew], there: dict[str, Machine]
) -> None:
    crew = make_crew()
    crew.refresh(())
    of_a = {seat.number for seat in crew.seats.values() if seat.machine == "a"}
    del there["a"]
    assert crew.refresh(of_a) == []
    assert {seat.number for seat in crew.refresh(())} == of_a
    assert placed(crew) == ["b"] * 4


def test_a_refused_machine_is_not_asked_again_and_the_last_one_ends_the_sweep(
    make_crew: Callable[..., Crew], capsys: pytest.CaptureFixture[str]
) -> None:
    crew = make_crew()
    crew.refresh(())
    crew.refuse("a", "thpsweep 0.0.9 there and 0.1.0 here")
    crew.refresh(())
    assert placed(crew) == ["b"] * 4
    assert "a cannot be used: thpsweep 0.0.9 there" in capsys.readouterr().err
    with pytest.raises(SweepError, match="b cannot be used: it is ill"):
        crew.refuse("b", "it is ill")


def test_a_point_that_fits_nowhere_is_refused_before_anything_runs(
    make_crew: Callable[..., Crew], degrees: Degrees, there: dict[str, Machine]
) -> None:
    (task,) = degrees(64)
    there["b"] = Machine("b", 4, need_bytes(task[1]))
    make_crew([task]).first_look()
    there.clear()
    there["b"] = Machine("b", 4, need_bytes(task[1]) - 1)
    with pytest.raises(SweepError, match=r"needs about .* GiB and no machine of the cluster gives Ray more than"):
        make_crew([task]).first_look()


def test_nobody_there_is_waited_for_and_then_said(
    make_crew: Callable[..., Crew],
    there: dict[str, Machine],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = itertools.count(0.0, 400.0)
    monkeypatch.setattr(crew_module.time, "monotonic", lambda: next(clock))
    there.clear()
    crew = make_crew()
    crew.refresh(())
    assert "the cluster has no machine with a CPU; waiting 600 s" in capsys.readouterr().err
    with pytest.raises(SweepError, match="the same command goes on"):
        crew.refresh(())


@pytest.mark.parametrize(
    ("left", "sizes"),
    [
        ([(1, 100)], [1, 1, 1, 1]),
        ([(6, 1), (1, 100)], [6, 1, 1, 1]),
        ([(6, 9), (1, 100)], [6, 1, 1, 1]),
        ([(6, 9), (4, 9)], [6, 4]),
        ([(20, 9), (3, 1)], [3]),
        ([(20, 9)], []),
        ([], []),
    ],
)
def test_layout_of_a_machine_with_four_cpus_and_ten_bytes(left: list[tuple[int, int]], sizes: list[int]) -> None:
    assert layout(4, 10, left) == sizes


def test_workers_take_what_they_declared_enough_for_the_largest_first(degrees: Degrees) -> None:
    (task,) = degrees(64)
    state_bytes = need_bytes(sized(task, 2)[1]) - need_bytes(sized(task, 1)[1])
    big, small = sized(task, GIB // state_bytes + 1), sized(task, 1)
    needs = Needs([small, big])
    (most, n_big), (least, n_small) = needs.left
    assert (n_big, n_small) == (1, 1) and most > GIB > least
    assert needs.take(1, least) == [small]
    assert needs.take(1, least) == []
    assert needs.take(2, most) == [big]
    needs.again([big])
    assert len(needs) == 1 and needs.take(1, least) == [] and needs.take(2, most) == [big]


def test_larger_workers_go_where_more_lean_ones_fit_instead(
    degrees: Degrees, there: dict[str, Machine], monkeypatch: Any
) -> None:
    monkeypatch.setattr(crew_module, "LOOK_S", 0.0)
    (task,) = degrees(64)
    state_bytes = need_bytes(sized(task, 2)[1]) - need_bytes(sized(task, 1)[1])
    bigs = [(f"big{i}", sized(task, GIB // state_bytes + 1)[1]) for i in range(2)]
    smalls = [(f"small{i}", task[1]) for i in range(20)]
    needs = Needs([*bigs, *smalls])
    (most, _), (least, _) = needs.left
    there.clear()
    there["a"] = Machine("a", 4, 2 * most + least // 2)
    crew = Crew(lambda: dict(there), None, needs)
    crew.refresh(())
    assert [seat.memory_bytes for seat in crew.seats.values()] == [most, most]
    for number in list(crew.seats):
        assert needs.take(number, most)
    gone = crew.refresh(())
    assert gone and all(seat.memory_bytes == most for seat in gone)
    assert len(crew.seats) > 2
    assert sum(seat.memory_bytes for seat in crew.seats.values()) <= there["a"].memory_bytes


def test_points_that_come_later_replace_workers_once_a_band(degrees: Degrees) -> None:
    small, larger, largest = (sized(task, n) for task, n in zip(degrees(1000) * 3, (1, 8, 16), strict=True))
    needs = Needs([small])
    assert needs.left == [(need_bytes(small[1]), 1)]
    assert needs.take(1, need_bytes(small[1])) == [small]
    needs.add([larger])
    ((need, n_points),) = needs.left
    assert n_points == 1 and need == LEAST_BAND_BYTES
    needs.add([largest])
    assert needs.left == [(LEAST_BAND_BYTES, 2)] and need_bytes(largest[1]) > need_bytes(larger[1])


def test_room_counts_cpus_up_to_the_actors(make_crew: Callable[..., Crew]) -> None:
    for actors, room in ((None, 6), (4, 4)):
        crew = make_crew(actors=actors)
        crew.first_look()
        assert crew.room == room


def test_points_that_fit_nowhere_any_more_are_not_waited_for_for_ever(
    degrees: Degrees, there: dict[str, Machine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(crew_module, "LOOK_S", 0.0)
    monkeypatch.setattr(crew_module, "WAIT_S", -1.0)
    (task,) = degrees(64)
    state_bytes = need_bytes(sized(task, 2)[1]) - need_bytes(sized(task, 1)[1])
    needs = Needs([sized(task, GIB // state_bytes + 1), task])
    there["a"] = Machine("a", 1, GIB // 2)
    crew = Crew(lambda: dict(there), None, needs)
    crew.first_look()
    crew.refresh(())
    del there["b"]
    crew.refresh(())
    (small,) = crew.seats.values()
    assert small.machine == "a" and needs.take(small.number, small.memory_bytes) == [task]
    crew.refresh(())
    assert "fewer replicates" in capsys.readouterr().err
    with pytest.raises(SweepError, match="the same command goes on"):
        crew.refresh(())
