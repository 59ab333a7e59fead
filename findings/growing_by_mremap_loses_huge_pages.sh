#!/usr/bin/env bash
# mremap that has to move a huge-page mapping keeps its huge pages only if the new size is a multiple of 2 MiB.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: 4 MiB of PMD-mapped memory with something mapped behind it grow with MREMAP_MAYMOVE. To 6, 8, 10 or 12
#            MiB: both huge mappings arrive. To 5, 7, 9 or 11 MiB: none; the same folios are mapped by 1,024 ptes
#            (copied nowhere, so nothing looks slow).
# Expected:  huge mappings move as they are, or never.
# Source:    mm/mmap.c __get_unmapped_area() aligns an anonymous mapping to 2 MiB only if its length is a multiple of
#            2 MiB (restricted so in 6.13, after reports of slowdowns); mm/mremap.c move_page_tables() moves a PMD
#            only between addresses that are both aligned.
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

libc.mremap.restype = ctypes.c_void_p
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]


def grow(mib):
    start = region(2 * HUGE)  # what follows it is mapped already
    call(libc.madvise, start, 2 * HUGE, 14)  # MADV_HUGEPAGE
    fill(start, 2 * HUGE)
    if smaps(start, "AnonHugePages") != 4096:
        skip("no 2 MiB pages to be had (transparent_hugepage/enabled=never, or no free blocks)")
    moved = libc.mremap(start, 2 * HUGE, mib << 20, 1)
    return smaps(moved, "Rss") >> 10, smaps(moved, "AnonHugePages") >> 10


for sizes in ((6, 8, 10, 12), (5, 7, 9, 11)):
    results = [grow(mib) for mib in sizes]
    print(f"to {sizes} MiB: resident {[rss for rss, _ in results]} MiB, by huge mappings {[huge for _, huge in results]} MiB")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
to (6, 8, 10, 12) MiB: resident [4, 4, 4, 4] MiB, by huge mappings [4, 4, 4, 4] MiB
to (5, 7, 9, 11) MiB: resident [4, 4, 4, 4] MiB, by huge mappings [0, 0, 0, 0] MiB
EOF
echo "as described"
