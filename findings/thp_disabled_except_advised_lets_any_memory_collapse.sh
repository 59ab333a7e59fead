#!/usr/bin/env bash
# Under the new PR_SET_THP_DISABLE flag "except advised" MADV_COLLAPSE makes huge pages of memory that nobody advised.
#
# Version:   Linux 6.18.44 (the flag is new in 6.18).
# Behaviour: prctl(PR_SET_THP_DISABLE, 1, PR_THP_DISABLE_EXCEPT_ADVISED): PR_GET_THP_DISABLE answers 3, MADV_COLLAPSE
#            on a plain region succeeds. With the old form it answers 1, MADV_HUGEPAGE returns 0 and has no effect,
#            and MADV_COLLAPSE gives EINVAL.
# Expected:  2 (the flag) or 1 ("disabled"); "advised" is MADV_HUGEPAGE, so a plain region is refused in both.
# Source:    include/linux/huge_mm.h vma_thp_disabled(): a forced collapse counts as advice; kernel/sys.c
#            prctl_get_thp_disable().
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


if libc.prctl(42, 0, 0, 0, 0):
    skip("THP are disabled for this process already")
huge_region()
for what, flags in (("except advised", 2), ("all", 0)):
    if call(libc.prctl, 41, 1, flags, 0, 0):
        skip("needs PR_THP_DISABLE_EXCEPT_ADVISED (6.18)")
    plain, advised = region(), region()
    call(libc.madvise, advised, HUGE, 14)  # MADV_HUGEPAGE
    for start in (plain, advised):
        fill(start)
    huge = smaps(plain, "AnonHugePages"), smaps(advised, "AnonHugePages")
    print(f"{what}: PR_GET_THP_DISABLE {libc.prctl(42, 0, 0, 0, 0)}, touched: plain {huge[0]} kB, MADV_HUGEPAGE {huge[1]} kB huge,", end=" ")
    print(f"MADV_COLLAPSE of plain memory {call(libc.madvise, plain, HUGE, 25)}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
except advised: PR_GET_THP_DISABLE 3, touched: plain 0 kB, MADV_HUGEPAGE 2048 kB huge, MADV_COLLAPSE of plain memory 0
all: PR_GET_THP_DISABLE 1, touched: plain 0 kB, MADV_HUGEPAGE 0 kB huge, MADV_COLLAPSE of plain memory EINVAL
EOF
echo "as described"
