"""Ray cannot start, or dies under a sweep: `auto` ends with all points done, `ray` says in one line what to set."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakePlace, Place

pytestmark = [pytest.mark.slow, pytest.mark.servers]

N_POINTS = 60
LONG = "x" * 80


@dataclasses.dataclass(frozen=True)
class Breakage:
    """What keeps Ray from starting: variables, words in front of the command, and what is said of it."""

    says: str
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    front: tuple[str, ...] = ()


def broken(name: str, folder: Path) -> Breakage:
    """Break Ray in one of five ways. Skips where this machine cannot."""
    if name == "long_tmpdir":
        (folder / LONG).mkdir()
        return Breakage("expected a shorter TMPDIR, for example RAY_TMPDIR=/tmp", {"RAY_TMPDIR": str(folder / LONG)})
    if name == "no_home":
        front = ("env", "--unset=RAY_AUTH_TOKEN_PATH")  # else nothing asks for a HOME
        return Breakage("expected a HOME and a TMPDIR that can be written to", {"HOME": "/proc/no/home"}, front)
    if name == "no_loopback":
        front = ("unshare", "--user", "--map-root-user", "--net")
        if subprocess.run([*front, "true"], capture_output=True).returncode:
            pytest.skip("no network namespaces")
        return Breakage("expected a loopback interface that is up", front=front)
    package = folder / "shadow"
    text = "raise ImportError('libray.so: cannot open')" if name == "not_importable" else SILENT
    (package / "ray").mkdir(parents=True)
    (package / "ray" / "__init__.py").write_text(text)
    says = "libray.so: cannot open" if name == "not_importable" else "no answer within 2 s"
    return Breakage(says, {"SHADOW": str(package), "THPSWEEP_TEST_START_S": "2"})


SILENT = """
import time
def init(**_): time.sleep(600)
def is_initialized(): return False
def shutdown(): pass
"""
BREAKAGES = ["long_tmpdir", "no_home", "no_loopback", "not_importable", "no_answer"]


def start(place: Place, how: Breakage, launcher: str) -> "subprocess.Popen[str]":
    """Start a driver that would hand over to Ray at once."""
    arguments = [str(place.points), str(place.root), launcher, "slow"]
    return place.run([*how.front, sys.executable, "-m", "tests.faults.driver", *arguments], **how.variables)


@pytest.mark.parametrize("name", BREAKAGES)
def test_auto_goes_on_in_the_driver_and_says_why(make_place: MakePlace, tmp_path: Path, name: str) -> None:
    place, how = make_place(name, N_POINTS), broken(name, tmp_path)
    driver = start(place, how, "eager_auto")
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert len(place.results()) == N_POINTS
    (line,) = [line for line in said.splitlines() if "Ray cannot start here" in line]
    assert how.says in line and line.endswith("going on without Ray, one point after the other")
    assert "Traceback" not in said


@pytest.mark.parametrize("name", BREAKAGES)
def test_ray_says_in_one_line_what_to_set(make_place: MakePlace, tmp_path: Path, name: str) -> None:
    place, how = make_place(name, 3), broken(name, tmp_path)
    driver = start(place, how, "ray")
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 2, said
    assert how.says in said.splitlines()[-1] and "Traceback" not in said
    assert place.count() == 0


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_ray_that_dies_is_started_anew(make_place: MakePlace, part: str) -> None:
    undisturbed, place = make_place("undisturbed", 300), make_place(part, 300)
    undisturbed.finish("serial", "slow")
    driver = place.start("ray", "slow")
    place.wait(lambda: place.count() >= 20, timeout_s=150)
    time.sleep(random.Random(part).uniform(0.0, 0.3))
    (victim,) = place.of_ray(driver.pid, part)
    os.kill(victim, signal.SIGKILL)
    killed_s = time.monotonic()
    _, said = driver.communicate(timeout=240)
    print(f"\n{part}: ended {time.monotonic() - killed_s:.0f} s after the kill")
    assert driver.returncode == 0, said
    assert "thpsweep: Ray has lost its" in said and "starting Ray anew" in said
    assert place.results() == undisturbed.results()


@pytest.mark.parametrize(
    ("launcher", "call"), [("ray", "nodes"), ("eager_auto", "remote"), ("ray", "get"), ("ray", "shutdown")]
)
def test_a_gcs_that_dies_within_a_call_holds_nobody_up(make_place: MakePlace, launcher: str, call: str) -> None:
    undisturbed, place = make_place("undisturbed", 60), make_place(call, 60)
    undisturbed.finish("serial", "slow")
    driver = place.start(launcher, "slow", KILLED_IN=f"gcs_server {call}")
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert "Traceback" not in said
    assert place.results() == undisturbed.results()


@pytest.mark.parametrize(("launcher", "delay_s"), [("ray", 0.5), ("eager_auto", 2.0)])
def test_a_gcs_that_dies_while_ray_starts_holds_nobody_up(make_place: MakePlace, launcher: str, delay_s: float) -> None:
    place = make_place(launcher, N_POINTS)
    driver = place.start(launcher, "slow", KILLED_IN_START=f"gcs_server {delay_s}")
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert "thpsweep: Ray has lost" in said and "Traceback" not in said
    assert len(place.results()) == N_POINTS
