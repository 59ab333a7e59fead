"""Limits of the cgroup that a process runs in, as the kernel writes them: trees of v1 and v2, hosts and containers."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cgroups import joining, limited
from thpsweep.linux.proc.cgroups import cpu_share, memory_limit, oom_kills, usable_cpus

MIB = 1 << 20
MakeProc = Callable[..., Path]


@pytest.fixture
def make_proc(tmp_path: Path) -> MakeProc:
    """Make a /proc/PID that names cgroups below a folder, and files in these."""

    def proc(cgroup: str, mounts: list[tuple[str, str, str]], files: dict[str, str]) -> Path:
        """Take (type, root, mount point) of mounts; mount points and files are below the folder."""
        lines = [
            f"3{n} 23 0:2{n} {root} {tmp_path}/{point} rw,relatime - {kind} cgroup rw"
            for n, (kind, root, point) in enumerate(mounts)
        ]
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cgroup").write_text(cgroup)
        (tmp_path / "proc/mountinfo").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        return tmp_path / "proc"

    return proc


V2 = [("cgroup2", "/", "cg")]


def test_v2_the_least_limit_of_a_cgroup_and_those_above_it(make_proc: MakeProc, tmp_path: Path) -> None:
    files = {
        "cg/a/memory.max": str(900 * MIB),
        "cg/a/cpu.max": "max 100000",
        "cg/a/job/memory.max": "max",
        "cg/a/job/cpu.max": "150000 100000",
        "cg/a/job/memory.events": "low 0\nhigh 0\nmax 31\noom 2\noom_kill 2\noom_group_kill 0",
    }
    proc = make_proc("0::/a/job\n", V2, files)
    assert memory_limit(proc).limit_bytes == 900 * MIB
    assert memory_limit(proc).source == str(tmp_path / "cg/a/memory.max")
    assert cpu_share(proc) == 1.5
    assert usable_cpus(proc) == min(2, len(os.sched_getaffinity(0)))
    assert oom_kills(proc) == 2


def test_v1_has_a_hierarchy_for_each_and_numbers_for_no_limit(make_proc: MakeProc) -> None:
    files = {
        "mem/job/memory.limit_in_bytes": str(700 * MIB),
        "mem/memory.limit_in_bytes": "9223372036854771712",
        "mem/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5",
        "cpu/job/cpu.cfs_quota_us": "50000",
        "cpu/job/cpu.cfs_period_us": "100000",
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
    }
    proc = make_proc("4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n", [], files)
    (proc / "mountinfo").write_text(
        f"31 23 0:1 / {proc.parent}/mem rw - cgroup cgroup rw,memory\n"
        f"32 23 0:2 / {proc.parent}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    assert memory_limit(proc).limit_bytes == 700 * MIB
    assert (cpu_share(proc), usable_cpus(proc), oom_kills(proc)) == (0.5, 1, 5)


@pytest.mark.parametrize(
    ("cgroup", "root"),
    [
        ("0::/\n", "/"),  # a cgroup namespace of its own, as docker and Kubernetes make by default
        ("0::/docker/abc\n", "/docker/abc"),  # a bind mount of a part
        ("0::/../other\n", "/"),  # joined from outside: there is nothing to look at but the mount
    ],
)
def test_a_container_sees_its_limit_at_the_mount(make_proc: MakeProc, cgroup: str, root: str) -> None:
    proc = make_proc(cgroup, [("cgroup2", root, "cg")], {"cg/memory.max": str(300 * MIB)})
    assert memory_limit(proc).limit_bytes == 300 * MIB


def test_without_cgroups_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path).limit_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert (cpu_share(tmp_path), oom_kills(tmp_path)) == (None, 0)
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_a_limit_of_the_kernels_own_is_seen() -> None:
    code = "from thpsweep.linux.proc.cgroups import *; print(memory_limit().limit_bytes, cpu_share(), usable_cpus())"
    with limited(900 * MIB, 0.5) as cgroups:
        ended = subprocess.run(joining(cgroups, sys.executable, "-c", code), capture_output=True, text=True)
    assert ended.stdout.split() == [str(900 * MIB), "0.5", "1"], ended.stderr
