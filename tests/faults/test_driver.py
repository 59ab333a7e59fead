"""The driver dies, is told to stop, or is not alone: nothing finished is lost, nothing is doubled."""

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import MakePlace


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize(("launcher", "moments"), [("serial", 20), ("ray", 5)])
def test_killed_at_random_moments_of_500_points(make_place: MakePlace, launcher: str, moments: int) -> None:
    """Kill it with SIGKILL; with Ray five times, as each start takes seconds."""
    undisturbed, place = make_place("undisturbed", 500), make_place("killed", 500)
    undisturbed.finish("serial", "slow")
    dice = random.Random(f"{moments} moments")
    kept = 0
    for moment in sorted(dice.sample(range(400), moments)):
        driver = place.start(launcher, "slow")
        if place.count() < moment:
            place.wait(lambda moment=moment: place.count() >= moment)
            time.sleep(dice.uniform(0.0, 0.1))
        else:  # the last one came further: this one is killed while it starts
            time.sleep(
                dice.uniform(0.0, 0.5)
            )  # before it begins a point: three deaths within one are the point's fault
        assert driver.poll() is None
        driver.kill()
        driver.wait()
        assert place.count() >= kept
        kept = place.count()
    assert kept < 500
    place.finish(launcher, "slow")
    assert len(undisturbed.results()) == 500
    assert place.results() == undisturbed.results()


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize(
    ("tell", "number", "least", "code"),
    [
        (os.killpg, signal.SIGINT, 1, 130),  # as a terminal does: to every process in the foreground
        (os.kill, signal.SIGTERM, 1, 143),  # as `kill` does
        (os.killpg, signal.SIGTERM, 0, 143),  # as `timeout` does: it ends Ray, too, and what its workers are at
    ],
)
def test_told_once_it_drains_what_ray_workers_are_at(
    make_place: MakePlace, tell: Callable[[int, int], None], number: int, least: int, code: int
) -> None:
    place = make_place("drained", 40)
    driver = place.start("ray", "very_slow")
    place.wait(lambda: place.count() >= 2)
    before = place.count()
    tell(driver.pid, number)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == code, said
    assert "draining" in said and "the same command goes on" in said
    assert before + least <= place.count() < 40
    assert len(place.results()) == place.count()


@pytest.mark.slow
@pytest.mark.servers
def test_told_twice_it_stops_at_once(make_place: MakePlace) -> None:
    place = make_place("stopped", 40)
    driver = place.start("ray", "endless")
    place.wait(lambda: place.processes(b"ray::Worker.run") != [])
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(1.0)
    assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=20)
    assert (driver.returncode, place.count()) == (130, 0), said


def test_two_at_once(make_place: MakePlace) -> None:
    place = make_place("two", 60)
    drivers = [place.start("serial", "slow") for _ in range(2)]
    said = [driver.communicate(timeout=120)[1] for driver in drivers]
    assert sorted(driver.returncode for driver in drivers) == [0, 2]
    assert sum("this sweep is already being run by process" in text for text in said) == 1
    assert len(place.results()) == 60
