#!/usr/bin/env bash
# mremap moves a range of several mappings with a hole in it, in one call.
#
# Version:   Linux 6.18.44 (new in 6.17).
# Behaviour: with MREMAP_MAYMOVE | MREMAP_FIXED and an unchanged size, a range of three VMAs with different
#            protections and an unmapped hole moves as it is: protections stay, the hole is a hole at the new place.
# Expected:  EFAULT, as mremap(2) says for mappings of different types, and as in all kernels before.
# Source:    mm/mremap.c remap_move(); series "mm/mremap: permit mremap() move of multiple VMAs" (Lorenzo Stoakes).
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
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]


def layout(start):
    kinds = {}
    for line in open("/proc/self/maps"):
        (low, high), rights = (int(x, 16) for x in line.split()[0].split("-")), line.split()[1]
        for at in range(max(low, start), min(high, start + 16 * PAGE), PAGE):
            kinds[(at - start) // PAGE] = rights[:2]
    return " ".join(kinds.get(i, "..") for i in range(0, 16, 4))


start, target = region(), region()
fill(start)
libc.mprotect(ctypes.c_void_p(start + 4 * PAGE), ctypes.c_size_t(4 * PAGE), 1)
libc.munmap(ctypes.c_void_p(start + 8 * PAGE), ctypes.c_size_t(4 * PAGE))
print("before:", layout(start))
moved = libc.mremap(start, 16 * PAGE, 16 * PAGE, 3, target)
print("mremap:", "moved" if moved == target else errno.errorcode[ctypes.get_errno()])
print("after, old place:", layout(start))
print("after, new place:", layout(target), "data", ctypes.string_at(target + 15 * PAGE, 1))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
before: rw r- .. rw
mremap: moved
after, old place: .. .. .. ..
after, new place: rw r- rw rw data b'\x01'
EOF
echo "as described"
