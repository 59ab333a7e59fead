#!/usr/bin/env bash
# Asking which pages were written (PAGEMAP_SCAN) costs a process its huge mappings, one by one.
#
# Version:   Linux 6.18.44, x86_64 (the interface: 6.7).
# Behaviour: the userfaultfd WP_ASYNC + PAGEMAP_SCAN way of tracking writes arms a PMD-mapped 2 MiB page as a whole.
#            The first write of one byte splits the PMD into 512 ptes; one page is reported as written. Until then
#            disarmed, MADV_COLLAPSE refuses with EINVAL, so nothing mends it while the tracking goes on.
# Expected:  the huge page stays, and 2 MiB are reported as written (as dirty logging at PMD level does); or at least
#            MADV_COLLAPSE restores it.
# Source:    mm/memory.c wp_huge_pmd(): userfaultfd_wp_async() goes to the split; mm/khugepaged.c: SCAN_PTE_UFFD_WP.
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


import fcntl, struct

WP_ASYNC, WP_UNPOPULATED, WRITTEN = 1 << 15, 1 << 13, 1 << 1
start = huge_region()
uffd = libc.syscall(323, 0o2000000 | 0o4000)
if os.uname().machine != "x86_64" or uffd < 0:
    skip("needs x86_64 and userfaultfd (root, or vm.unprivileged_userfaultfd=1)")
try:
    fcntl.ioctl(uffd, 0xC018AA3F, struct.pack("QQQ", 0xAA, WP_ASYNC | WP_UNPOPULATED, 0))  # UFFDIO_API
except OSError:
    skip("needs userfaultfd WP_ASYNC (6.7)")
fcntl.ioctl(uffd, 0xC020AA00, struct.pack("QQQQ", start, HUGE, 2, 0))  # UFFDIO_REGISTER, write protection
pagemap = open("/proc/self/pagemap", "rb")


def written(flags):
    regions = (ctypes.c_uint64 * 48)()
    scan = struct.pack("12Q", 96, flags, start, start + HUGE, 0, ctypes.addressof(regions), 16, 0, 0, WRITTEN, 0, WRITTEN)
    found = fcntl.ioctl(pagemap, 0xC0606610, bytearray(scan))
    return sum(regions[3 * i + 1] - regions[3 * i] for i in range(found)) // PAGE


written(3)  # PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC: arm
print("armed: pages written", written(0), "AnonHugePages", smaps(start, "AnonHugePages"), "kB")
fill(start + 5 * PAGE, 1)
print("one byte: pages written", written(0), "AnonHugePages", smaps(start, "AnonHugePages"), "kB")
print("MADV_COLLAPSE while tracked:", call(libc.madvise, start, HUGE, 25))
os.close(uffd)
print("MADV_COLLAPSE afterwards:", call(libc.madvise, start, HUGE, 25), "AnonHugePages", smaps(start, "AnonHugePages"), "kB")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
armed: pages written 0 AnonHugePages 2048 kB
one byte: pages written 1 AnonHugePages 0 kB
MADV_COLLAPSE while tracked: EINVAL
MADV_COLLAPSE afterwards: 0 AnonHugePages 2048 kB
EOF
echo "as described"
