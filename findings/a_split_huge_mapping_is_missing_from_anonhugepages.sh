#!/usr/bin/env bash
# A huge page whose mapping is split is gone from AnonHugePages, everywhere, and goes on occupying 2 MiB, even when 511 of
# its 512 pages have been given back.
#
# Version:   Linux 6.18.44 (hugepages-2048kB/stats/nr_anon is of 6.13).
# Behaviour: after a hint on 4 KiB of a huge page, smaps and meminfo show 2048 kB less of AnonHugePages, and nr_anon as
#            many huge pages as before. After MADV_DONTNEED of the other 2044 kB Rss is 4 kB, nr_anon still counts one,
#            and nr_anon_partially_mapped one more.
# Expected:  AnonHugePages says how much memory is in huge pages, and memory given back by MADV_DONTNEED is free.
# Source:    mm/rmap.c __folio_remove_rmap() takes NR_ANON_THPS away with the last PMD mapping; the folio lives until its
#            last page is unmapped or the deferred split queue is scanned (mm/huge_memory.c deferred_split_folio()).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import ctypes
import pathlib
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
PAGE, HUGE = 4096, 2 << 20
STATS = pathlib.Path("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats")


def field(path, key):
    for line in open(path):
        if line.startswith(key):
            return int(line.split()[1])


def smaps(key):
    inside = total = 0
    for line in open("/proc/self/smaps"):
        first, *rest = line.split()
        if not first.endswith(":"):
            low, high = (int(x, 16) for x in first.split("-"))
            inside = start <= low and high <= start + HUGE
        elif inside and first == key + ":":
            total += int(rest[0])
    return total


def counts():
    return [int((STATS / name).read_text()) for name in ("nr_anon", "nr_anon_partially_mapped")]


def show(what):
    whole, parts = (now - then for now, then in zip(counts(), before))
    meminfo = field("/proc/meminfo", "AnonHugePages:") - meminfo_before
    print(
        f"{what}: Rss {smaps('Rss')} kB, AnonHugePages {smaps('AnonHugePages')} kB, in meminfo {meminfo:+} kB, "
        f"nr_anon {whole:+}, partially mapped {parts:+}"
    )


if not (STATS / "nr_anon").exists():
    print("skipped: no hugepages-2048kB/stats/nr_anon here (Linux 6.13)", file=sys.stderr)
    sys.exit(77)
before, meminfo_before = counts(), field("/proc/meminfo", "AnonHugePages:")
start = libc.mmap(None, 3 * HUGE, 0, 0x22, -1, 0)
start = (start + HUGE) & ~(HUGE - 1)
libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(HUGE), 3)
libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(HUGE), 14)  # MADV_HUGEPAGE
ctypes.memset(start, 1, HUGE)
if smaps("AnonHugePages") != 2048:
    print("skipped: no 2 MiB page to be had (transparent_hugepage/enabled=never, or no free block)", file=sys.stderr)
    sys.exit(77)
show("written")
libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(PAGE), 16)  # MADV_DONTDUMP
show("a hint on 4 kB")
libc.madvise(ctypes.c_void_p(start + PAGE), ctypes.c_size_t(HUGE - PAGE), 4)  # MADV_DONTNEED
show("2044 kB given back")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
written: Rss 2048 kB, AnonHugePages 2048 kB, in meminfo +2048 kB, nr_anon +1, partially mapped +0
a hint on 4 kB: Rss 2048 kB, AnonHugePages 0 kB, in meminfo +0 kB, nr_anon +1, partially mapped +0
2044 kB given back: Rss 4 kB, AnonHugePages 0 kB, in meminfo +0 kB, nr_anon +1, partially mapped +1
EOF
echo "as described"
