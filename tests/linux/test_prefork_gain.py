"""What huge pages from before the fork save a gunicorn, measured, beside what the model predicts: jobs/prefork_gain.py."""

import functools
import importlib.util
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "jobs"
STARTS, ROUNDS = 4, 21
NEEDED_KIB = 8 << 20

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
def measured(n_workers, memory):
    available_kib = int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0])
    if available_kib < NEEDED_KIB:
        pytest.skip(f"{available_kib >> 20} GiB of memory are available, and {NEEDED_KIB >> 20} are needed")
    found = job().measure(n_workers, memory, STARTS, ROUNDS)
    print(f"\n{found}\npredicted {job().predicted(found, 'milan_vm')}")
    return found


def meets(ratio, low, high):
    return ratio.low <= high and low <= ratio.high


@pytest.mark.parametrize("n_workers", [1, 4, 16])
def test_the_predicted_interval_holds_what_pages_that_are_only_read_save(n_workers):
    """A second service of small pages is the control: it differs by noise, and huge pages by twice as much at least."""
    found = measured(n_workers, "buffer")
    if not found.huge_bytes[0]:
        pytest.skip("MADV_COLLAPSE made no huge page here")
    low, high = job().predicted(found, "milan_vm")
    assert low <= found.huge.median <= high
    assert 2 * abs(found.again.median - 1) < 1 - found.huge.median and found.huge.high < found.again.low


@pytest.mark.parametrize("n_workers", [4, 16])
def test_the_price_of_a_walk_grows_with_the_page_tables_as_predicted(n_workers):
    first, found = measured(1, "buffer"), measured(n_workers, "buffer")
    low, high = job().dearer(n_workers, 1, "milan_vm")
    assert low <= found.walks_us / first.walks_us <= high


def test_python_objects_lose_their_huge_pages_by_being_looked_up_and_save_nothing():
    """A look-up counts references: the first request splits nearly every PMD, in the model and in the kernel."""
    found = measured(4, "objects")
    assert found.huge_bytes[1] < 0.05 * job().PRELOAD_MIB * (1 << 20)
    assert job().predicted(found, "milan_vm") == (1.0, 1.0)
    assert meets(found.huge, 0.97, 1.03)
