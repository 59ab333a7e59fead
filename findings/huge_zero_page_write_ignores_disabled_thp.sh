#!/usr/bin/env bash
# A region that was read once gets a new 2 MiB page on its first write although THP are forbidden twice.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: a read fault in a MADV_HUGEPAGE region maps the huge zero page: no memory used. After MADV_NOHUGEPAGE on
#            the region and PR_SET_THP_DISABLE for the whole process (THPeligible says 0) the first one-byte write
#            still allocates 2 MiB. It does the same in a forked child that forbids THP. MADV_COLLAPSE on the huge
#            zero page returns 0 and allocates nothing.
# Expected:  a write in such a process costs one 4 KiB page (before 6.13 the PMD was split and it did); MADV_COLLAPSE
#            either fails or yields a huge page of memory.
# Source:    mm/huge_memory.c do_huge_pmd_wp_page() -> do_huge_zero_wp_pmd() asks neither the VMA's flags nor the
#            mm's; mm/khugepaged.c takes a PMD that is huge for SCAN_PMD_MAPPED.
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


if libc.prctl(42, 0, 0, 0, 0) != 0:  # PR_GET_THP_DISABLE
    skip("THP are disabled for this process already")
huge_region()
start, inherited = region(), region()
for at in (start, inherited):
    call(libc.madvise, at, HUGE, 14)  # MADV_HUGEPAGE
    ctypes.string_at(at, 1)
print("after a read: Rss", smaps(start, "Rss"), "kB")
print("MADV_COLLAPSE:", call(libc.madvise, start, HUGE, 25), "Rss", smaps(start, "Rss"), "kB")
call(libc.madvise, start, HUGE, 15)  # MADV_NOHUGEPAGE
print("PR_SET_THP_DISABLE:", call(libc.prctl, 41, 1, 0, 0, 0), "THPeligible", smaps(start, "THPeligible"))
fill(start, 1)
print("after a write: Rss", smaps(start, "Rss"), "kB, AnonHugePages", smaps(start, "AnonHugePages"), "kB")
sys.stdout.flush()
if (child := os.fork()) == 0:
    fill(inherited, 1)
    print("in a child after a write: AnonHugePages", smaps(inherited, "AnonHugePages"), "kB", flush=True)
    os._exit(0)
os.waitpid(child, 0)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
after a read: Rss 0 kB
MADV_COLLAPSE: 0 Rss 0 kB
PR_SET_THP_DISABLE: 0 THPeligible 0
after a write: Rss 2048 kB, AnonHugePages 2048 kB
in a child after a write: AnonHugePages 2048 kB
EOF
echo "as described"
