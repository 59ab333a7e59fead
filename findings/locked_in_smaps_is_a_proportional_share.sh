#!/usr/bin/env bash
# smaps reports half of a fully locked mapping as Locked when another process shares its pages, a quarter when three
# more do.
#
# Version:   Linux 6.18.44.
# Behaviour: 2 MiB shared by fork, locked with mlock2(MLOCK_ONFAULT) by one process only. Every page is unevictable.
#            Locked says 1,024 kB with one sharer and 512 kB with three, VmLck 2,048 kB. When the others exit, Locked
#            doubles without any call.
# Expected:  Locked is the part of Rss that is locked: 2,048 kB.
# Source:    fs/proc/task_mmu.c smaps_page_accumulate(): "if (locked) mss->pss_locked += pss".
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

def locked():
    total = open("/proc/self/status").read().split("VmLck:")[1].split()[0]
    return f"Locked {smaps(start, 'Locked')} of Rss {smaps(start, 'Rss')} kB, VmLck {total} kB"


start = region()
call(libc.madvise, start, HUGE, 15)  # MADV_NOHUGEPAGE
fill(start)
reader, writer = os.pipe()
for sharers in (1, 3):
    children = []
    for _ in range(sharers):
        if (child := os.fork()) == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent closes its end
            os._exit(0)
        children.append(child)
    if call(libc.mlock2, start, HUGE, 1):
        skip("mlock of 2 MiB was refused (RLIMIT_MEMLOCK)")
    print(f"{sharers} other processes: {locked()}")
    os.close(writer)
    for child in children:
        os.waitpid(child, 0)
    print(f"alone again: {locked()}")
    call(libc.munlock, start, HUGE)
    reader, writer = os.pipe()
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
1 other processes: Locked 1024 of Rss 2048 kB, VmLck 2048 kB
alone again: Locked 2048 of Rss 2048 kB, VmLck 2048 kB
3 other processes: Locked 512 of Rss 2048 kB, VmLck 2048 kB
alone again: Locked 2048 of Rss 2048 kB, VmLck 2048 kB
EOF
echo "as described"
