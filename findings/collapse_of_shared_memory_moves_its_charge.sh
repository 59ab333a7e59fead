#!/usr/bin/env bash
# MADV_COLLAPSE on shared memory moves 2 MiB of charge from the cgroup that filled it to the caller's.
#
# Version:   Linux 6.18.44, memory controller of cgroup v1 (makes two groups and removes them).
# Behaviour: a process in group A fills 2 MiB of shared anonymous memory and goes on using it; one in group B
#            collapses it. A's usage falls by 2 MiB, B's rises by 2 MiB. For private memory shared by fork the same
#            call adds 2 MiB to B and takes nothing from A.
# Expected:  shared pages stay charged to who touched them first; charges do not move any more
#            (move_charge_at_immigrate is gone), as migration and compaction keep them too.
# Source:    mm/khugepaged.c collapse_file(): alloc_charge_folio() charges the new folio to the mm that collapses, the
#            old pages are freed with their charge.
# Effect:    one unlimited helper that collapses for others is a way round everybody's limit, and khugepaged changes
#            who pays.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import ctypes
import errno
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
PAGE, HUGE = 4096, 2 << 20


def call(function, *args):
    """Return 0 or the name of the error."""
    args = [ctypes.c_size_t(a) if isinstance(a, int) else a for a in args]
    return errno.errorcode[ctypes.get_errno()] if function(*args) < 0 else 0


def region(size=HUGE):
    """Map private anonymous memory, 2 MiB aligned, in a VMA of its own."""
    start = libc.mmap(None, size + 2 * HUGE, 0, 0x22, -1, 0)
    start = (start + HUGE) & ~(HUGE - 1)
    if start % HUGE or libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(size), 3):
        sys.exit("mmap failed")
    return start


def fill(start, size=HUGE):
    ctypes.memset(start, 1, size)


def smaps(start, key):
    """Read one kB field of the VMA that holds the address."""
    inside = False
    for line in open("/proc/self/smaps"):
        first, *rest = line.split()
        if first.endswith(":"):
            if inside and first == key + ":":
                return int(rest[0])
        else:
            low, high = (int(x, 16) for x in first.split("-"))
            inside = low <= start < high


def skip(why):
    print("skipped:", why, file=sys.stderr)
    sys.exit(77)

ROOT = "/sys/fs/cgroup/memory/"
groups = {name: f"{ROOT}finding-{os.getpid()}-{name}" for name in "AB"}


def usage():
    return {name: int(open(f"{path}/memory.usage_in_bytes").read()) for name, path in groups.items()}


def enter(name):
    open(f"{groups[name]}/cgroup.procs", "w").write(str(os.getpid()))


def collapse(what, start):
    before = usage()
    result = call(libc.madvise, start, HUGE, 25)
    changes = {name: round((value - before[name]) / (1 << 20)) for name, value in usage().items()}
    print(f"{what}: {result}, A {changes['A']:+d} MiB, B {changes['B']:+d} MiB", flush=True)


if "[always]" in open("/sys/kernel/mm/transparent_hugepage/enabled").read():
    skip("needs transparent_hugepage/enabled=madvise or never, to start from small pages")
if not os.path.exists(ROOT + "memory.usage_in_bytes"):
    skip("needs the memory controller of cgroup v1")
private, shared = region(), region()
libc.mmap(shared, HUGE, 3, 0x31, -1, 0)  # MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS
try:
    for path in groups.values():
        os.mkdir(path)
except OSError:
    skip("needs root")
try:
    if (first := os.fork()) == 0:
        enter("A")
        for start in (private, shared):
            for at in range(start, start + HUGE, PAGE):
                fill(at, 1)
        if (second := os.fork()) == 0:
            enter("B")
            collapse("shared memory", shared)
            collapse("private memory shared by fork", private)
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
    if os.waitpid(first, 0)[1]:
        sys.exit("a child failed")
finally:
    for path in groups.values():
        os.rmdir(path)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
shared memory: 0, A -2 MiB, B +2 MiB
private memory shared by fork: 0, A +0 MiB, B +2 MiB
EOF
echo "as described"
