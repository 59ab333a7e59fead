#!/usr/bin/env bash
# A region in which two ptes map one KSM page answers MADV_COLLAPSE with "try again", for ever.
#
# Version:   Linux 6.18.44 (changes /sys/kernel/mm/ksm for some seconds and puts it back).
# Behaviour: 512 pages, each merged by KSM with a page of another region, collapse to a huge page at once: sharing
#            does not hinder. If only one page occurs twice within the 2 MiB, every call gives EAGAIN, with nothing
#            running beside it.
# Expected:  both collapse, or neither; EAGAIN stands for something that passes.
# Source:    mm/khugepaged.c __collapse_huge_page_isolate() locks and isolates the folio of each pte in turn; the
#            second pte finds the folio locked by itself and gives SCAN_PAGE_LOCK, which madvise_collapse_errno()
#            makes EAGAIN. Only large folios are recognised as seen before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import ctypes
import errno
import os
import sys
import time

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

import glob


class Ksm:
    """The knobs of /sys/kernel/mm/ksm, put back at the end."""

    folder = "/sys/kernel/mm/ksm/"
    wanted = {"pages_to_scan": 20000, "sleep_millisecs": 5, "smart_scan": 0}

    def __enter__(self):
        try:
            if self["run"] or any(map(merged, glob.glob("/proc/[0-9]*/ksm_merging_pages"))):
                skip("KSM is in use already")
            self.old = {name: self[name] for name in self.wanted}
            self["run"] = 2  # drop what processes that are gone have left
            self["run"] = 0
            for name, value in self.wanted.items():
                self[name] = value
        except OSError:
            skip("needs root and CONFIG_KSM with smart_scan (6.7)")
        return self

    def __exit__(self, *_):
        self["run"] = 2  # unmerge
        self["run"] = 0
        for name, value in self.old.items():
            self[name] = value

    def __getitem__(self, name):
        return int(open(self.folder + name).read())

    def __setitem__(self, name, value):
        with open(self.folder + name, "w") as file:
            file.write(str(value))

    def scan(self, passes):
        end = self["full_scans"] + passes
        self["run"] = 1
        for _ in range(1500):
            if self["full_scans"] >= end:
                break
            time.sleep(0.02)
        else:
            skip("ksmd made no pass in 30 s")
        self["run"] = 0
        time.sleep(0.1)


def number(at, value):
    ctypes.c_uint64.from_address(at).value = value


def merged(path="/proc/self/ksm_merging_pages"):
    try:
        return int(open(path).read() or 0)  # empty for kernel threads
    except (ProcessLookupError, FileNotFoundError):
        return 0


def attempt(what, twice):
    first, second = region(), region()
    for start in (first, second):
        call(libc.madvise, start, HUGE, 15)  # MADV_NOHUGEPAGE
        for i in range(512):
            number(start + i * PAGE, 1 + i + 1000 * twice)
        if twice:
            number(start + 100 * PAGE, 1 + 7 + 1000)
        call(libc.madvise, start, HUGE, 14)  # MADV_HUGEPAGE
        call(libc.madvise, start, HUGE, 12)  # MADV_MERGEABLE
    ksm.scan(4)
    if smaps(first, "KSM") != 2048:
        skip("ksmd has not merged the pages")
    results = [call(libc.madvise, first, HUGE, 25) for _ in range(5)]
    print(what, results, "AnonHugePages", smaps(first, "AnonHugePages"), "kB")


with Ksm() as ksm:
    attempt("512 different pages:", twice=0)
    attempt("511 different pages:", twice=1)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
512 different pages: [0, 0, 0, 0, 0] AnonHugePages 2048 kB
511 different pages: ['EAGAIN', 'EAGAIN', 'EAGAIN', 'EAGAIN', 'EAGAIN'] AnonHugePages 0 kB
EOF
echo "as described"
