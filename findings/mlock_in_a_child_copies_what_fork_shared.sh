#!/usr/bin/env bash
# mlock in a forked child copies every page that it shared with its parent, of a huge page in 4 KiB pieces.
#
# Version:   Linux 6.18.44.
# Behaviour: mlock on writable private memory breaks copy-on-write for all of it although nothing is written: private
#            memory grows from 0 to the whole size. A PMD-mapped 2 MiB page shared with the parent becomes 512 small
#            pages. The same call on a read-only mapping, or mlock2(MLOCK_ONFAULT), leaves everything shared.
# Expected:  mlock makes pages resident and pins them down; resident shared pages are locked where they are.
# Source:    mm/gup.c populate_vma_page_range(): FOLL_WRITE if VM_WRITE and not VM_SHARED ("we want to touch writable
#            mappings with a write fault in order to break COW").
# Effect:    mlockall in the workers of a prefork server undoes the sharing that the prefork was for.
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


import resource


def small_region():
    start = region()
    call(libc.madvise, start, HUGE, 15)  # MADV_NOHUGEPAGE
    fill(start)
    return start


def show(what, start, result):
    print(f"{what}: {result}, private {smaps(start, 'Private_Dirty')} of {smaps(start, 'Rss')} kB, AnonHugePages {smaps(start, 'AnonHugePages')} kB")


writable, readonly, on_fault = (small_region() for _ in range(3))
huge = huge_region()
libc.mprotect(ctypes.c_void_p(readonly), ctypes.c_size_t(HUGE), 1)
if os.geteuid() and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 8 << 20:
    skip("needs RLIMIT_MEMLOCK of 8 MiB")
if (child := os.fork()) == 0:
    show("before", writable, 0)
    show("mlock", writable, call(libc.mlock, writable, HUGE))
    show("mlock of read-only memory", readonly, call(libc.mlock, readonly, HUGE))
    show("mlock2(MLOCK_ONFAULT)", on_fault, call(libc.mlock2, on_fault, HUGE, 1))
    show("huge page, before", huge, 0)
    show("huge page, mlock", huge, call(libc.mlock, huge, HUGE))
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
before: 0, private 0 of 2048 kB, AnonHugePages 0 kB
mlock: 0, private 2048 of 2048 kB, AnonHugePages 0 kB
mlock of read-only memory: 0, private 0 of 2048 kB, AnonHugePages 0 kB
mlock2(MLOCK_ONFAULT): 0, private 0 of 2048 kB, AnonHugePages 0 kB
huge page, before: 0, private 0 of 2048 kB, AnonHugePages 2048 kB
huge page, mlock: 0, private 2048 of 2048 kB, AnonHugePages 0 kB
EOF
echo "as described"
