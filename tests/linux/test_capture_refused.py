"""What cannot be captured is refused in one line, and a tree that changes meanwhile is captured as far as it can be."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.linux.family import ROOT, G
from thpsweep.errors import CaptureError
from thpsweep.linux.capture import capture as capture_module
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.proc import tree

pytestmark = pytest.mark.live


def comm(pid):
    name = Path(f"/proc/{pid}/comm")
    return name.read_text() if name.exists() else ""


def refused(pid, match):
    with pytest.raises(CaptureError, match=match) as caught:
        capture(pid)
    assert "\n" not in str(caught.value)


def test_no_such_process(frames_are_shown):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    refused(process.pid, f"pid {process.pid}: no such process")


def test_a_zombie(frames_are_shown):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        refused(process.pid, "has ended already")


def test_a_kernel_thread(frames_are_shown):
    if comm(2) != "kthreadd\n":
        pytest.skip("pid 2 is not kthreadd here (a pid namespace)")
    refused(2, "pid 2: a kernel thread has no memory of its own")


def test_nothing_to_capture(frames_are_shown):
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            while comm(process.pid) != "sleep\n":
                time.sleep(0.01)
            refused(process.pid, "no 2 MiB region of private anonymous memory")
        finally:
            process.kill()


def test_the_root_ends_meanwhile(family, monkeypatch):
    process = family("family")

    def end_it(*arguments):
        process.send_signal(signal.SIGKILL)
        process.wait()
        return {}

    monkeypatch.setattr(capture_module, "describe", end_it)
    refused(process.pid, "ended while it was captured")


def test_a_child_that_ends_meanwhile_is_left_out(family, monkeypatch):
    process = family("family")
    describe = capture_module.describe

    def end_g(listed):
        for leaf in listed.processes[G:]:
            os.kill(leaf.pid, signal.SIGKILL)
        return describe(listed)

    monkeypatch.setattr(capture_module, "describe", end_g)
    assert capture(process.pid).parent.tolist() == [ROOT, ROOT, ROOT]


def test_descendants_that_never_hold_still(family, monkeypatch):
    process = family("family")

    def gone(*arguments):
        raise tree.VanishedError(0)

    monkeypatch.setattr(capture_module, "_capture", gone)
    refused(process.pid, "descendants end faster")


def test_other_page_sizes(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 65536)
    refused(os.getpid(), "pages of 4096 bytes, this kernel has 65536")


def test_other_systems(monkeypatch):
    monkeypatch.setattr(sys, "platform", "freebsd14")
    refused(os.getpid(), "needs Linux, this is freebsd14")
