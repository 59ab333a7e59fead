#!/usr/bin/env bash
# A NumPy array that is long freed leaves MADV_HUGEPAGE on the heap, and other objects get huge pages there.
#
# Version:   numpy 2.4.6, CPython 3.11, glibc 2.36, Linux 6.18.44 with transparent_hugepage/enabled = madvise.
# Behaviour: the first array of 8 MiB has a mapping of its own, and the advice goes with it when it is freed. glibc then
#            raises its threshold for such mappings, so the next array lies on the heap: freed, and with half of the
#            heap in use above it, its range stays advised ("hg"), and 6 MiB of small bytes objects that were
#            never meant to have huge pages get them, and so do the workers that are forked from there on.
# Expected:  under "madvise" only memory that asked for it has huge pages; an array's advice ends with the array.
# Source:    numpy/_core/src/multiarray/alloc.c advises allocations of 4 MiB and more, malloc'ed or calloc'ed, and never
#            takes that back; glibc malloc/malloc.c free() raises mmap_threshold to the size of the freed chunk.
set -euo pipefail
grep -q '\[madvise\]' /sys/kernel/mm/transparent_hugepage/enabled || { echo "needs enabled = madvise" >&2; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6'
env -u GLIBC_TUNABLES "$work/venv/bin/python" - >"$work/seen" <<'EOF'
import numpy as np


def advised():
    """Sum the sizes, and AnonHugePages, of the heap's mappings that have "hg" among their VmFlags."""
    size = huge = kib = mine = 0
    heap = False
    for line in open("/proc/self/smaps"):
        first, *rest = line.split()
        if not first.endswith(":"):
            heap = rest[-1] == "[heap]"
        elif first == "Size:":
            kib = int(rest[0])
        elif first == "AnonHugePages:":
            mine = int(rest[0])
        elif first == "VmFlags:" and heap and "hg" in rest:
            size, huge = size + kib, huge + mine
    return f"{size >> 10} MiB of heap advised, {'some' if huge else 'no'} huge pages there"


print("at first:", advised())
array = np.ones(1 << 20)
print("8 MiB in a mapping of its own:", advised())
del array
print("freed:", advised())
array = np.empty(1 << 20)
print("the next, on the heap, not touched:", advised())
above = [bytes(10_000) for _ in range(500)]
del array
print("freed, something above it:", advised())
small = [bytes(1_000) for _ in range(6_000)]
print("6 MB of small objects:", advised())
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
at first: 0 MiB of heap advised, no huge pages there
8 MiB in a mapping of its own: 0 MiB of heap advised, no huge pages there
freed: 0 MiB of heap advised, no huge pages there
the next, on the heap, not touched: 8 MiB of heap advised, no huge pages there
freed, something above it: 8 MiB of heap advised, no huge pages there
6 MB of small objects: 8 MiB of heap advised, some huge pages there
EOF
echo "as described"
