"""The journal keeps what was appended, whatever happened around it."""

import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from thpsweep.errors import SweepError
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.writer import DAMAGED_NAME, writing

HEADER = {"type": "sweep", "format": journal.FORMAT, "sweep": "s1", "name": "n", "n_points": 2}
POINTS = [{"type": "point", "id": key, "index": i, "params": {}, "point": {}} for i, key in enumerate("ab")]


def result(key: str, state: str = "done", value: Any = 1.0) -> dict[str, Any]:
    return {"type": "result", "id": key, "state": state, "result": {"x": value}, "error": None}


def write(directory: Path, *records: dict[str, Any]) -> journal.Sweep:
    with writing(directory, HEADER, POINTS) as (log, found):
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


def flipped(file: Path, at: int, bit: int) -> None:
    """Flip one bit of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_anywhere_in_a_line_is_found(bit: int) -> None:
    line = bytearray(journal.sealed(result("a")))
    for at in range(len(line)):
        line[at] ^= 1 << bit
        assert journal.unsealed(bytes(line)) is None
        line[at] ^= 1 << bit
    assert json.loads(journal.unsealed(bytes(line)) or b"") == result("a")


def test_lines_stay_json_that_grep_and_jq_read(tmp_path: Path) -> None:
    write(tmp_path, result("a"))
    *_, last = (tmp_path / journal.FILE_NAME).read_text().splitlines()
    assert {**json.loads(last), "crc32": None} == {**result("a"), "crc32": None}


@pytest.mark.parametrize("damaged", [0, 1, 2, 3, 4], ids=["header", "point", "point", "result", "last result"])
def test_damage_is_reported_kept_and_done_again(
    tmp_path: Path, damaged: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, result("a"), result("b"))
    file = tmp_path / journal.FILE_NAME
    lines = file.read_bytes().splitlines(keepends=True)
    flipped(file, sum(map(len, lines[:damaged])) + 20, 3)
    broken = file.read_bytes().splitlines(keepends=True)[damaged]
    found = write(tmp_path)
    assert f"record {damaged + 1}; moved to {DAMAGED_NAME}" in capsys.readouterr().err
    assert (tmp_path / DAMAGED_NAME).read_bytes() == broken
    assert found.done == {0: {"a", "b"}, 1: {"a", "b"}, 2: {"a", "b"}, 3: {"b"}, 4: {"a"}}[damaged]
    assert (found.header, list(found.points)) == (HEADER, ["a", "b"])
    assert found.points["a"] == POINTS[0]
    write(tmp_path)
    assert capsys.readouterr().err == ""


def test_readers_pass_over_damage(tmp_path: Path) -> None:
    write(tmp_path, result("a"), result("b"))
    file = tmp_path / journal.FILE_NAME
    flipped(file, file.read_bytes().index(b'"done"'), 0)
    assert journal.read(tmp_path).done == {"b"}


def test_a_reader_goes_on_from_where_it_was(tmp_path: Path) -> None:
    write(tmp_path, result("a"))
    read = list(journal.records(tmp_path))
    assert [record for _, record in read] == [HEADER, *POINTS, result("a")]
    end = read[-1][0]
    assert list(journal.records(tmp_path, end)) == []
    file = tmp_path / journal.FILE_NAME
    with file.open("ab") as log:
        log.write(journal.sealed(result("b"))[:-9])
    assert list(journal.records(tmp_path, end)) == []
    flipped(file, 20, 1)
    write(tmp_path, result("b"))
    assert [record for _, record in journal.records(tmp_path, end)] == [HEADER, result("b")]


def test_heads_are_the_beginnings_of_records(tmp_path: Path) -> None:
    known = {"state": "done", "finished": "2026-01-01T00:00:00.5+00:00"}
    made = {"type": "result", "id": "a", **known, "result": {"state": "failed"}, "error": None}
    otherwise = {"type": "result", "id": "b", "result": {}, **known}
    write(tmp_path, made, otherwise)
    found = dict(journal.heads(tmp_path))
    whole = dict(journal.records(tmp_path))
    assert list(found) == list(whole)
    *others, short, long = found.values()
    assert (others, long) == ([HEADER, *POINTS], otherwise)
    assert short == {"type": "result", "id": "a", **known}
    assert journal.read(tmp_path).states == {"a": "done", "b": "done"}


def test_a_damaged_end_of_a_line_is_found_where_only_its_head_is_read(tmp_path: Path) -> None:
    write(tmp_path, {**result("a"), "finished": "2026"})
    file = tmp_path / journal.FILE_NAME
    flipped(file, file.stat().st_size - 30, 0)
    assert [record["type"] for _, record in journal.heads(tmp_path)] == ["sweep", "point", "point"]


def test_a_failed_write_leaves_whole_lines_only(tmp_path: Path) -> None:
    write(tmp_path, result("a"))
    file = tmp_path / journal.FILE_NAME
    before = file.read_bytes()
    code = (
        "import pathlib, resource, sys; from tests.sweep.test_journal import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "try:\n  write(pathlib.Path(sys.argv[1]), result('b'))\n"
        "except OSError as error: print(error.strerror)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(len(before) + 50)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (other.stdout, file.read_bytes()) == ("File too large\n", before)


def test_memory_does_not_hold_the_results(tmp_path: Path) -> None:
    large = {**result("a"), "result": {"x": [0.5] * 100_000}}
    write(tmp_path, large)
    tracemalloc.start()
    sweep = journal.read(tmp_path)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < 10_000 and sweep.results["a"] == large


def test_another_sweep_in_the_same_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(SweepError, match="another sweep"), writing(tmp_path, {**HEADER, "sweep": "s2"}, POINTS):
        pass


@pytest.mark.parametrize(
    "line", [journal.sealed({**HEADER, "format": 9}), b'{"type": "sweep", "format": 1, "sweep": "s1"}\n']
)
def test_unknown_format_is_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / journal.FILE_NAME).write_bytes(line)
    for open_it in (lambda: journal.read(tmp_path), lambda: write(tmp_path)):
        with pytest.raises(SweepError, match=r"format [91]; this version reads 2"):
            open_it()
    assert (tmp_path / journal.FILE_NAME).read_bytes() == line


def test_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from thpsweep.sweep.records import journal, writer; from thpsweep.errors import SweepError\n"
        "path = pathlib.Path(sys.argv[1]); journal.read(path)\n"
        "try:\n  writer.writing(path, {'sweep': 's1'}, []).__enter__()\n"
        "except SweepError as error: print(error)"
    )
    with writing(tmp_path, HEADER, POINTS):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "already being run by process" in other.stdout


def test_a_folder_that_cannot_be_written_is_refused_by_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    directory = tmp_path / "file" / "sweep-1"
    with pytest.raises(SweepError, match=r"sweep\.dir=.*expected a folder that can be written to"):
        write(directory)
