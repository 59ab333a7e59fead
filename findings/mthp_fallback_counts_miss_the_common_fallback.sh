#!/usr/bin/env bash
# A fault that gets a 4 KiB page in place of a 64 KiB folio because of one neighbour is counted nowhere.
#
# Version:   Linux 6.18.44 (sets hugepages-64kB/enabled and hugepages-2048kB/enabled for a moment and puts them back).
# Behaviour: with only 64 KiB folios allowed, a first write gives 64 KiB. A write into a 64 KiB block in which one
#            page is present, be it only the zero page from a read, gives 4 KiB. anon_fault_fallback does not move.
# Expected:  "incremented if a page fault fails to allocate or charge a huge page and instead falls back": the counter
#            and anon_fault_alloc together tell the share of faults that were served with the size asked for.
# Source:    mm/memory.c alloc_anon_folio(): orders whose range is not empty (pte_range_none()) are skipped before the
#            loop that allocates and counts.
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

FOLDER = "/sys/kernel/mm/transparent_hugepage/hugepages-"
KNOBS = {"64kB": "madvise", "2048kB": "never"}
BLOCK, TRIES = 65536, 8


def knob(size):
    return f"{FOLDER}{size}/enabled"


def counts():
    return [int(open(f"{FOLDER}64kB/stats/anon_fault_{name}").read()) for name in ("alloc", "fallback", "fallback_charge")]


def fault(what, block):
    # The fourth page of each of 8 blocks; the counters are the machine's, so take the smallest change.
    grown, changes = set(), []
    for at in range(start + block * BLOCK, start + (block + TRIES) * BLOCK, BLOCK):
        rss, before = smaps(start, "Rss"), counts()
        fill(at + 3 * PAGE, 1)
        changes.append([b - a for a, b in zip(before, counts())])
        grown.add(smaps(start, "Rss") - rss)
    alloc, fallback, charge = (min(column) for column in zip(*changes))
    print(f"{what}: {grown} kB, alloc +{alloc}, fallback +{fallback}, fallback_charge +{charge}")


start = region()
call(libc.madvise, start, HUGE, 15)  # MADV_NOHUGEPAGE: small pages, 8 of them the zero page
for block in range(TRIES):
    fill(start + (8 + block) * BLOCK, 1)
    ctypes.string_at(start + (16 + block) * BLOCK, 1)
call(libc.madvise, start, HUGE, 14)  # MADV_HUGEPAGE
old = {}
try:
    for size, value in KNOBS.items():
        old[size] = open(knob(size)).read().split("[")[1].split("]")[0]
        open(knob(size), "w").write(value)
    fault("empty block", 0)
    fault("block with a page", 8)
    fault("block with the zero page", 16)
except OSError:
    skip("needs root and hugepages-64kB with stats (6.10)")
finally:
    for size, value in old.items():
        open(knob(size), "w").write(value)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
empty block: {64} kB, alloc +1, fallback +0, fallback_charge +0
block with a page: {4} kB, alloc +0, fallback +0, fallback_charge +0
block with the zero page: {4} kB, alloc +0, fallback +0, fallback_charge +0
EOF
echo "as described"
