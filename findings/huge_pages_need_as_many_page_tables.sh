#!/usr/bin/env bash
# Memory mapped by huge pages takes as much memory for page tables as memory in small pages, in each process.
#
# Version:   Linux 6.18.44.
# Behaviour: 256 MiB of anonymous memory, written: VmPTE grows by 512 kB with small pages, and by 512 kB or a page more
#            with 128 PMD-mapped huge pages. A forked child has as much of its own in both cases.
# Expected:  a huge page needs no page table, so that VmPTE of a forked family falls by 4 KiB for each 2 MiB and process.
# Source:    mm/huge_memory.c __do_huge_pmd_anonymous_page() and copy_huge_pmd() put a page table aside for each PMD
#            (pgtable_trans_huge_deposit()), so that a later split cannot fail for want of memory; mm_inc_nr_ptes()
#            counts it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import ctypes
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
HUGE, SIZE = 2 << 20, 256 << 20


def page_tables_kb(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmPTE"))


def huge_kb():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonHugePages"))


def measure(what, advice):
    start = libc.mmap(None, SIZE + HUGE, 0, 0x22, -1, 0)
    start = (start + HUGE) & ~(HUGE - 1)
    libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(SIZE), 3)
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(SIZE), advice)
    before, huge_before = page_tables_kb("self"), huge_kb()
    ctypes.memset(start, 1, SIZE)
    grown, huge = page_tables_kb("self") - before, huge_kb() - huge_before
    if advice == 14 and huge != SIZE >> 10:
        print("skipped: no 2 MiB pages to be had (transparent_hugepage/enabled=never, or no free blocks)", file=sys.stderr)
        sys.exit(77)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.read(read, 1)
        os._exit(0)
    of_child = page_tables_kb(child)
    os.write(write, b"x")
    os.waitpid(child, 0)
    libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(SIZE))
    near = "512 kB or little more" if 512 <= grown < 560 else f"{grown} kB"
    child_near = "512 kB or little more" if 512 <= of_child < 700 else f"{of_child} kB"
    print(f"{what}: AnonHugePages {huge} kB, page tables {near}, all those of a child {child_near}")


measure("small pages", 15)  # MADV_NOHUGEPAGE
measure("huge pages", 14)  # MADV_HUGEPAGE
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
small pages: AnonHugePages 0 kB, page tables 512 kB or little more, all those of a child 512 kB or little more
huge pages: AnonHugePages 262144 kB, page tables 512 kB or little more, all those of a child 512 kB or little more
EOF
echo "as described"
