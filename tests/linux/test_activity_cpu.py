"""Is a tree's CPU time told: who took it, and whether it was steady?"""

import os
import subprocess
import sys
import time

import pytest

from thpsweep.linux.activity.cpu import CpuWatch
from thpsweep.linux.live.settings import Settings, are_held
from thpsweep.linux.proc.room import available

pytestmark = pytest.mark.live

BUSY_CHILD = """
import os, time
if os.fork() == 0:
    until = time.process_time() + 0.3
    while time.process_time() < until: pass
    os._exit(0)
print(flush=True)
os.wait()
print(flush=True)
time.sleep(60)
"""


def test_what_a_child_took_counts_after_it_has_ended():
    with subprocess.Popen([sys.executable, "-c", BUSY_CHILD], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            watch = CpuWatch(process.pid, True)
            watch.look()
            process.stdout.readline()
            watch.look()
            took_s = watch.moments[1].at_s - watch.moments[0].at_s
            time.sleep(0.1)
            watch.look()
        finally:
            process.kill()
    facts = watch.facts()
    whole_s = watch.moments[2].at_s - watch.moments[0].at_s
    assert facts["cpu_others_us_per_s"] * whole_s == pytest.approx(0.3e6, rel=0.25)
    assert facts["cpu_root_us_per_s"] < 0.1e6
    assert facts["cpu_least_part_us_per_s"] < 0.1e6 < facts["cpu_most_part_us_per_s"] <= 0.35e6 / took_s


def test_nothing_is_said_without_a_window():
    watch = CpuWatch(os.getppid(), False)
    watch.look()
    assert watch.facts() == {}


def test_whether_the_settings_are_held(monkeypatch, tmp_path):
    monkeypatch.setattr("thpsweep.linux.live.settings.tempfile.gettempdir", lambda: str(tmp_path))
    assert not are_held()
    with Settings():
        assert are_held()
    assert not are_held()


def test_memory_that_a_process_may_get():
    n_bytes, whose = available(os.getpid())
    assert 0 < n_bytes < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") and whose
