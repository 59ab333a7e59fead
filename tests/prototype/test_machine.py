"""A test machine that dies, hangs or is stopped is told in one line, and leaves no process behind."""

import subprocess
import time

import pytest

from tests.prototype.emulator import built, stand_in
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.machine import run


def lines(tmp_path, timeout_s=10.0):
    return run(built(tmp_path), "check", tmp_path, (), timeout_s)


def test_lines_come_as_they_are_printed(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "echo 'ok one'; echo 'done failures=0'")
    assert list(lines(tmp_path)) == ["ok one", "done failures=0"]


def test_a_machine_that_dies_is_an_error(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "echo 'ok one'; echo 'Kernel panic - not syncing'")
    with pytest.raises(PrototypeError, match="died; its last line: Kernel panic"):
        list(lines(tmp_path))


def test_a_machine_that_hangs_is_ended(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "echo 'ok one'; exec sleep 60")
    begun = time.monotonic()
    with pytest.raises(PrototypeError, match="did not end within 1 s; its last line: ok one"):
        list(lines(tmp_path, 1.0))
    assert time.monotonic() - begun < 30


def test_whoever_stops_listening_ends_the_machine(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, f"echo $$ > {tmp_path}/pid; echo 'ok one'; exec sleep 60")
    kernel_results = lines(tmp_path)
    assert next(kernel_results) == "ok one"
    kernel_results.close()
    pid = (tmp_path / "pid").read_text().strip()
    assert subprocess.run(["kill", "-0", pid], capture_output=True, check=False).returncode == 1
