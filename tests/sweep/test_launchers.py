"""The contract of launchers: every point has one outcome, whatever it does; one Ray session serves all its questions."""

import os
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from thpsweep.sweep.pool import pool
from thpsweep.sweep.serial import Outcome, serial

RAISES, KILLS, EXITS, ECHOES = 13, 666, 77, (1, 2, 3, 4, 5, 6)


def misbehave(point: dict[str, Any]) -> dict[str, Any]:
    degree = point["sharing"]["degree"]
    if degree == 13:
        raise ValueError("thirteen")
    if degree == 77:
        raise SystemExit(3)
    if degree == 666:
        os._exit(1)
    return {"degree": degree, "pid": os.getpid()}


@pytest.fixture(scope="module")
def ray_outcomes(
    degrees: Callable[..., list[tuple[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, Outcome]]:
    """Run every kind of point in one pool, with a token file of the test's own."""
    tasks = degrees(*ECHOES, RAISES, EXITS, KILLS)
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text(secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        return list(pool(tasks, actors=2, function=misbehave))


@pytest.fixture(scope="module")
def serial_outcomes(degrees: Callable[..., list[tuple[str, Any]]]) -> list[tuple[str, Outcome]]:
    return list(serial(degrees(*ECHOES, RAISES, EXITS), function=misbehave))


@pytest.fixture(params=["serial", "ray"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Outcomes of one launcher by point."""
    return dict(request.getfixturevalue(f"{request.param}_outcomes"))


def test_each_point_has_one_outcome(
    serial_outcomes: list[tuple[str, Outcome]], ray_outcomes: list[tuple[str, Outcome]]
) -> None:
    wanted = sorted(map(str, (*ECHOES, RAISES, EXITS)))
    assert sorted(key for key, _ in serial_outcomes) == wanted
    assert sorted(key for key, _ in ray_outcomes) == sorted([*wanted, str(KILLS)])


def test_result_belongs_to_its_point(outcomes: dict[str, Outcome]) -> None:
    assert [outcomes[str(degree)]["result"]["degree"] for degree in ECHOES] == list(ECHOES)


def test_done_has_no_error_and_its_cost(outcomes: dict[str, Outcome]) -> None:
    done = outcomes["1"]
    assert (done["state"], done["error"], done["attempts"]) == ("done", None, 1)
    assert done["wall_s"] >= 0 and done["host"]


def test_exception_comes_back_as_data(outcomes: dict[str, Outcome]) -> None:
    failed = outcomes[str(RAISES)]
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert (failed["error"]["type"], failed["error"]["message"]) == ("ValueError", "thirteen")
    assert "misbehave" in failed["error"]["traceback"]


def test_exit_of_a_point_is_its_failure(outcomes: dict[str, Outcome]) -> None:
    assert outcomes[str(EXITS)]["error"]["type"] == "SystemExit"


def test_point_that_kills_its_worker_fails_after_its_retries(ray_outcomes: list[tuple[str, Outcome]]) -> None:
    failed = dict(ray_outcomes)[str(KILLS)]
    assert (failed["state"], failed["error"]["type"], failed["attempts"]) == ("failed", "WorkerDied", 3)


def test_points_run_in_other_processes(ray_outcomes: list[tuple[str, Outcome]]) -> None:
    pids = {outcome["result"]["pid"] for _, outcome in ray_outcomes if outcome["state"] == "done"}
    assert pids and os.getpid() not in pids
