#!/usr/bin/env bash
# MADV_COLLAPSE refuses 512 present pages, and takes them after a write to some other place of the mapping.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: a region in which every page has been read, and none of its VMA was ever written, gives EINVAL. One byte
#            written in the next 2 MiB of the same VMA, and the same call on the same untouched region succeeds: 2 MiB
#            are allocated. For the same reason a forked child has none of the read pages (it must fault each again),
#            and has all of them when anything in the VMA had been written before.
# Expected:  the call looks at the 2 MiB that it is given; a forked child starts with its parent's page tables.
# Source:    a read fault maps the zero page without an anon_vma (mm/memory.c do_anonymous_page()); mm/khugepaged.c
#            hugepage_vma_revalidate() and mm/huge_memory.c require vma->anon_vma; vma_needs_copy() lets fork skip a
#            VMA without one.
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

def present(at):
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(at // PAGE * 8)
        entries = pagemap.read(512 * 8)
    return sum(entries[i] >> 7 for i in range(7, 512 * 8, 8))


def present_in_child(at):
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        os._exit(present(at) * 255 // 512)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * 512 // 255


start = region(2 * HUGE)
call(libc.madvise, start, 2 * HUGE, 15)  # MADV_NOHUGEPAGE: read small pages
for at in range(start, start + 2 * HUGE, PAGE):
    ctypes.string_at(at, 1)
call(libc.madvise, start, 2 * HUGE, 14)  # MADV_HUGEPAGE
print("pages read:", present(start), "of them in a forked child:", present_in_child(start))
print("MADV_COLLAPSE:", call(libc.madvise, start, HUGE, 25))
ctypes.memset(start + HUGE, 1, 1)
print("one byte written in the next 2 MiB; of the pages read in a forked child:", present_in_child(start))
print("MADV_COLLAPSE:", call(libc.madvise, start, HUGE, 25), "AnonHugePages", smaps(start, "AnonHugePages"), "kB")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
pages read: 512 of them in a forked child: 0
MADV_COLLAPSE: EINVAL
one byte written in the next 2 MiB; of the pages read in a forked child: 512
MADV_COLLAPSE: 0 AnonHugePages 2048 kB
EOF
echo "as described"
