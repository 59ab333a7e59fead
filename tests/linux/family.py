"""A family whose sharing is known page by page, because this program makes it: root, children a and b, grandchild g.

Run as a program it builds the family, prints "ready", and every process ends when its standard input is closed.
"""

import ctypes
import mmap
import os
import signal
import sys
import time
from collections import defaultdict

REGION = 2 << 20
PAGE = 4096
ROOT, A, B, G = 0, 1, 2, 3
MARKER = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
COW, HOLES, ZERO, THP, LATE, UNMAPPED, LAST = range(1, 8)
N_REGIONS = 8
SPARSE_BYTES = 64 << 30
N_GUARDED = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mremap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 2, ctypes.c_int, ctypes.c_void_p]
_MADV_HUGEPAGE, _MADV_NOHUGEPAGE, _MAP_NORESERVE, _PROT_NONE = 14, 15, 0x4000, 0
_MREMAP_MAYMOVE, _MREMAP_FIXED, _CLONE_VM = 1, 2, 0x100
_PR_SET_THP_DISABLE, _THP_DISABLE_EXCEPT_ADVISED = 41, 2
_KEPT = []
"""Memory that a child uses as its stack."""


def truth():
    """List who shares: region -> slot -> the sets of processes that map one frame each. The marker region comes first."""
    everyone = {ROOT, A, B, G}
    shared = {region: defaultdict(list) for region in range(N_REGIONS)}
    for region, slots in ((0, MARKER), (COW, range(512)), (HOLES, range(0, 100, 2)), (ZERO, [0]), (THP, range(512))):
        for slot in slots:
            shared[region][slot] = [everyone]
    for slot in range(512):
        writers = [
            w for w, low, high in ((A, 0, 100), (G, 50, 150), (B, 200, 210), (ROOT, 300, 304)) if low <= slot < high
        ]
        if writers == [A]:
            shared[COW][slot] = [{A, G}, {ROOT, B}]  # written before g was forked
        elif writers == [A, G]:
            shared[COW][slot] = [{A}, {G}, {ROOT, B}]
        elif writers:
            shared[COW][slot] = [{writers[0]}, everyone - {writers[0]}]
    shared[HOLES] |= {101: [{A, G}], 103: [{G}], 105: [{ROOT}], 107: [{B}]}
    shared[THP][7] = [{B}, {ROOT, A, G}]
    shared[LATE] = {slot: [{A, G}] for slot in range(512)} | {511: [{A, G}, {B}]}
    shared[UNMAPPED] = {slot: [{ROOT, A, G}] for slot in range(512)}
    shared[LAST] = {slot: [everyone] for slot in range(7)}
    return {region: {slot: sorted(map(sorted, groups)) for slot, groups in shared[region].items()} for region in shared}


