#!/usr/bin/env bash
# A page that pagemap calls exclusively mapped is not exclusive for UFFDIO_MOVE, and no read will make it so.
#
# Version:   Linux 6.18.44, x86_64 (UFFDIO_MOVE: 6.8).
# Behaviour: parent and child share a page, the child exits. pagemap's bit 56 ("exclusively mapped") is 1 again, Pss
#            equals Rss, and UFFDIO_MOVE still fails with EBUSY. After the owner has written to the page (no copy: the
#            same frame stays) the move works.
# Expected:  with the last other process gone the page is as private as before the fork.
# Source:    fork clears PageAnonExclusive (mm/rmap.h folio_try_dup_anon_rmap_pte()), only a write fault sets it again
#            (mm/memory.c wp_can_reuse_anon_folio()); bit 56 is computed from the map count (fs/proc/task_mmu.c
#            pte_to_pagemap_entry()); mm/userfaultfd.c asks for PageAnonExclusive.
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

import fcntl, struct


def entry(at):
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(at // PAGE * 8)
        return int.from_bytes(pagemap.read(8), "little")


def move(at):
    request = bytearray(struct.pack("QQQQq", target + at - source, at, PAGE, 0, 0))
    try:
        fcntl.ioctl(uffd, 0xC028AA05, request)  # UFFDIO_MOVE
        return 0
    except OSError as error:
        return errno.errorcode[error.errno]


source, target = region(), region()
for at in (source, target):
    call(libc.madvise, at, HUGE, 15)  # MADV_NOHUGEPAGE
fill(source)
uffd = libc.syscall(323, 0o2000000 | 0o4000)
if os.uname().machine != "x86_64" or uffd < 0:
    skip("needs x86_64 and userfaultfd (root, or vm.unprivileged_userfaultfd=1)")
try:
    fcntl.ioctl(uffd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 1 << 16, 0))  # UFFDIO_API, UFFD_FEATURE_MOVE
except OSError:
    skip("needs UFFDIO_MOVE (6.8)")
fcntl.ioctl(uffd, 0xC020AA00, struct.pack("QQQQ", target, HUGE, 1, 0))  # UFFDIO_REGISTER, missing pages
print("before fork: bit 56", entry(source) >> 56 & 1, "move", move(source))
sys.stdout.flush()
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
page = source + PAGE
print("child gone: bit 56", entry(page) >> 56 & 1, "Pss == Rss", smaps(page, "Pss") == smaps(page, "Rss"), "move", move(page))
ctypes.string_at(page, PAGE)
print("read:", move(page))
frame = entry(page) & (1 << 55) - 1
fill(page, 1)
print("written: same frame", entry(page) & (1 << 55) - 1 == frame, "move", move(page))
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
before fork: bit 56 1 move 0
child gone: bit 56 1 Pss == Rss True move EBUSY
read: EBUSY
written: same frame True move 0
EOF
echo "as described"
