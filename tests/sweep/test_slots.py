"""Slots follow the machines: as many as their CPUs and memory allow, for what is left."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from thpsweep.errors import SweepError
from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.planning.check import check
from thpsweep.sweep.planning.limits import need_bytes
from thpsweep.sweep.ray import slots as slots_module
from thpsweep.sweep.ray.memory_queue import LEAST_BAND_BYTES, MemoryQueue, layout
from thpsweep.sweep.ray.slots import Machine, Slots

GIB = 1 << 30

Degrees = Callable[..., list[Task]]


def sized(task: Task, replicates: int) -> Task:
    """Make a point larger: state is held for all replicates at once."""
    key, point = task[0], task[1]["point"]
    return f"{key}x{replicates}", check({**point, "run": {**point["run"], "replicates": replicates}})


@pytest.fixture
def there() -> dict[str, Machine]:
    return {"a": Machine("a", 2, 8 * GIB), "b": Machine("b", 4, 8 * GIB)}


@pytest.fixture
def make_slots(degrees: Degrees, there: dict[str, Machine], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Slots]:
    monkeypatch.setattr(slots_module, "LOOK_S", 0.0)
    small = degrees(*range(1, 101))

    def slots(tasks: list[Task] = small, actors: int | None = None) -> Slots:
        return Slots(lambda: dict(there), actors, MemoryQueue(tasks))

    return slots


def placed(slots: Slots) -> list[str]:
    return sorted(slot.machine for slot in slots.by_number.values())


def test_a_seat_a_cpu(make_slots: Callable[..., Slots]) -> None:
    slots = make_slots()
    assert slots.refresh(()) == []
    assert placed(slots) == ["a", "a", "b", "b", "b", "b"]


@pytest.mark.parametrize("actors", [1, 3])
def test_actors_bound_the_seats_of_all_machines(make_slots: Callable[..., Slots], actors: int) -> None:
    slots = make_slots(actors=actors)
    slots.refresh(())
    slots.refresh(())
    assert len(slots.by_number) == actors


def test_no_more_seats_than_points(make_slots: Callable[..., Slots], degrees: Degrees) -> None:
    slots = make_slots(degrees(1, 2, 3))
    slots.refresh(())
    assert len(slots.by_number) == 3


def test_a_machine_that_joins_gets_seats(make_slots: Callable[..., Slots], there: dict[str, Machine]) -> None:
    slots = make_slots()
    slots.refresh(())
    there["c"] = Machine("c", 3, 8 * GIB)
    assert slots.refresh(set(slots.by_number)) == []
    assert placed(slots).count("c") == 3


def test_a_machine_that_leaves_takes_its_seats_once_their_calls_have_ended(
    make_slots: Callable[..., Slots], there: dict[str, Machine]
) -> None:
    slots = make_slots()
    slots.refresh(())
    of_a = {slot.number for slot in slots.by_number.values() if slot.machine == "a"}
    del there["a"]
    assert slots.refresh(of_a) == []
    assert {slot.number for slot in slots.refresh(())} == of_a
    assert placed(slots) == ["b"] * 4


def test_a_refused_machine_is_not_asked_again_and_the_last_one_ends_the_sweep(
    make_slots: Callable[..., Slots], capsys: pytest.CaptureFixture[str]
) -> None:
    slots = make_slots()
    slots.refresh(())
    slots.refuse("a", "thpsweep 0.0.9 there and 0.1.0 here")
    slots.refresh(())
    assert placed(slots) == ["b"] * 4
    assert "a cannot be used: thpsweep 0.0.9 there" in capsys.readouterr().err
    with pytest.raises(SweepError, match="b cannot be used: it is ill"):
        slots.refuse("b", "it is ill")


def test_a_point_that_fits_nowhere_is_refused_before_anything_runs(
    make_slots: Callable[..., Slots], degrees: Degrees, there: dict[str, Machine]
) -> None:
    (task,) = degrees(64)
    there["b"] = Machine("b", 4, need_bytes(task[1]))
    make_slots([task]).first_look()
    there.clear()
    there["b"] = Machine("b", 4, need_bytes(task[1]) - 1)
    with pytest.raises(SweepError, match=r"needs about .* GiB and no machine of the cluster gives Ray more than"):
        make_slots([task]).first_look()


def test_nobody_there_is_waited_for_and_then_said(
    make_slots: Callable[..., Slots],
    there: dict[str, Machine],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = itertools.count(0.0, 400.0)
    monkeypatch.setattr(slots_module.time, "monotonic", lambda: next(clock))
    there.clear()
    slots = make_slots()
    slots.refresh(())
    assert "the cluster has no machine with a CPU; waiting 600 s" in capsys.readouterr().err
    with pytest.raises(SweepError, match="the same command goes on"):
        slots.refresh(())


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
    queue = MemoryQueue([small, big])
    (most, n_big), (least, n_small) = queue.left
    assert (n_big, n_small) == (1, 1) and most > GIB > least
    assert queue.take(1, least) == [small]
    assert queue.take(1, least) == []
    assert queue.take(2, most) == [big]
    queue.again([big])
    assert len(queue) == 1 and queue.take(1, least) == [] and queue.take(2, most) == [big]


def test_larger_workers_go_where_more_lean_ones_fit_instead(
    degrees: Degrees, there: dict[str, Machine], monkeypatch: Any
) -> None:
    monkeypatch.setattr(slots_module, "LOOK_S", 0.0)
    (task,) = degrees(64)
    state_bytes = need_bytes(sized(task, 2)[1]) - need_bytes(sized(task, 1)[1])
    bigs = [(f"big{i}", sized(task, GIB // state_bytes + 1)[1]) for i in range(2)]
    smalls = [(f"small{i}", task[1]) for i in range(20)]
    queue = MemoryQueue([*bigs, *smalls])
    (most, _), (least, _) = queue.left
    there.clear()
    there["a"] = Machine("a", 4, 2 * most + least // 2)
    slots = Slots(lambda: dict(there), None, queue)
    slots.refresh(())
    assert [slot.memory_bytes for slot in slots.by_number.values()] == [most, most]
    for number in list(slots.by_number):
        assert queue.take(number, most)
    gone = slots.refresh(())
    assert gone and all(slot.memory_bytes == most for slot in gone)
    assert len(slots.by_number) > 2
    assert sum(slot.memory_bytes for slot in slots.by_number.values()) <= there["a"].memory_bytes


def test_points_that_come_later_replace_workers_once_a_band(degrees: Degrees) -> None:
    small, larger, largest = (sized(task, n) for task, n in zip(degrees(1000) * 3, (1, 8, 16), strict=True))
    queue = MemoryQueue([small])
    assert queue.left == [(need_bytes(small[1]), 1)]
    assert queue.take(1, need_bytes(small[1])) == [small]
    queue.add([larger])
    ((need, n_points),) = queue.left
    assert n_points == 1 and need == LEAST_BAND_BYTES
    queue.add([largest])
    assert queue.left == [(LEAST_BAND_BYTES, 2)] and need_bytes(largest[1]) > need_bytes(larger[1])


def test_room_counts_cpus_up_to_the_actors(make_slots: Callable[..., Slots]) -> None:
    for actors, room in ((None, 6), (4, 4)):
        slots = make_slots(actors=actors)
        slots.first_look()
        assert slots.room == room


def test_points_that_fit_nowhere_any_more_are_not_waited_for_for_ever(
    degrees: Degrees, there: dict[str, Machine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(slots_module, "LOOK_S", 0.0)
    monkeypatch.setattr(slots_module, "WAIT_S", -1.0)
    (task,) = degrees(64)
    state_bytes = need_bytes(sized(task, 2)[1]) - need_bytes(sized(task, 1)[1])
    queue = MemoryQueue([sized(task, GIB // state_bytes + 1), task])
    there["a"] = Machine("a", 1, GIB // 2)
    slots = Slots(lambda: dict(there), None, queue)
    slots.first_look()
    slots.refresh(())
    del there["b"]
    slots.refresh(())
    (small,) = slots.by_number.values()
    assert small.machine == "a" and queue.take(small.number, small.memory_bytes) == [task]
    slots.refresh(())
    assert "fewer replicates" in capsys.readouterr().err
    with pytest.raises(SweepError, match="the same command goes on"):
        slots.refresh(())
