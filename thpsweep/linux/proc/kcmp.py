"""Compare the mms of processes: with CLONE_VM (a child of vfork(), until it calls exec()) two have one between them.

Source: kernel/kcmp.c (v6.18).
"""

import ctypes
import errno
import functools
import itertools
import os
import platform
from collections.abc import Sequence

_KCMP_VM = 1
_NUMBER = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "loongarch64": 272, "ppc64le": 354, "s390x": 343}
"""Number of the system call. Source: arch/*/kernel/syscalls, scripts/syscall.tbl (v6.18)."""

_REFUSED = (errno.ENOSYS, errno.EPERM, errno.EACCES)


def first_with_mm(pids: Sequence[int]) -> list[int]:
    """Give for each process the position of the first one that has the same mm.

    Where kcmp() is missing (CONFIG_KCMP) or refused, each process is taken to have an mm of its own. The kernel orders
    all mms, so that n log n comparisons do.
    Raises: ProcessLookupError if one has ended.
    """
    first = list(range(len(pids)))
    number = _NUMBER.get(platform.machine())
    if number is None or len(pids) < 2:
        return first

    def compare(one: int, other: int) -> int:
        return _compare(number, pids[one], pids[other])

    try:
        order = sorted(
            first, key=functools.cmp_to_key(compare)
        )  # stable: of processes with one mm the first stays first
        for before, position in itertools.pairwise(order):
            if compare(before, position) == 0:
                first[position] = first[before]
    except PermissionError:
        return list(range(len(pids)))
    return first


def _compare(number: int, one: int, other: int) -> int:
    """Compare two mms: 0 where they are one. Raises: PermissionError where the kernel does not tell; ProcessLookupError."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(number), one, other, _KCMP_VM, ctypes.c_ulong(0), ctypes.c_ulong(0)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(errno.EPERM if error in _REFUSED else error, os.strerror(error), "kcmp")
    return {0: 0, 1: -1}.get(result, 1)
