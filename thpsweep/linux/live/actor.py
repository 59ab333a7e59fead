"""One process of a live family, and what it can be told to do to its memory."""

import enum
import errno
import os
import socket
from dataclasses import dataclass

from thpsweep.errors import LiveError
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES


class Advice(enum.IntEnum):
    """Advice of madvise(). Source: include/uapi/asm-generic/mman-common.h (v6.18)."""

    DONTNEED = 4
    MERGEABLE = 12
    UNMERGEABLE = 13
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    PAGEOUT = 21
    COLLAPSE = 25


@dataclass(frozen=True)
class LiveMemory:
    """A range of regions at the same address in every process of a family."""

    address: int
    n_regions: int

    @property
    def n_bytes(self) -> int:
        """Its length."""
        return self.n_regions * HPAGE_PMD_SIZE_BYTES

    @property
    def n_pages(self) -> int:
        """Its length in pages."""
        return self.n_regions * HPAGE_PMD_NR

    def page(self, number: int) -> int:
        """Give the address of a page."""
        return self.address + number * PAGE_SIZE_BYTES

    def region(self, number: int) -> "LiveMemory":
        """Give one of its regions."""
        return LiveMemory(self.address + number * HPAGE_PMD_SIZE_BYTES, 1)


@dataclass(frozen=True)
class Reply:
    """What came of a command: its result, errno (0 for none), and the times of the pieces that it was done in."""

    result: int
    errno: int
    cpu_ns: tuple[int, ...]
    wall_ns: tuple[int, ...]

    @property
    def error(self) -> str:
        """Name the errno, or nothing."""
        return errno.errorcode.get(self.errno, str(self.errno)) if self.errno else ""


class Actor:
    """Be connected to one process; it does one thing at a time, and ends with the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self.pid = int(self._lines.readline())

    def tell(self, *words: object) -> Reply:
        """Let it do something that may fail."""
        self._connection.sendall(" ".join(map(str, words)).encode() + b"\n")
        return self.hear(words)

    def hear(self, words: object = "") -> Reply:
        """Wait for an answer. Raises: LiveError if the process has ended."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise LiveError(f"process {self.pid} of a live family ended during {words}")
        result, error, n, *times = map(int, line.split())
        return Reply(result, error, tuple(times[:n]), tuple(times[n:]))

    def do(self, *words: object) -> Reply:
        """Let it do something that has to work. Raises: LiveError."""
        reply = self.tell(*words)
        if reply.result == -1:
            raise LiveError(f"a live process failed: {' '.join(map(str, words))}: {os.strerror(reply.errno)}")
        return reply

    def map(self, n_regions: int, shared: bool = False) -> LiveMemory:
        """Map new anonymous memory, or shmem that forks share for good."""
        return LiveMemory(self.do("map", n_regions, int(shared)).result, n_regions)

    def write(self, memory: LiveMemory, pages: range, per_piece: int = 0, value: int = 1) -> Reply:
        """Write to the first bytes of pages, in pieces of so many (0: one piece)."""
        return self.do("touch", 1, memory.page(pages.start), len(pages), pages.step, per_piece, value)

    def read(self, memory: LiveMemory, pages: range, per_piece: int = 0) -> Reply:
        """Read the first bytes of pages."""
        return self.do("touch", 0, memory.page(pages.start), len(pages), pages.step, per_piece, 0)

    def advise(self, memory: LiveMemory, advice: Advice, pages: range | None = None, piece_bytes: int = 0) -> Reply:
        """Give advice on pages without a gap (default: all); the reply has the errno."""
        first, n_bytes = _extent(memory, pages)
        return self.tell("advise", first, n_bytes, int(advice), piece_bytes)

    def unmap(self, memory: LiveMemory, piece_bytes: int = 0) -> Reply:
        """Unmap all of a memory."""
        return self.do("unmap", memory.address, memory.n_bytes, 0, piece_bytes)

    def lock(self, memory: LiveMemory, pages: range) -> None:
        """Lock pages into memory (mlock()), and unlock them again."""
        self.do("lock", *_extent(memory, pages))

    def move(self, memory: LiveMemory, pages: range) -> None:
        """Move pages elsewhere (mremap()), and back."""
        self.do("move", *_extent(memory, pages))

    def pin(self, memory: LiveMemory, pages: range) -> int:
        """Pin pages as a buffer of an io_uring (FOLL_PIN); give a number for release()."""
        return self.do("pin", *_extent(memory, pages)).result

    def splice(self, memory: LiveMemory, pages: range) -> int:
        """Take references on pages by vmsplice() (FOLL_GET); give a number for release()."""
        return self.do("splice", *_extent(memory, pages)).result

    def release(self, held: int) -> None:
        """Give back what pin() or splice() took."""
        self.do("release", held)

    def end(self) -> None:
        """Let it exit, and wait until its memory is gone: files are closed after that."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
            while self._connection.recv(65536):
                pass
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.ECONNRESET, errno.EBADF):
                raise
        self._lines.close()
        self._connection.close()


def _extent(memory: LiveMemory, pages: range | None) -> tuple[int, int]:
    if pages is None:
        return memory.address, memory.n_bytes
    if pages.step != 1:
        raise ValueError(f"{pages}: pages without a gap are wanted")
    return memory.page(pages.start), len(pages) * PAGE_SIZE_BYTES
