"""The journal keeps what was appended, whatever happened around it."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thpsweep.errors import SweepError
from thpsweep.sweep import journal

HEADER = {"type": "sweep", "format": 1, "sweep": "s1", "name": "n", "n_points": 2}
POINTS = [{"type": "point", "id": key, "index": i, "params": {}, "point": {}} for i, key in enumerate("ab")]


def result(key: str, state: str = "done", value: Any = 1.0) -> dict[str, Any]:
    return {"type": "result", "id": key, "state": state, "result": {"x": value}, "error": None}


def write(directory: Path, *records: dict[str, Any]) -> journal.Sweep:
    with journal.writing(directory, HEADER, POINTS) as (log, found):
        for record in records:
            log.append(record)
    return found


def test_reads_back_what_was_written_in_order(tmp_path: Path) -> None:
    write(tmp_path, result("b"), result("a"))
    sweep = journal.read(tmp_path)
    assert (sweep.header, list(sweep.points), list(sweep.results)) == (HEADER, ["a", "b"], ["b", "a"])


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1, 1e-300])
def test_numbers_come_back_equal(tmp_path: Path, value: float) -> None:
    write(tmp_path, result("a", value=value))
    assert journal.read(tmp_path).results["a"]["result"]["x"] == value


def test_nan_comes_back(tmp_path: Path) -> None:
    write(tmp_path, result("a", value=math.nan))
    assert math.isnan(journal.read(tmp_path).results["a"]["result"]["x"])


def test_last_result_of_a_point_counts(tmp_path: Path) -> None:
    write(tmp_path, result("a", "failed"), result("b", "failed"), result("a"))
    assert journal.read(tmp_path).done == {"a"}


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_torn_last_line_is_cut_and_its_point_is_open_again(tmp_path: Path, lost: int) -> None:
    write(tmp_path, result("a"), result("b"))
    file = tmp_path / journal.FILE_NAME
    file.write_bytes(file.read_bytes()[:-lost])
    assert journal.read(tmp_path).done == {"a"}
    assert write(tmp_path, result("b")).done == {"a"}
    assert journal.read(tmp_path).done == {"a", "b"}


def test_plan_cut_short_is_completed(tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / journal.FILE_NAME
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:5])
    write(tmp_path)
    assert file.read_bytes() == b"".join(lines)


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    write(tmp_path, result("a"))
    file = tmp_path / journal.FILE_NAME
    file.write_bytes(file.read_bytes().replace(b'"point"', b'"po\x00nt"', 1))
    with pytest.raises(SweepError, match="line 2"):
        journal.read(tmp_path)


def test_another_sweep_in_the_same_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(SweepError, match="another sweep"), journal.writing(tmp_path, {**HEADER, "sweep": "s2"}, POINTS):
        pass


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with journal.writing(tmp_path, {**HEADER, "format": 1}, POINTS):
        pass
    file = tmp_path / journal.FILE_NAME
    file.write_bytes(file.read_bytes().replace(b'"format": 1', b'"format": 9', 1))
    with pytest.raises(SweepError, match="format 9"):
        journal.read(tmp_path)


def test_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from thpsweep.sweep import journal; from thpsweep.errors import SweepError\n"
        "path = pathlib.Path(sys.argv[1]); journal.read(path)\n"
        "try:\n  journal.writing(path, {'sweep': 's1'}, []).__enter__()\n"
        "except SweepError as error: print(error)"
    )
    with journal.writing(tmp_path, HEADER, POINTS):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "already being run by process" in other.stdout


def test_a_folder_that_cannot_be_written_is_refused_by_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    directory = tmp_path / "file" / "sweep-1"
    with pytest.raises(SweepError, match=r"sweep\.dir=.*allowed is a folder that can be written to"):
        write(directory)
