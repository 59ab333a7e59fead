#!/usr/bin/env bash
# MADV_DONTDUMP on one page takes the huge mapping away, and taking the hint back does not restore it.
#
# Version:   Linux 6.18.44.
# Behaviour: MADV_DONTDUMP (or any advice or mprotect that must split the VMA) on 4 KiB of a PMD-mapped 2 MiB page:
#            the mapping is 512 ptes from then on. MADV_DODUMP merges the VMAs to one again, without the huge mapping.
#            The same hint on the whole 2 MiB keeps it.
# Expected:  a flag for core dumps has nothing to do with how memory is mapped.
# Source:    mm/huge_memory.c vma_adjust_trans_huge(): a VMA border inside a huge PMD splits the PMD, whatever the
#            border is for.
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


start = huge_region()
for what, at, size, advice in [
    ("MADV_DONTDUMP on 2 MiB", start, HUGE, 16),
    ("MADV_DODUMP on 2 MiB", start, HUGE, 17),
    ("MADV_DONTDUMP on 4 KiB", start + 9 * PAGE, PAGE, 16),
    ("MADV_DODUMP on 4 KiB", start + 9 * PAGE, PAGE, 17),
]:
    result = call(libc.madvise, at, size, advice)
    print(f"{what}: {result}, VMA of {smaps(start, 'Size')} kB, AnonHugePages {smaps(start, 'AnonHugePages')} kB")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
MADV_DONTDUMP on 2 MiB: 0, VMA of 2048 kB, AnonHugePages 2048 kB
MADV_DODUMP on 2 MiB: 0, VMA of 2048 kB, AnonHugePages 2048 kB
MADV_DONTDUMP on 4 KiB: 0, VMA of 36 kB, AnonHugePages 0 kB
MADV_DODUMP on 4 KiB: 0, VMA of 2048 kB, AnonHugePages 0 kB
EOF
echo "as described"
