#!/usr/bin/env bash
# Pages that madvise, mmap or mlock populate are page faults to getrusage and none to perf.
#
# Version:   Linux 6.18.44.
# Behaviour: MADV_POPULATE_WRITE, mlock and MAP_POPULATE of 512 pages raise ru_minflt by 512 and the software event
#            page-faults by 0. Touching the pages, or read(2) into them, raises both by 512.
# Expected:  both are "the" page fault count of a thread and agree.
# Source:    mm/memory.c mm_account_fault(): the thread's counters are raised, then "if (!regs) return" comes before
#            perf_sw_event(): a fault without registers was raised by the kernel for its own walk (GUP).
# Effect:    perf stat shows a service that pre-faults its memory as one that hardly faults.
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

import resource, struct


def open_counter():
    # perf_event_attr: type software, size 64, config PERF_COUNT_SW_PAGE_FAULTS
    attr = struct.pack("IIQQQQQIIQ", 1, 64, 2, 0, 0, 0, 0, 0, 0, 0)
    fd = libc.syscall(298, attr, 0, -1, -1, 0)
    if os.uname().machine != "x86_64" or fd < 0:
        skip("needs x86_64 and perf_event_open for a software event (root, or perf_event_paranoid <= 1)")
    return fd


def faults(what, function):
    minor, counted = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, os.read(counter, 8)
    function()
    counted = int.from_bytes(os.read(counter, 8), "little") - int.from_bytes(counted, "little")
    minor = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - minor
    print(f"{what}: getrusage {minor // 512 * 512}, perf {counted // 512 * 512}")


def small_region():
    start = region()
    call(libc.madvise, start, HUGE, 15)  # MADV_NOHUGEPAGE
    return start


counter = open_counter()
zero = open("/dev/zero", "rb", buffering=0)
touched, populated, locked, read = (small_region() for _ in range(4))
buffer = (ctypes.c_char * HUGE).from_address(read)
faults("touch", lambda: fill(touched))
faults("MADV_POPULATE_WRITE", lambda: call(libc.madvise, populated, HUGE, 23))
faults("mlock", lambda: call(libc.mlock, locked, HUGE))
faults("read(2)", lambda: zero.readinto(buffer))
if smaps(locked, "Locked") != 2048:
    skip("mlock of 2 MiB was refused (RLIMIT_MEMLOCK)")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
touch: getrusage 512, perf 512
MADV_POPULATE_WRITE: getrusage 512, perf 0
mlock: getrusage 512, perf 0
read(2): getrusage 512, perf 512
EOF
echo "as described"
