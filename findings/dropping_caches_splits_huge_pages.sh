#!/usr/bin/env bash
# echo 2 > drop_caches, the usual preparation of a measurement, splits the huge pages of running processes.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: a process gives back half of each of 16 huge pages; its kept halves are still subpages of 2 MiB folios, and the
#            memory of the other halves is not free. drop_caches = 1 changes nothing; drop_caches = 2 splits all 16:
#            the kept 4,096 pages are order-0 folios from then on, with an LRU entry each.
# Expected:  dropping caches concerns page cache, dentries and inodes; anonymous memory stays as it is.
# Source:    "2" runs every shrinker (mm/vmscan.c drop_slab()), and deferred_split_scan() in mm/huge_memory.c is one;
#            with a max_ptes_none below 511 it also splits mapped huge pages that are mostly zero.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 77; }
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


def compound(start):
    """Count the process's pages that are part of a larger folio, by /proc/kpageflags."""
    found = 0
    with open("/proc/self/pagemap", "rb") as pagemap, open("/proc/kpageflags", "rb") as flags:
        pagemap.seek(start // PAGE * 8)
        for _ in range(REGIONS * 512):
            entry = int.from_bytes(pagemap.read(8), "little")
            if entry >> 63:
                flags.seek((entry & (1 << 55) - 1) * 8)
                found += bool(int.from_bytes(flags.read(8), "little") & (3 << 15))  # COMPOUND_HEAD, COMPOUND_TAIL
    return found


start = region(REGIONS * HUGE)
call(libc.madvise, start, REGIONS * HUGE, 14)  # MADV_HUGEPAGE
fill(start, REGIONS * HUGE)
for at in range(start, start + REGIONS * HUGE, HUGE):
    call(libc.madvise, at, HUGE // 2, 4)  # MADV_DONTNEED
print("half of each of", REGIONS, "huge pages given back; pages in larger folios:", compound(start))
for what in "12":
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write(what)
    print(f"drop_caches = {what}; pages in larger folios:", compound(start))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
half of each of 16 huge pages given back; pages in larger folios: 4096
drop_caches = 1; pages in larger folios: 4096
drop_caches = 2; pages in larger folios: 0
EOF
echo "as described"
