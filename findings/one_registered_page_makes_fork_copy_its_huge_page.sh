#!/usr/bin/env bash
# One 4 KiB buffer registered with io_uring makes each fork copy the whole 2 MiB that it lies in, and ends the huge mapping.
#
# Version:   Linux 6.18.44, x86_64.
# Behaviour: a process registers one page as a fixed buffer and forks. The page lies among small pages: the child gets a
#            copy of that page and shares 511. It lies in a huge page: the child gets copies of all 512 pages and
#            shares none, and the parent's huge mapping is 512 ptes from then on. Later forks copy 2 MiB again.
# Expected:  a pin concerns the page that it was taken on: a copy of 4 KiB for the child in both cases.
# Source:    a FOLL_PIN counts on the folio, so folio_maybe_dma_pinned() is true for all its pages: mm/huge_memory.c
#            copy_huge_pmd() splits the PMD, then mm/memory.c copy_present_ptes() copies page by page.
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


def shares(start, advice):
    """Fork, and print what the child shares with its parent."""
    call(libc.madvise, start, HUGE, advice)
    fill(start)
    print("AnonHugePages", smaps(start, "AnonHugePages"), "kB")
    buffer = (ctypes.c_size_t * 2)(start + 5 * PAGE, PAGE)
    if libc.syscall(427, ring, 0, buffer, 1):  # io_uring_register(), IORING_REGISTER_BUFFERS
        skip("io_uring_register: " + errno.errorcode[ctypes.get_errno()])
    for fork in ("first", "second"):
        ready, go = os.pipe()
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            os.read(ready, 1)
            shared = smaps(start, "Shared_Dirty") + smaps(start, "Shared_Clean")
            private = smaps(start, "Private_Dirty") + smaps(start, "Private_Clean")
            print(f"  {fork} child: {shared} kB shared, {private} kB copied", flush=True)
            os._exit(0)
        print(f"  parent at the {fork} fork: AnonHugePages", smaps(start, "AnonHugePages"), "kB", flush=True)
        os.write(go, b"x")
        os.waitpid(child, 0)
    libc.syscall(427, ring, 1, None, 0)  # IORING_UNREGISTER_BUFFERS


ring = libc.syscall(425, 8, ctypes.create_string_buffer(256))  # io_uring_setup()
if ring < 0:
    skip("io_uring_setup: " + errno.errorcode[ctypes.get_errno()])
print("small pages:", end=" ")
shares(region(), 15)  # MADV_NOHUGEPAGE
print("a huge page:", end=" ")
shares(region(), 14)  # MADV_HUGEPAGE
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
small pages: AnonHugePages 0 kB
  parent at the first fork: AnonHugePages 0 kB
  first child: 2044 kB shared, 4 kB copied
  parent at the second fork: AnonHugePages 0 kB
  second child: 2044 kB shared, 4 kB copied
a huge page: AnonHugePages 2048 kB
  parent at the first fork: AnonHugePages 0 kB
  first child: 0 kB shared, 2048 kB copied
  parent at the second fork: AnonHugePages 0 kB
  second child: 0 kB shared, 2048 kB copied
EOF
echo "as described"
