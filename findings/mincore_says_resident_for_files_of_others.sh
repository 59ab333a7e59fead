#!/usr/bin/env bash
# mincore calls every page of a file resident when the caller may read the file but not write it.
#
# Version:   Linux 6.18.44 (since 5.2).
# Behaviour: a file of 256 pages, none of them in the page cache. Its owner sees 0 resident pages through a mapping,
#            another user 256 through the very same mapping. Tools built on it (fincore, vmtouch, pcstat) then report
#            100 % for a cold file.
# Expected:  the same figure for both, or an error; mincore(2) tells residency "in core" of the calling process's
#            memory.
# Source:    mm/mincore.c can_do_mincore(): without write permission to the file do_mincore() fills the vector with
#            ones. cachestat(2) refuses instead (EPERM).
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

import tempfile

if os.geteuid():
    skip("needs root, to become another user")
with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
    file.write(bytes(1 << 20))
    file.flush()
    os.fsync(file.fileno())
    os.fchmod(file.fileno(), 0o644)
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reader = os.open(file.name, os.O_RDONLY)
    start = libc.mmap(None, 1 << 20, 1, 1, reader, 0)

    def resident():
        vector = (ctypes.c_ubyte * 256)()
        libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(1 << 20), vector)
        return sum(byte & 1 for byte in vector)

    if resident():
        skip("needs a file system that drops clean pages on POSIX_FADV_DONTNEED")
    print("the owner:", resident(), "of 256", flush=True)
    if (child := os.fork()) == 0:
        os.setgid(65534)
        os.setuid(65534)
        print("another user:", resident(), "of 256", flush=True)
        request, answer = (ctypes.c_uint64 * 2)(0, 1 << 20), (ctypes.c_uint64 * 5)()
        print("cachestat by another user:", call(libc.syscall, 451, reader, request, answer, 0), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
the owner: 0 of 256
another user: 256 of 256
cachestat by another user: EPERM
EOF
echo "as described"
