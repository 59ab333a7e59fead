#!/usr/bin/env bash
# The shrinker of underused huge pages is on by default, and finds none before khugepaged's max_ptes_none is lowered.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: 16 huge pages with one byte written in each, shrink_underused = 1 (the default), all of the cgroup's memory
#            reclaimed. max_ptes_none = 511 (the default): none is split, 32,768 kB stay. max_ptes_none = 409: all are,
#            and 64 kB stay.
# Expected:  "shrink_underused" does what it says; max_ptes_none limits what khugepaged collapses.
# Source:    mm/huge_memory.c thp_underused() returns false at once if khugepaged_max_ptes_none is HPAGE_PMD_NR - 1.
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


REGIONS = 16
NONE = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
SHRINK = "/sys/kernel/mm/transparent_hugepage/shrink_underused"


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path) as file:
        return file.read().strip()


def splits():
    return int(read("/proc/vmstat").split("thp_underused_split_page ")[1].split()[0])


def reclaim(group):
    """Reclaim what can be: cgroup v2, then v1. The kernel may say that it got less than was asked for."""
    name, text = ("memory.reclaim", "64M") if os.path.exists(group + "/memory.reclaim") else ("memory.force_empty", "0")
    try:
        write(f"{group}/{name}", text)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EBUSY):
            raise


if os.geteuid() or not os.path.exists(SHRINK):
    skip("needs root, and shrink_underused (Linux 6.12)")
if read(SHRINK) != "1":
    skip("shrink_underused is not at its default")
for top in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
    if os.path.exists(top + "/cgroup.procs"):
        break
else:
    skip("no memory cgroup")
group, before = f"{top}/underused-{os.getpid()}", read(NONE)
os.mkdir(group)
try:
    if not os.path.exists(group + "/memory.stat"):
        skip("no memory controller in the root cgroup")
    write(group + "/cgroup.procs", str(os.getpid()))
    for none in (511, 409):
        write(NONE, str(none))
        start = region(REGIONS * HUGE)
        call(libc.madvise, start, REGIONS * HUGE, 14)  # MADV_HUGEPAGE
        for i in range(REGIONS):
            ctypes.memset(start + i * HUGE, 1, 1)
        had, counted = smaps(start, "AnonHugePages"), splits()
        reclaim(group)
        print(f"max_ptes_none {none}: AnonHugePages {had} kB;", end=" ")
        print(f"reclaimed: {splits() - counted} split, Rss {smaps(start, 'Rss')} kB")
finally:
    write(NONE, before)
    write(top + "/cgroup.procs", str(os.getpid()))
    os.rmdir(group)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
max_ptes_none 511: AnonHugePages 32768 kB; reclaimed: 0 split, Rss 32768 kB
max_ptes_none 409: AnonHugePages 32768 kB; reclaimed: 16 split, Rss 64 kB
EOF
echo "as described"
