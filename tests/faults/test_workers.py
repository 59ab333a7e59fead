"""Workers and machines die while a sweep runs: every point still has one result, the one it always has."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import MakePlace
from tests.faults.points import HANGS, STUCK, misbehave, slow, very_slow
from thpsweep.sweep.local.launcher import Task, Terms
from thpsweep.sweep.local.serial import run_serial
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.ray import calls
from thpsweep.sweep.ray.join import secure
from thpsweep.sweep.ray.pool import run_pool

Degrees = Callable[..., list[Task]]

pytestmark = [pytest.mark.slow, pytest.mark.servers]


def test_workers_killed_at_random_moments(make_place: MakePlace) -> None:
    undisturbed, place = make_place("undisturbed", 500), make_place("killed", 500)
    undisturbed.finish("serial", "slow")
    driver = place.start("ray", "slow")
    dice = random.Random("6 workers")
    for moment in sorted(dice.sample(range(5, 400), 6)):
        place.wait(lambda moment=moment: place.count() >= moment and place.processes(b"ray::Worker.run") != [])
        time.sleep(dice.uniform(0.0, 0.1))
        if victims := place.processes(b"ray::Worker"):
            os.kill(dice.choice(victims), signal.SIGKILL)
    _, said = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert len(place.results()) == 500 and place.results() == undisturbed.results()
    assert max(record.get("attempts", 1) for record in place.lines()) > 1


def test_point_that_no_signal_reaches_is_killed_at_its_deadline(
    degrees: Degrees, ray_token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "GRACE_S", 0.5)
    began_s = time.monotonic()
    terms = Terms(PointLimits(deadline_s=1.0))
    arrivals = list(run_pool(degrees(*range(1, 9), STUCK, HANGS), terms, actors=2, function=misbehave))
    outcomes = dict(ended for arrival in arrivals for ended in arrival)
    assert outcomes[str(STUCK)]["state"] == outcomes[str(HANGS)]["state"] == "timeout"
    assert outcomes[str(STUCK)]["error"]["message"] == "it took longer than sweep.deadline_s=1"
    assert outcomes[str(STUCK)]["attempts"] <= 2
    assert [outcomes[str(degree)]["state"] for degree in range(1, 9)] == ["done"] * 8
    assert time.monotonic() - began_s < 60


@pytest.mark.parametrize("actors", [1, 3])
def test_results_are_the_same_bit_for_bit_on_any_number_of_workers(
    degrees: Degrees, ray_token: None, actors: int
) -> None:
    tasks = degrees(*range(1, 25))
    alone, together = (
        {key: ended["result"] for arrival in arrivals for key, ended in arrival}
        for arrivals in (run_serial(tasks, function=slow), run_pool(tasks, actors=actors, function=slow))
    )
    assert repr(sorted(together.items())) == repr(sorted(alone.items()))  # repr: of floats, every bit


def test_a_machine_that_is_lost_accuses_nobody(degrees: Degrees, ray_token: None) -> None:
    secure()  # before Ray is imported, which reads it then
    from ray.cluster_utils import Cluster

    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        first = cluster.add_node(num_cpus=1)
        outcomes: dict[str, Any] = {}
        for arrival in run_pool(degrees(*range(1, 9)), address=cluster.address, actors=1, function=very_slow):
            if not outcomes:
                cluster.add_node(num_cpus=1)
                cluster.remove_node(first, allow_graceful=False)
            outcomes.update(arrival)
    finally:
        cluster.shutdown()
    assert [outcomes[str(degree)]["state"] for degree in range(1, 9)] == ["done"] * 8
    assert max(ended["attempts"] for ended in outcomes.values()) > 1
