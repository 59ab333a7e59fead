"""`thpsweep advise` and `collapse` on preforking services: a gunicorn, loaded and idle, and a pool that loads data.

Memory that collapsing takes is held against what was predicted. Its CPU time is printed beside the interval that was, and
not asserted: on a VM whose host gives memory at its first touch a huge page took 7.6 and 8.7 ms, and 4.3 and 2.3 ms after
as much memory had been touched and given back, where 0.6 to 0.9 were predicted. CPU time a request, before and after, is
printed beside the gain that was predicted: a single start does not decide on it; test_prefork_gain.py does.
"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jobs import prefork_gain
from tests.linux.advised import advise, applied_and_undone, collapsed, predicted_cpu_ms, row_of
from thpsweep.linux.trial import warm

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone]

WORKERS = 6
NEEDED_MIB = 5000
"""Of 300 MiB that are loaded, each of seven processes may take a copy."""

LOADER = Path(__file__).parent / "loader.py"
FIRST_WORDS = ("Do this: ", "Do nothing: ", "Measure this first: ")


@pytest.fixture
def gunicorn(frames_are_shown, madvised, tmp_path):
    """Start a gunicorn that leaves huge pages to whoever asks for them."""
    if importlib.util.find_spec("gunicorn") is None:
        pytest.skip("gunicorn is not installed")
    needs_memory()
    with prefork_gain.service(tmp_path / "socket", "as_set", WORKERS, "buffer") as service:
        yield service


def needs_memory():
    available_kib = int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0])
    if available_kib < NEEDED_MIB << 10:
        pytest.skip(f"{available_kib >> 10} MiB of memory are available, and {NEEDED_MIB} are needed")


def show(interval, took):
    print(f"CPU of collapsing: {took.cpu_ms:.0f} ms, predicted {interval[0]:.0f} to {interval[1]:.0f} ms")


@contextlib.contextmanager
def load(service):
    """Have a client that asks again and again."""
    over = threading.Event()

    def ask():
        while not over.is_set():
            service.get()

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        over.set()
        client.join()


def test_a_loaded_gunicorn_gets_an_action_and_collapse_takes_what_was_predicted(gunicorn, madvised, tmp_path):
    gunicorn.us_per_request(200)
    before_us = gunicorn.us_per_request(400)
    with load(gunicorn):
        said = advise(tmp_path, gunicorn.pid)
        assert said.startswith(FIRST_WORDS) and f"{WORKERS + 1} processes" in said
        assert not said.startswith("Measure this first: put its usual load on it")
        with madvised.section() if madvised else contextlib.nullcontext():
            assert applied_and_undone(said) >= 1
        predicted = row_of(said, "MADV_COLLAPSE by all")
        warm(int(predicted.more_mib) << 20)
        took = collapsed(gunicorn.pid)
    after_us = gunicorn.us_per_request(400)
    saved = f"{100 * (1 - after_us / before_us):+.1f} % saved"
    print(
        f"CPU a request: {before_us:.0f} us before, {after_us:.0f} us after ({saved}); "
        f"predicted for a tree with this load: {predicted.saves_percent:+.2g} %"
    )
    show(predicted_cpu_ms(tmp_path, "MADV_COLLAPSE by all"), took)
    assert took.found_mib == pytest.approx(took.planned_mib, abs=4.0)
    assert took.found_mib == pytest.approx(predicted.more_mib, rel=0.15, abs=4.0)


def test_an_idle_gunicorn_is_to_be_measured_first_or_left_alone(gunicorn, tmp_path):
    said = advise(tmp_path, gunicorn.pid, seconds=4)
    first, why = said.splitlines()[:2]
    assert first.startswith("Measure this first: put its usual load on it") and "idle" in why


def test_a_pool_that_loads_data_is_collapsed_as_predicted(frames_are_shown, madvised, tmp_path):
    needs_memory()
    command = [sys.executable, str(LOADER), "200", "4"]
    small = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # NumPy (2.x) asks for huge pages for large arrays by itself
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=small, start_new_session=True) as parent:
        try:
            assert parent.stdout.readline()
            said = advise(tmp_path, parent.pid)
            assert said.startswith(FIRST_WORDS) and "5 processes" in said
            predicted = row_of(said, "MADV_COLLAPSE by all")
            warm(int(predicted.more_mib) << 20)
            took = collapsed(parent.pid)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)  # workers wait in put() for a parent that is gone
    show(predicted_cpu_ms(tmp_path, "MADV_COLLAPSE by all"), took)
    assert took.found_mib == pytest.approx(took.planned_mib, abs=8.0)  # batches come and go
    assert took.found_mib == pytest.approx(predicted.more_mib, rel=0.15, abs=8.0)
