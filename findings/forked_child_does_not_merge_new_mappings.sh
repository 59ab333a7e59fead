#!/usr/bin/env bash
# What a process maps next to its touched memory becomes one mapping; in a forked child it stays apart, and no huge
# page spans the border.
#
# Version:   Linux 6.18.44.
# Behaviour: 3 MiB of touched anonymous memory, then 3 MiB mapped right behind it with the same flags. In the process:
#            one VMA of 6 MiB, and the 2 MiB across the border collapse. In a forked child: two VMAs for good, and
#            MADV_COLLAPSE of the same 2 MiB returns 0 having done nothing. A child's heap likewise grows into a
#            second [heap] mapping.
# Expected:  fork changes who owns the pages, not how mappings merge; MADV_COLLAPSE that cannot make a huge page
#            fails.
# Source:    mm/vma.c is_mergeable_anon_vma(): a VMA without anon_vma is not merged with one that a fork made
#            (vma_is_fork_child()), to spare its rmap; mm/khugepaged.c madvise_collapse() rounds each VMA's part
#            inward and does the rest.
# Effect:    the workers of a prefork server have more mappings than their master and 2 MiB blocks that can never be
#            huge.
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

if "[always]" in open("/sys/kernel/mm/transparent_hugepage/enabled").read():
    skip("needs transparent_hugepage/enabled=madvise or never, to start from small pages")
MIB = 1 << 20


def lines(wanted):
    return sum(wanted(line) for line in open("/proc/self/maps"))


def covers(line):
    low, high = (int(x, 16) for x in line.split()[0].split("-"))
    return low < start + 6 * MIB and high > start


def extend(who):
    libc.mmap(start + 3 * MIB, 3 * MIB, 3, 0x32, -1, 0)  # MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
    fill(start + 3 * MIB, 3 * MIB)
    result = call(libc.madvise, start + HUGE, HUGE, 25)
    print(f"{who}: {lines(covers)} mappings, MADV_COLLAPSE {result}, AnonHugePages {smaps(start + HUGE, 'AnonHugePages')} kB", flush=True)


def grow_heap(who):
    before = lines(lambda line: "[heap]" in line)
    libc.sbrk(ctypes.c_ssize_t(1 << 20))
    print(f"{who}: [heap] mappings {before}, after growth {lines(lambda line: '[heap]' in line)}", flush=True)


for in_child in (False, True):
    start = region(6 * MIB)
    libc.munmap(ctypes.c_void_p(start + 3 * MIB), ctypes.c_size_t(3 * MIB))
    for at in range(start, start + 3 * MIB, PAGE):
        fill(at, 1)
    if not in_child:
        extend("the process")
        grow_heap("the process")
    elif (child := os.fork()) == 0:
        extend("a forked child")
        grow_heap("a forked child")
        os._exit(0)
    else:
        os.waitpid(child, 0)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
the process: 1 mappings, MADV_COLLAPSE 0, AnonHugePages 2048 kB
the process: [heap] mappings 1, after growth 1
a forked child: 2 mappings, MADV_COLLAPSE 0, AnonHugePages 0 kB
a forked child: [heap] mappings 1, after growth 2
EOF
echo "as described"
