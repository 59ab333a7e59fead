"""Families of processes to capture, and what a machine must have for that."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.linux.live import PATIENCE_S
from thpsweep.errors import CaptureError, LiveError
from thpsweep.linux.capture.capture import hidden_frames
from thpsweep.linux.live import build
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.settings import THP, Settings, huge_by_madvise_only

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
def madvised():
    """Have memory huge only where it is asked for, whatever the machine's settings; skip where that cannot be had.

    Gives the settings, of which there is one holder at a time on a machine; None where the kernel has no huge pages.
    """
    with contextlib.ExitStack() as stack:
        settings = None
        try:
            if THP.exists():
                settings = stack.enter_context(Settings(PATIENCE_S))
                huge_by_madvise_only(settings)
        except LiveError as error:
            pytest.skip(str(error))
        yield settings


@pytest.fixture
def thp_always(madvised):
    """Give what enables huge pages always for a while; skip where they cannot be had, or not be set."""

    @contextlib.contextmanager
    def always():
        if madvised is None:
            pytest.skip("this kernel has no transparent huge pages")
        with madvised.section():
            try:
                madvised.set(THP / "enabled", "always")
            except LiveError as error:
                pytest.skip(str(error))
            yield

    return always


@pytest.fixture
def family(frames_are_shown, madvised):
    """Start families by name; they end when the test does."""
    with contextlib.ExitStack() as stack:

        def start(name):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, FAMILY, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            stack.callback(process.stdin.close)
            line = process.stdout.readline().decode().strip()
            if line.startswith("this kernel has no"):
                pytest.skip(line)
            assert line == "ready"
            return process

        yield start


@pytest.fixture
def thp(madvised):
    """Skip where no huge page can be had by madvise."""
    if not THP.exists():
        pytest.skip("this kernel has no transparent huge pages")


@pytest.fixture
def nobody():
    """Give the user id of nobody, to whom a process of ours can change; skip if we are not root."""
    if os.geteuid() != 0:
        pytest.skip("not root: cannot change to another user")
    return 65534


@pytest.fixture
def live(frames_are_shown, madvised):
    """Start processes that do what they are told to, one family."""
    if build.compiler() is None:
        pytest.skip("no C compiler")
    with LiveFamily() as family:
        yield family