def reserve(n_bytes):
    """Map private anonymous memory that starts on a region boundary."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    start = _libc.mmap(None, n_bytes + REGION, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    start = -(-start // REGION) * REGION
    return start


def write(base, region, slots):
    for slot in slots:
        ctypes.memset(base + region * REGION + slot * PAGE, 1, 1)


def read(base, region, slots):
    for slot in slots:
        ctypes.string_at(base + region * REGION + slot * PAGE, 1)


def fork(child):
    """Run `child` in a new process, wait until it says that it is done, and let it live until standard input closes."""
    done, tell = os.pipe()
    if os.fork() == 0:
        child()
        os.write(tell, b"x")
        os.close(tell)
        os.close(done)
        os.read(0, 1)
        os._exit(0)
    os.close(tell)
    os.read(done, 1)
    os.close(done)


def build():
    """Make the pages of `truth`, in its order."""
    base = reserve(N_REGIONS * REGION)
    _libc.madvise(base + THP * REGION, REGION, _MADV_HUGEPAGE)
    write(base, 0, MARKER)
    write(base, COW, range(512))
    write(base, HOLES, range(0, 100, 2))
    write(base, ZERO, [0])
    read(base, ZERO, range(1, 10))
    write(base, THP, range(512))
    write(base, UNMAPPED, range(512))
    write(base, LAST, range(7))

    def g():
        write(base, COW, range(50, 150))
        write(base, HOLES, [103])

    def a():
        write(base, COW, range(100))
        write(base, HOLES, [101])
        read(base, ZERO, [20])
        write(base, LATE, range(512))
        fork(g)

    def b():
        write(base, COW, range(200, 210))
        write(base, HOLES, [107])
        write(base, THP, [7])
        write(base, LATE, [511])
        _libc.munmap(base + UNMAPPED * REGION, REGION)

    fork(a)
    fork(b)
    write(base, COW, range(300, 304))
    write(base, HOLES, [105])


def build_guarded():
    """Write regions that end where their mappings do; tell where they begin."""
    n_bytes = N_GUARDED * REGION
    start = _libc.mmap(None, n_bytes + 2 * REGION, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    base = -(-(start + PAGE) // REGION) * REGION
    _libc.mprotect(base, n_bytes, mmap.PROT_READ | mmap.PROT_WRITE)
    write(base, 0, MARKER)
    write(base, 1, range(512))
    _libc.madvise(base + 2 * REGION, REGION, _MADV_HUGEPAGE)
    write(base, 2, range(512))
    write(base, 3, range(300))

    def a():
        write(base, 1, range(100))

    def b():
        write(base, 2, [7])
        write(base, 3, range(10))

    fork(a)
    fork(b)
    return base


def build_sparse():
    """Reserve far more than is used, and touch the marker in the middle of it."""
    base = reserve(SPARSE_BYTES)
    write(base, SPARSE_BYTES // REGION // 2, MARKER)


def build_restless():
    """Let two children fork helpers without end, which copy pages and are gone again."""
    base = reserve(8 * REGION)
    for region in range(8):
        write(base, region, range(512))

    def fork_without_end():
        parent = os.getpid()
        if os.fork():
            return
        step = 0
        while os.getppid() == parent:  # until the one who waits for the end of standard input is gone
            step += 1
            helper = os.fork()
            if helper == 0:
                write(base, step % 8, range(512))
                os._exit(0)
            write(base, (step + 1) % 8, range(0, 512, 3))
            os.waitpid(helper, 0)
            time.sleep(0.001)
        os._exit(0)

    fork(fork_without_end)
    fork(fork_without_end)


def build_forbidden():
    """Write four regions, of which the second forbids huge pages and the third asks for them; a child forbids the last."""
    base = reserve(4 * REGION)
    for region in range(4):
        write(base, region, MARKER)
    _libc.madvise(base + REGION, REGION, _MADV_NOHUGEPAGE)
    _libc.madvise(base + 2 * REGION, REGION, _MADV_HUGEPAGE)

    def child():
        _libc.madvise(base + 3 * REGION, REGION, _MADV_NOHUGEPAGE)

    fork(child)


def build_split():
    """Write a huge page, of which a child writes the first subpage."""
    base = reserve(REGION)
    _libc.madvise(base, REGION, _MADV_HUGEPAGE)
    write(base, 0, range(512))
    fork(lambda: write(base, 0, [0]))


def build_moved():
    """Write four huge pages, and move them to the middle between region boundaries, where no PMD can map them."""
    base, target = reserve(4 * REGION), reserve(6 * REGION)
    _libc.madvise(base, 4 * REGION, _MADV_HUGEPAGE)
    write(base, 0, range(4 * 512))
    _libc.mremap(base, 4 * REGION, 4 * REGION, _MREMAP_MAYMOVE | _MREMAP_FIXED, target + REGION // 2)
    fork(lambda: None)


def build_advised():
    """Write a region that asks for huge pages of whatever size there is; a child writes one page of it."""
    base = reserve(REGION)
    _libc.madvise(base, REGION, _MADV_HUGEPAGE)
    write(base, 0, range(512))
    fork(lambda: write(base, 0, [5]))


def build_shares_all():
    """Write a region, and run a child that has the same mm (CLONE_VM) and waits for the end of standard input."""
    base = reserve(REGION)
    write(base, 0, MARKER)
    stack = ctypes.create_string_buffer(1 << 20)
    entry = ctypes.cast(_libc.getchar, ctypes.c_void_p)
    top = (ctypes.addressof(stack) + (1 << 20) - 64) & ~15
    _KEPT.append(stack)
    _libc.clone(entry, ctypes.c_void_p(top), _CLONE_VM | signal.SIGCHLD, None)
    fork(lambda: write(base, 0, MARKER[:3]))


def build_dev_zero():
    """Write a region of private /dev/zero, which the kernel treats as anonymous memory."""
    zero = os.open("/dev/zero", os.O_RDWR)
    start = _libc.mmap(None, 2 * REGION, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, zero, 0)
    write(-(-start // REGION) * REGION, 0, MARKER)


def build_one_outside():
    """Write a region of which a child that ends its own copy keeps one page."""
    base = reserve(REGION)
    write(base, 0, range(512))

    def child():
        _libc.munmap(base + PAGE, REGION - PAGE)

    fork(child)


def build_except_advised():
    """Write a region that asks for nothing and one that asks for huge pages, with THP off but where it is asked for."""
    base = reserve(2 * REGION)
    _libc.madvise(base, REGION, _MADV_HUGEPAGE)
    if _libc.prctl(_PR_SET_THP_DISABLE, 1, _THP_DISABLE_EXCEPT_ADVISED, 0, 0):
        print("this kernel has no PR_THP_DISABLE_EXCEPT_ADVISED", flush=True)
        sys.exit()
    write(base, 0, range(1024))


BUILDERS = {
    "moved": build_moved,
    "advised": build_advised,
    "shares_all": build_shares_all,
    "dev_zero": build_dev_zero,
    "one_outside": build_one_outside,
    "except_advised": build_except_advised,
    "family": build,
    "sparse": build_sparse,
    "guarded": build_guarded,
    "restless": build_restless,
    "forbidden": build_forbidden,
    "split": build_split,
}

if __name__ == "__main__":
    place = BUILDERS[sys.argv[1]]()
    print("ready", flush=True)
    if place is not None:
        print(place, flush=True)
    os.read(0, 1)
