"""Two calibrations of one machine agree where their rounds meet."""

from pathlib import Path

import pytest

from tests.linux.live import bench_or_skip
from thpsweep.cli import main
from thpsweep.errors import LiveError
from thpsweep.linux.calibrate.agree import disagreements
from thpsweep.linux.calibrate.prices import PRICES
from thpsweep.linux.calibrate.rounds import Calibration, Figure
from thpsweep.linux.calibrate.write import text
from thpsweep.linux.prototype.derive import DERIVABLE
from thpsweep.profiles import default_file, load


def written(folder: Path, name: str, **figures: Figure) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text(name, Calibration(dict(figures), {}), load(default_file())))
    return path


@pytest.mark.parametrize(
    ("low", "high", "agrees"),
    [(400.0, 440.0, True), (452.0, 500.0, True), (475.0, 500.0, False), (300.0, 375.0, False), (300.0, 382.0, True)],
)
def test_rounds_that_meet(tmp_path, low: float, high: float, agrees: bool) -> None:
    one = written(tmp_path, "one", copy_page_ns=Figure(420.0, 400.0, 450.0, 5), ipi_ns=Figure(9.0, 8.0, 10.0, 5))
    other = written(
        tmp_path, "other", copy_page_ns=Figure((low + high) / 2, low, high, 5), clear_page_ns=Figure(2.0, 1.0, 3.0, 5)
    )
    found, compared = disagreements(one, other)
    assert compared == 1 and (found == []) == agrees
    assert agrees or found[0].startswith("copy_page_ns: 420 (400..450) and ")


def test_every_measured_line_is_read(tmp_path) -> None:
    """A difference that was 0 in a round has no ratio, a size of memory many digits."""
    figures = {price.key: Figure(5.0, 0.0, 9.0, 3) for price in PRICES}
    figures["memory_bytes"] = Figure(25_276_502_016.0, 25_276_502_016.0, 25_276_502_016.0, 3)
    path = written(tmp_path, "one", **figures)
    by_instructions = DERIVABLE.keys() & {price.key for price in PRICES}  # a range, but not of rounds
    assert disagreements(path, path) == ([], len(PRICES) - len(by_instructions))


def test_a_profile_without_rounds_is_refused() -> None:
    with pytest.raises(LiveError, match="expected two profiles"):
        disagreements(default_file(), default_file())


def test_against_needs_a_file_to_write(tmp_path, capsys) -> None:
    one = written(tmp_path, "one", copy_page_ns=Figure(420.0, 400.0, 450.0, 5))
    for words in (["--against", str(one)], ["--out", str(tmp_path / "a.yaml"), "--against", str(default_file())]):
        with pytest.raises(SystemExit) as end:
            main(["calibrate", *words])
        assert end.value.code == 2 and "expected" in capsys.readouterr().err


@pytest.mark.live
@pytest.mark.alone
@pytest.mark.slow
def test_a_calibration_agrees_with_itself(tmp_path, capsys, monkeypatch) -> None:
    """Three rounds each, for their time; a few figures may have met something else that the machine does."""
    with bench_or_skip("frames", "tracefs", "khugepaged", "swap"):
        pass
    monkeypatch.setattr("thpsweep.linux.calibrate.command._ROUNDS", 3)
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for words in (["--out", str(first)], ["--out", str(second), "--against", str(first)]):
        with pytest.raises(SystemExit) as end:
            main(["calibrate", *words])
        assert end.value.code in (0, 1)
    found, compared = disagreements(first, second)
    print(compared, found)
    assert compared >= 25 and len(found) <= compared // 6
    assert f"{compared - len(found)} of {compared} figures agree" in capsys.readouterr().out
