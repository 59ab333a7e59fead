"""process_madvise(MADV_COLLAPSE): one region of another process, and what the kernel's refusals mean.

Source: mm/madvise.c SYSCALL_DEFINE5(process_madvise), process_madvise_remote_valid(), mm/khugepaged.c
madvise_collapse_errno() (v6.18); process_madvise(2).
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from thpsweep.errors import LiveError
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import HPAGE_PMD_SIZE_BYTES

_PROCESS_MADVISE = 440
"""Number of the system call: the same on all architectures that came after 5.1's common table."""

_TRIES = 2
"""A spurious EAGAIN was seen: the kernel's own selftest tries again once, too."""

MEANINGS = {
    "EINVAL": "no huge page may be there (MADV_NOHUGEPAGE, PR_SET_THP_DISABLE), or the mapping has changed",
    "EAGAIN": "in use at that moment: a page is pinned, being moved, or being written back",
    "EBUSY": "the memory cgroup of the process has no room",
    "ENOMEM": "the kernel has no free block of 2 MiB, and made none",
    "ESRCH": "the process has ended",
}


class _Range(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """Hold a process by a descriptor, so that a pid used again cannot be mistaken for it. Raises: VanishedError."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise VanishedError(pid) from error
    try:
        yield handle
    finally:
        os.close(handle)


def require_permission(pid: int) -> None:
    """Ask for nothing, to see whether we might ask. Raises: LiveError with the kernel's reason; VanishedError."""
    with opened(pid) as handle:
        error = process_madvise(handle, 0, 0)
    if error == errno.EINVAL:
        raise LiveError(
            f"pid {pid}: Linux {platform.release()} refuses MADV_COLLAPSE (EINVAL): it takes Linux 6.1 with THP"
        )
    if error == errno.ESRCH:
        raise VanishedError(pid)
    if error:
        raise LiveError(f"pid {pid}: process_madvise: {_name(error)} ({os.strerror(error)})")


def collapse(handle: int, region: int) -> str:
    """Collapse a region, numbered by address; give the name of the errno, or nothing. Raises: LiveError."""
    error = 0
    for _ in range(_TRIES):
        error = process_madvise(handle, region * HPAGE_PMD_SIZE_BYTES, HPAGE_PMD_SIZE_BYTES)
        if error != errno.EAGAIN:
            break
    return _name(error) if error else ""


def process_madvise(handle: int, address: int, n_bytes: int) -> int:
    """Give the errno of process_madvise(MADV_COLLAPSE), 0 for none. Raises: LiveError where it is not to be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    where = _Range(address, n_bytes)
    result = libc.syscall(
        ctypes.c_long(_PROCESS_MADVISE), ctypes.c_int(handle), ctypes.byref(where), ctypes.c_size_t(1),
        ctypes.c_int(Advice.COLLAPSE), ctypes.c_uint(0),
    )  # fmt: skip
    error = ctypes.get_errno() if result == -1 else 0
    if error == errno.EACCES:
        raise LiveError(
            "process_madvise: EACCES (Permission denied): expected root, or CAP_SYS_PTRACE and CAP_SYS_NICE"
        )
    if error == errno.EPERM:
        raise LiveError("process_madvise: EPERM (Operation not permitted): expected root, or CAP_SYS_NICE")
    if error == errno.ENOSYS:
        raise LiveError(f"process_madvise: Linux {platform.release()} does not have it (5.10; MADV_COLLAPSE: 6.1)")
    return error


def _name(error: int) -> str:
    return errno.errorcode.get(error, str(error))
