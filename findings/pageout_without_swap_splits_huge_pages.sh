#!/usr/bin/env bash
# MADV_PAGEOUT on a machine without swap: nothing is paged out, the huge page is lost.
#
# Version:   Linux 6.18.44, x86_64, no swap.
# Behaviour: the call returns 0 and the resident size stays the same, but the 2 MiB folio has been split into 512
#            small ones. A second call, or waiting, does not bring it back.
# Expected:  with nowhere to write to, the advice does nothing at all.
# Source:    mm/vmscan.c shrink_folio_list(): folio_alloc_swap() fails, a large folio is then split with
#            split_folio_to_list() so that small pages may be swapped instead; they cannot either, and stay. No check
#            for swap space comes before.
# Effect:    a "harmless" proactive-reclaim daemon takes away the huge pages of every process that it advises.
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

def huge_region():
    start = region()
    call(libc.madvise, start, HUGE, 14)  # MADV_HUGEPAGE
    fill(start)
    if smaps(start, "AnonHugePages") != 2048:
        skip("no 2 MiB page to be had (transparent_hugepage/enabled=never, or no free block)")
    return start


if len(open("/proc/swaps").readlines()) > 1:
    skip("needs a machine without swap")
start = huge_region()
print("before: Rss", smaps(start, "Rss"), "kB, AnonHugePages", smaps(start, "AnonHugePages"), "kB")
print("MADV_PAGEOUT:", call(libc.madvise, start, HUGE, 21))
print("after: Rss", smaps(start, "Rss"), "kB, AnonHugePages", smaps(start, "AnonHugePages"), "kB")
print("MADV_PAGEOUT again:", call(libc.madvise, start, HUGE, 21), "Rss", smaps(start, "Rss"), "kB")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
before: Rss 2048 kB, AnonHugePages 2048 kB
MADV_PAGEOUT: 0
after: Rss 2048 kB, AnonHugePages 0 kB
MADV_PAGEOUT again: 0 Rss 2048 kB
EOF
echo "as described"
