"""Settings of the kernel that are changed for a while, and put back whatever happens."""

import contextlib
import fcntl
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from thpsweep.errors import LiveError

THP = Path("/sys/kernel/mm/transparent_hugepage")
KHUGEPAGED = THP / "khugepaged"
MIN_FREE = Path("/proc/sys/vm/min_free_kbytes")
_TERMINATED = 143


class Settings:
    """Change files of sysfs and procfs; put back what was there in reverse order when it ends.

    Only one at a time on a machine: two that remember each other's values would leave the wrong ones.
    """

    def __init__(self, patience_s: float = 0.0) -> None:
        self._stack, self._patience_s = ExitStack(), patience_s

    def __enter__(self) -> "Settings":
        self._stack.enter_context(_alone(self._patience_s))
        self._stack.enter_context(_orderly_end())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            self._stack.close()

    def set(self, path: Path, value: object) -> None:
        """Write a value that lasts as long as this does. Raises: LiveError where that is refused."""
        try:
            befores = [(each, chosen(each)) for each in (*_raised_by(path), path)]
            path.write_text(str(value))
        except OSError as error:
            raise LiveError(f"{path}: cannot be set to {value} ({error.strerror}): run as root") from error
        for each, before in befores:
            self._stack.callback(_put_back, each, before)

    @contextmanager
    def section(self) -> Iterator[None]:
        """Put back at its end what is set in a block."""
        outer, self._stack = self._stack, ExitStack()
        try:
            yield
        finally:
            inner, self._stack = self._stack, outer
            with uninterrupted():
                inner.close()

    @property
    def stack(self) -> ExitStack:
        """Where whatever else has to be put back registers, in the same order."""
        return self._stack


def _put_back(path: Path, before: str) -> None:
    """Write what was there, unless it is there."""
    if chosen(path) != before:
        path.write_text(before)


def _raised_by(path: Path) -> tuple[Path, ...]:
    """Name what else the kernel sets where a file is written, even with what it says already.

    Any write to THP's `enabled` raises vm.min_free_kbytes to what huge pages recommend, and nothing lowers it again.
    Source: mm/huge_memory.c start_stop_khugepaged(), mm/khugepaged.c set_recommended_min_free_kbytes() (v6.18).
    """
    return (MIN_FREE,) if path.name in ("enabled", "shmem_enabled") and THP in path.parents else ()


def chosen(path: Path) -> str:
    """Read a setting: the chosen word of a list, or all of it."""
    text = path.read_text().strip()
    match = re.search(r"\[(.+)\]", text)
    return match.group(1) if match else text


def huge_by_madvise_only(settings: Settings) -> None:
    """Have THP by madvise only and of 2 MiB only, so that nothing is huge unless asked for. Raises: LiveError."""
    enabled = THP / "enabled"
    if not enabled.exists():
        raise LiveError(f"{THP}: this kernel has no transparent huge pages")
    wanted = {
        enabled: ("madvise",),
        THP / "hugepages-2048kB" / "enabled": ("inherit", "madvise"),
        THP / "shmem_enabled": ("never", "advise"),  # MADV_COLLAPSE asks for neither, but minds `deny`
    }
    for path in THP.glob("hugepages-*kB/enabled"):
        wanted.setdefault(path, ("never",))  # "small" pages of a larger order would be folios, too
    for path, allowed in wanted.items():
        if path.exists() and chosen(path) not in allowed:
            settings.set(path, allowed[0])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nobody interrupt what puts things back; a second Ctrl-C does nothing."""
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if signal.getsignal(number) == signal.SIG_IGN:  # else the block has put back what was there earlier
                signal.signal(number, handler)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(_TERMINATED)

    kept = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _alone(patience_s: float) -> Iterator[None]:
    """Hold the machine's lock. Raises: LiveError if another process of ours measures or validates."""
    path = (
        Path(tempfile.gettempdir()) / f"thpsweep-live-{os.geteuid()}.lock"
    )  # a user who is not root changes no settings
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until = time.monotonic() + patience_s
        while not _locked(fd):
            if time.monotonic() > until:
                raise LiveError(f"{path}: another thpsweep works with this machine's settings: wait until it is done")
            time.sleep(0.1)
        yield
    finally:
        os.close(fd)


def are_held() -> bool:
    """Tell whether a thpsweep, this one included, works with this machine's settings, so that they may be its own."""
    for path in Path(tempfile.gettempdir()).glob("thpsweep-live-*.lock"):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if not _locked(fd):
                    return True
            finally:
                os.close(fd)
    return False


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
