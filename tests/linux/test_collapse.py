"""`thpsweep collapse` on a living server: what it plans, what the kernel makes of it, and what it refuses."""

import ctypes
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thpsweep.errors import OptionError
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.collapse import call, limits
from thpsweep.linux.collapse.apply import apply
from thpsweep.linux.collapse.plan import PlannedRegion
from thpsweep.linux.proc.tree import family

SERVER = Path(__file__).parent / "prefork.py"
REGIONS, WORKERS = 4, 2
MIB = 1 << 20
THPSWEEP = [sys.executable, "-m", "thpsweep", "collapse"]


@pytest.fixture
def server(frames_are_shown, madvised):
    """Start a server that only reads, so that nothing changes meanwhile."""
    if madvised is None:
        pytest.skip("this kernel has no transparent huge pages")
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(REGIONS), str(WORKERS), "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def said(*words, code=0):
    done = subprocess.run([*THPSWEEP, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def huge_kib(pid):
    """Ask the kernel, process by process."""
    rollups = [Path(f"/proc/{each.pid}/smaps_rollup").read_text() for each in family(pid, True).processes]
    return [int(re.search(r"AnonHugePages:\s+(\d+)", text)[1]) for text in rollups]


def expected(pid):
    """Count each process's regions, and the memory that they take more, from who shares which page."""
    layout = capture(pid)
    used = layout.present.any(axis=2)
    pages = int(np.bitwise_count(layout.cell_slots).sum())
    return used.sum(axis=1).tolist(), (int(used.sum()) * 512 - pages) / 256  # MiB


@pytest.mark.live
def test_a_dry_run_changes_nothing_and_says_what_would_be_lost(server):
    text = said("--pid", str(server))
    assert huge_kib(server) == [0] * (WORKERS + 1)
    regions, extra_mib = expected(server)
    assert min(regions) >= REGIONS and extra_mib >= REGIONS * 2 * WORKERS
    assert f"{sum(regions) * 2}.0 MiB would become huge pages" in text
    assert f"take {extra_mib:.1f} MiB more memory" in text and "private copy" in text and "--apply" in text


@pytest.mark.live
def test_what_was_planned_is_what_the_kernel_did(server):
    regions, extra_mib = expected(server)
    text = said("--pid", str(server), "--apply")
    assert huge_kib(server) == [2048 * n for n in regions]
    (line,) = [line for line in text.splitlines() if line.strip().startswith("memory more")]
    planned, found = (float(number) for number in re.findall(r"([\d.]+) MiB", line))
    assert planned == pytest.approx(extra_mib, abs=0.05) and found == pytest.approx(planned, abs=0.2)
    assert "There is nothing to collapse" in said("--pid", str(server))


@pytest.mark.live
def test_limits_of_memory_and_of_processes_hold(server):
    regions, _ = expected(server)
    text = said("--pid", str(server), "--no-children", "--max-bytes", "5M", "--apply")
    assert huge_kib(server) == [4096] + [0] * WORKERS
    assert f"{regions[0] * 2 - 4}.0 MiB more would not fit --max-bytes (5.0 MiB)" in text
    assert "nothing to collapse" in said("--pid", str(server), "--no-children", "--max-bytes", "0")


@pytest.mark.live
def test_what_has_thp_off_is_left_alone_and_named(server, tmp_path):
    program = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(41, 1, 0, 0, 0); sys.argv = ['', '2', '0', '0']; "
        f"exec(open({str(SERVER)!r}).read())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline()
            text = said("--pid", str(process.pid), "--apply")
            assert "nothing to collapse" in text and "disable-thp" in text and huge_kib(process.pid) == [0]
        finally:
            process.kill()


@pytest.mark.live
def test_who_may_not_is_told_the_kernel_s_reason(server, nobody):
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    alone = ["setpriv", "--bounding-set=-all,+sys_ptrace,+sys_admin", "--inh-caps=-all"]
    done = subprocess.run([*alone, *THPSWEEP, "--pid", str(server)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "EPERM" in done.stderr and "CAP_SYS_NICE" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.live
def test_a_refusal_has_the_kernel_s_name(madvised):
    with mmap.mmap(-1, 4 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        address = ctypes.addressof(probe := ctypes.c_char.from_buffer(memory))
        region = -(-address // (2 * MIB))
        memory[region * 2 * MIB - address] = 1
        done = apply(family(os.getpid(), False), [PlannedRegion(0, region, 511, 0)], 10.0, lambda n: None)
        del probe
    assert dict(done.refused) == {"EINVAL": 1} and not done.collapsed


def test_time_and_ctrl_c_end_it_between_two_regions(monkeypatch):
    me, wanted = family(os.getpid(), False), [PlannedRegion(0, region, 0, 0) for region in range(5)]
    monkeypatch.setattr("thpsweep.linux.collapse.apply.collapse", lambda handle, region: "")
    assert apply(me, wanted, -1.0, lambda n: None).stopped == "--max-seconds reached"
    done = apply(me, wanted, 60.0, lambda n: n == 3 and signal.raise_signal(signal.SIGINT))
    assert done.is_interrupted and [each.region for each in done.collapsed] == [0, 1, 2]


@pytest.mark.parametrize(("text", "n_bytes"), [("0", 0), ("512M", 512 * MIB), ("1.5GiB", 1536 * MIB), ("4096", 4096)])
def test_sizes(text, n_bytes):
    assert limits.parse_bytes("--max-bytes", text) == n_bytes


@pytest.mark.parametrize("text", ["", "-1", "many", "5 X"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(OptionError, match=r"--max-bytes=.*512M"):
        limits.parse_bytes("--max-bytes", text)


def test_what_cannot_be_asked_for():
    assert "--max-seconds=0.0" in said("--pid", str(os.getpid()), "--max-seconds", "0", code=2)
    assert "--max-bytes" in said("--pid", str(os.getppid()), "--max-bytes", "900T", code=2)
    assert "no such process" in said("--pid", "4194303", code=2)


def test_errors_of_the_call_have_a_meaning():
    assert set(call.MEANINGS) >= {"EINVAL", "EAGAIN", "EBUSY", "ENOMEM", "ESRCH"}
