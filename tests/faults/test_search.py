"""A search is killed, or told to stop: it goes on with the same decisions, and nothing runs twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import MakePlace, Place

ANSWERS = ("breakeven.json", "pareto.json")


def started(place: Place, launcher: str, function: str, kind: str) -> "subprocess.Popen[str]":
    """Start a search over the first point of a place."""
    base = place.points.parent / "base.json"
    if not base.exists():
        (point,) = json.loads(place.points.read_text())
        base.write_text(json.dumps({**point, "run": {**point["run"], "replicates": 8}}))
    return place.run(
        [sys.executable, "-m", "tests.faults.search_driver", str(base), str(place.root), launcher, function, kind]
    )


def finished(place: Place, launcher: str, function: str, kind: str) -> str:
    """Run a search to its end, which has to be good; give its answer."""
    driver = started(place, launcher, function, kind)
    _, said = driver.communicate(timeout=240)
    assert driver.returncode == 0, said
    (answer,) = (file for name in ANSWERS for file in place.root.glob(f"*/{name}"))
    return answer.read_text()


def planned(place: Place) -> list[str]:
    """Give the ids of the points that were proposed; none of them twice."""
    found = [record["id"] for record in place.lines() if record["type"] == "point"]
    assert len(found) == len({*found})
    return found


def killed(place: Place, launcher: str, function: str, kind: str, moments: int, n_points: int) -> None:
    """Kill a search with SIGKILL after so many results, or while it starts."""
    dice = random.Random(f"{moments} moments of {kind}")
    for moment in sorted(dice.sample(range(n_points * 9 // 10), moments)):
        driver = started(place, launcher, function, kind)
        if place.count() < moment:
            place.wait(lambda moment=moment: place.count() >= moment)
            time.sleep(dice.uniform(0.0, 0.02))
        else:
            time.sleep(dice.uniform(0.0, 1.0))
        driver.kill()
        driver.wait()


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize(("launcher", "moments"), [("serial", 6), ("ray", 1)])
def test_bisection_killed_at_random_moments(make_place: MakePlace, launcher: str, moments: int) -> None:
    undisturbed, place = make_place("undisturbed", 1), make_place("killed", 1)
    answer = finished(undisturbed, "serial", "slow_noisy", "many_bisections")
    killed(place, launcher, "slow_noisy", "many_bisections", moments, len(undisturbed.results()))
    assert finished(place, launcher, "slow_noisy", "many_bisections") == answer
    assert place.results() == undisturbed.results()
    assert sorted(planned(place)) == sorted(planned(undisturbed)) == sorted(place.results())


@pytest.mark.slow
@pytest.mark.servers
def test_search_for_a_front_killed_at_random_moments(make_place: MakePlace) -> None:
    undisturbed, place = make_place("undisturbed", 1), make_place("killed", 1)
    answer = finished(undisturbed, "serial", "slow_zdt1", "front_search")
    killed(place, "serial", "slow_zdt1", "front_search", 4, len(undisturbed.results()))
    assert finished(place, "serial", "slow_zdt1", "front_search") == answer
    assert place.results() == undisturbed.results()
    assert planned(place) == planned(undisturbed)


@pytest.mark.slow
@pytest.mark.servers
def test_told_once_a_search_drains(make_place: MakePlace) -> None:
    place = make_place("drained", 1)
    driver = started(place, "ray", "very_slow", "bisection")
    place.wait(lambda: place.count() >= 2)
    os.killpg(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130, said
    assert "of about" in said and "the same command goes on" in said
    assert 2 <= place.count() < 20 and len(place.results()) == place.count()
    assert not list(Path(place.root).glob("*/breakeven.json"))


def test_two_at_once(make_place: MakePlace) -> None:
    place = make_place("two", 1)
    drivers: list[Any] = [started(place, "serial", "slow_noisy", "bisection") for _ in range(2)]
    said = [driver.communicate(timeout=120)[1] for driver in drivers]
    assert sorted(driver.returncode for driver in drivers) == [0, 2], said
    assert sum("this sweep is already being run by process" in text for text in said) == 1
    assert sorted(place.results()) == sorted(planned(place))
