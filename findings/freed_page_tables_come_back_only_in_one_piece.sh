#!/usr/bin/env bash
# MADV_DONTNEED gives page tables back if one call covers all of a table, and keeps them if the same range comes page
# by page.
#
# Version:   Linux 6.18.44, x86_64, CONFIG_PT_RECLAIM (6.14).
# Behaviour: 64 MiB of touched small pages need 32 page tables (VmPTE +128 kB). One MADV_DONTNEED over all of it, or
#            one for each 2 MiB: VmPTE is back. One for each 4 KiB leaves the same memory free and all 32 tables.
#            MADV_FREE leaves them too.
# Expected:  page tables stay until munmap, as before 6.14; or an empty table is an empty table, however it became so.
# Source:    mm/pt_reclaim.c reclaim_pt_is_enabled(): only for MADV_DONTNEED and for a zap of at least PMD_SIZE.
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

import gzip

SIZE = 64 << 20


def tables():
    return int(open("/proc/self/status").read().split("VmPTE:")[1].split()[0]) // 64 * 64


def touched():
    fill(start, SIZE)
    return start


if os.path.exists("/proc/config.gz") and b"CONFIG_PT_RECLAIM=y" not in gzip.open("/proc/config.gz").read():
    skip("needs CONFIG_PT_RECLAIM")
start = region(SIZE)
call(libc.madvise, start, SIZE, 15)  # MADV_NOHUGEPAGE
before = tables()
print("touched: page tables +", tables() - before if touched() else 0, "kB")
for what, step, advice in [("DONTNEED at once", SIZE, 4), ("DONTNEED by 2 MiB", HUGE, 4), ("DONTNEED by 4 KiB", PAGE, 4), ("FREE at once", SIZE, 8)]:
    touched()
    for at in range(start, start + SIZE, step):
        call(libc.madvise, at, step, advice)
    print(f"{what}: page tables + {tables() - before} kB")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
touched: page tables + 128 kB
DONTNEED at once: page tables + 0 kB
DONTNEED by 2 MiB: page tables + 0 kB
DONTNEED by 4 KiB: page tables + 128 kB
FREE at once: page tables + 128 kB
EOF
echo "as described"
