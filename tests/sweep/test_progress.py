"""Does progress count, predict sensibly when points come in bursts, and keep to a line now and then?"""

import io
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from thpsweep.sweep.driver import progress
from thpsweep.sweep.driver.memory import family_bytes
from thpsweep.sweep.records.pace import Pace, duration


def paced(times_s: list[float]) -> Pace:
    """Let a point end at each time."""
    pace = Pace()
    for at_s in times_s:
        pace.add(at_s)
    return pace


def test_lines_count_points_failures_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.progress(lambda: 3) as meter:
        meter("done")
        meter("failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/3 points, ") and lines[1].startswith("2/3 points, 1 failed, ")
    assert all("MiB" in line for line in lines)


def test_nothing_is_said_more_often_than_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(lambda: 100) as meter:
        for _ in range(100):
            meter("done")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=120, color_system=None)
    )
    with progress.progress(lambda: 2) as meter:
        meter("done")
        meter("timeout")
    assert "2/2" in screen.getvalue() and "1 failed" in screen.getvalue() and "MiB" in screen.getvalue()


def test_a_steady_stream_is_predicted() -> None:
    pace = paced([number / 10 for number in range(200)])
    assert pace.per_s(19.9) == pytest.approx(10, rel=0.02)
    assert pace.left_s(19.9, 100) == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("late_s", [0.0, 3.0, 6.9])
def test_bursts_are_predicted_as_their_mean_until_one_is_late(late_s: float) -> None:
    times_s = [7.0 * burst + 0.001 * point for burst in range(6) for point in range(50)]
    pace, now_s = paced(times_s), times_s[-1] + late_s
    assert pace.per_s(now_s) == pytest.approx(50 / 7)
    assert pace.left_s(now_s, 500) == pytest.approx(70 - late_s, abs=0.1)


def test_a_burst_that_does_not_come_lowers_the_pace() -> None:
    pace = paced([7.0 * burst for burst in range(6)])
    assert pace.per_s(35.0 + 70.0) == pytest.approx(5 / 98)


def test_one_burst_says_nothing_of_the_next() -> None:
    pace = paced([0.0, 0.1, 0.2])
    assert pace.per_s(60.0) is None and pace.words(60.0, 10) == ""


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    slow, fast = [5.0 * number for number in range(100)], [495.0 + number for number in range(1, 60)]
    assert paced(slow + fast).per_s(554.0) == pytest.approx(1.0, rel=0.02)


def test_heavy_points_are_predicted_though_few_end_in_half_a_minute() -> None:
    assert paced([600.0 * number for number in range(8)]).per_s(4200.0) == pytest.approx(1 / 600)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (864_000, "10 days")]
)
def test_durations_are_written_in_a_unit_that_suits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_memory_is_that_of_a_process_and_its_children() -> None:
    held = 64 << 20
    code = f"import time; held = bytearray({held}); print('holds', flush=True); time.sleep(60)"
    before = family_bytes()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"holds\n"
        mine = np.ones(held, np.uint8)
        grown = family_bytes() - before
    finally:
        child.kill()
        child.communicate()
    assert 2 * held <= grown < 2 * held + (32 << 20) and mine.all()
