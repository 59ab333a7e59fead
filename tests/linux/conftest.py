"""Families of processes to capture, and what a machine must have for that."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thpsweep.errors import CaptureError
from thpsweep.linux.capture.capture import hidden_frames
from thpsweep.linux.live.settings import THP, chosen

FAMILY = Path(__file__).parent / "family.py"


@pytest.fixture
def frames_are_shown():
    """Skip where frame numbers cannot be read: not root, a user namespace, no pagemap."""
    try:
        why = hidden_frames()
    except CaptureError as error:
        why = str(error)
    if why:
        pytest.skip(why)


@pytest.fixture
def family(frames_are_shown):
    """Start families by name; they end when the test does. Skip where memory is huge by itself."""
    if (THP / "enabled").exists() and chosen(THP / "enabled") == "always":
        pytest.skip("transparent_hugepage/enabled is always: small pages cannot be had without forbidding huge ones")
    with contextlib.ExitStack() as stack:

        def start(name):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, FAMILY, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            stack.callback(process.stdin.close)
            assert process.stdout.readline() == b"ready\n"
            return process

        yield start


@pytest.fixture
def thp():
    """Skip where no huge page can be had by madvise."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[never]" in setting.read_text():
        pytest.skip("transparent huge pages are off")


@pytest.fixture
def nobody():
    """Give the user id of nobody, to whom a process of ours can change; skip if we are not root."""
    if os.geteuid() != 0:
        pytest.skip("not root: cannot change to another user")
    return 65534
