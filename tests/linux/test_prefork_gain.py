"""What huge pages from before the fork save a gunicorn, measured, beside what the model predicts: jobs/prefork_gain.py."""

import functools
import importlib.util
import math
import sys
import time
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "jobs"
STARTS, ROUNDS = 6, 15
WORKERS = (1, 4, 16)
NEEDED_KIB = 8 << 20
EVIDENT, CERTAIN = 0.95, 0.999
"""Levels of what has to show, and of what has to be excluded to fail: Student's intervals over starts, whose ratios spread
as their rounds and their memory do. A machine that is busy widens them: less is excluded then, and more has to show."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed"),
]


@functools.cache
def job():
    """Import the script."""
    spec = importlib.util.spec_from_file_location("prefork_gain", JOBS / "prefork_gain.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def measured(memory, workers):
    available_kib = int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0])
    if available_kib < NEEDED_KIB:
        pytest.skip(f"{available_kib >> 20} GiB of memory are available, and {NEEDED_KIB >> 20} are needed")
    begun_s = time.monotonic()
    found = {one.workers: one for one in job().measure(workers, memory, STARTS, ROUNDS)}
    for one in found.values():
        print(f"\n{one}\npredicted {job().predicted(one, 'milan_vm')}")
    print(f"{STARTS} starts of {ROUNDS} rounds, {workers} workers: {time.monotonic() - begun_s:.0f} s")
    return found


def meets(interval, low, high):
    return interval[0] <= high and low <= interval[1]


@pytest.mark.parametrize("n_workers", WORKERS)
def test_the_predicted_interval_holds_what_pages_that_are_only_read_save(n_workers):
    """A second service of small pages is the control: it differs by noise, and huge pages by more than that."""
    found = measured("buffer", WORKERS)[n_workers]
    if not found.huge_bytes[0]:
        pytest.skip("MADV_COLLAPSE made no huge page here")
    assert meets(found.huge.interval(CERTAIN), *job().predicted(found, "milan_vm"))
    assert meets(found.again.interval(CERTAIN), 1, 1)
    assert found.huge.against(found.again, EVIDENT)[1] < 1


@pytest.mark.parametrize("n_workers", WORKERS[1:])
def test_the_price_of_a_walk_grows_with_the_page_tables_as_predicted(n_workers):
    found = measured("buffer", WORKERS)[n_workers]
    assert found.dearer is not None, "in some start huge pages saved nothing"
    low, high = job().dearer(n_workers, WORKERS[0], "milan_vm")
    print(f"\n{n_workers} workers: walks {found.dearer.median:.2f} times as dear, predicted {low:.2f} to {high:.2f}")
    assert meets(found.dearer.interval(CERTAIN), low, high)


def test_python_objects_lose_their_huge_pages_by_being_looked_up_and_save_nothing():
    """A look-up counts references: the first request splits nearly every PMD, in the model and in the kernel."""
    found = measured("objects", (4,))[4]
    assert found.huge_bytes[1] < 0.05 * job().PRELOAD_MIB * (1 << 20)
    assert job().predicted(found, "milan_vm") == (1.0, 1.0)
    assert meets(found.huge.interval(CERTAIN), 1, 1)


def test_the_interval_of_a_mean_over_starts_is_students():
    """Four starts, logarithms -0.1, 0, 0, 0.1: a deviation of sqrt(0.02 / 3), 3.182 of its standard errors at 95 %."""
    low, high = job().interval([-0.1, 0.0, 0.0, 0.1], 0.95)
    half = 3.182446 * math.sqrt(0.02 / 3) / 2
    assert (math.log(low), math.log(high)) == pytest.approx((-half, half), rel=1e-6)
