"""Is what cannot be seen while watching found out, and said?"""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.linux.watching import (
    WORKER_COLD,
    family_of_two,
    watched_while,
)
from thpsweep.errors import CaptureError
from thpsweep.linux.activity import checks, judge, reads
from thpsweep.linux.activity.faults import Faults, tracing

pytestmark = [pytest.mark.live, pytest.mark.alone]


def test_a_clear_refs_that_does_nothing_is_found_out(frames_are_shown, monkeypatch):
    monkeypatch.setattr(reads, "clear", lambda pid, what: None)
    assert "smaps says" in checks.young()
    assert "soft-dirty" in checks.soft_dirty()


def test_traced_faults_that_do_not_come_are_found_out(frames_are_shown, monkeypatch):
    monkeypatch.setattr(checks, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(Faults, "follow", lambda self, pids: None)
    monkeypatch.setattr(Faults, "drain", lambda self: None)
    try:
        with tracing() as tracer:
            assert "not all were told of" in checks.faults(tracer)
    except CaptureError as error:
        pytest.skip(str(error))


def test_a_pagemap_that_shows_no_copies_is_found_out(frames_are_shown, monkeypatch):
    monkeypatch.setattr(checks.Scratch, "write", lambda self, n_pages: None)
    with pytest.raises(CaptureError, match="writes cannot be watched"):
        checks.zero_frame()


def test_without_tracefs_it_says_what_is_not_seen(live, monkeypatch):
    @contextlib.contextmanager
    def refused():
        raise CaptureError("tracefs is not mounted and cannot be")
        yield

    monkeypatch.setattr("thpsweep.linux.activity.watch.tracing", refused)
    root, _, _ = family_of_two(live)
    found = judge.judge(watched_while(root, lambda: None))
    assert any("came or went" in sentence and "tracefs" in sentence for sentence in found.unseen)
    assert WORKER_COLD in found.rates


def test_nothing_of_the_trace_stays_behind(frames_are_shown):
    try:
        with tracing() as tracer:
            home = tracer.home
            assert home.is_dir()
    except CaptureError as error:
        pytest.skip(str(error))
    assert not home.exists()


def test_a_root_that_ends_meanwhile(live):
    root, _, _ = family_of_two(live)

    def end_it():
        os.kill(root.pid, signal.SIGKILL)
        while reads_as_alive(root.pid):  # a signal takes its time where CPUs are busy
            time.sleep(0.01)

    with pytest.raises(CaptureError, match="ended while it was watched"):
        watched_while(root, end_it)


def reads_as_alive(pid):
    """Tell whether a process has memory still."""
    try:
        return bool(Path(f"/proc/{pid}/maps").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return False
