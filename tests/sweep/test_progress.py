"""Without a terminal progress is a plain line now and then."""

import pytest

from thpsweep.sweep import progress


def test_lines_count_points_failures_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.progress(3) as meter:
        meter("done")
        meter("failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/3 points") and lines[1].startswith("2/3 points, 1 failed, ")


def test_nothing_is_said_more_often_than_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(100) as meter:
        for _ in range(100):
            meter("done")
    assert capsys.readouterr().err == ""
