"""Which 2 MiB regions of a process can become huge pages: the aligned insides of its private anonymous VMAs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from thpsweep.errors import CaptureError
from thpsweep.linux.proc.tree import VanishedError
from thpsweep.units import HPAGE_PMD_SIZE_BYTES

Span = tuple[int, int]
"""First region and the region after the last; a region's number is its address / 2 MiB."""

NO_HUGEPAGE, HUGEPAGE, SOFT_DIRTY = "nh", "hg", "sd"
"""VmFlags of smaps: VM_NOHUGEPAGE, VM_HUGEPAGE, VM_SOFTDIRTY. Source: Documentation/filesystems/proc.rst."""

_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$")


@dataclass(frozen=True)
class Vma:
    """One private anonymous VMA as smaps shows it. Units: addresses in bytes."""

    first_byte: int
    end_byte: int
    kib: Mapping[str, int]
    flags: frozenset[str]
    eligible: bool | None = None
    """THPeligible: whether a fault or khugepaged may make a huge page in it (of some size); None before Linux 5.0."""

    @property
    def span(self) -> Span:
        """Give the whole regions in it; there may be none."""
        return whole_regions(self.first_byte, self.end_byte)


def anonymous_spans(pid: int) -> list[Span]:
    """List the spans of whole regions that lie in one private anonymous VMA each, in the order of their addresses.

    Stack, vdso and file mappings are left out; the heap and named anonymous memory are in.
    Raises: VanishedError if the process is gone; CaptureError if it may not be looked into.
    """
    return [
        span
        for first_byte, end_byte in anonymous_ranges(pid)
        if (span := whole_regions(first_byte, end_byte))[0] < span[1]
    ]


def anonymous_ranges(pid: int) -> list[tuple[int, int]]:
    """List first and end address of each private anonymous VMA, ascending. Raises: VanishedError; CaptureError."""
    ranges = (anonymous_bytes(line) for line in _read(pid, "maps").splitlines())
    return [each for each in ranges if each is not None]


def anonymous_vmas(pid: int) -> list[Vma]:
    """List the private anonymous VMAs with their sums and flags: 30 ms for a GiB.

    Raises: VanishedError if the process is gone; CaptureError if it may not be looked into.
    """
    return list(_vmas(_read(pid, "smaps")))


def _vmas(text: str) -> Iterator[Vma]:
    place, kib, eligible = None, dict[str, int](), None
    for line in text.splitlines():
        if line[0] in "0123456789abcdef":
            place, kib, eligible = anonymous_bytes(line), {}, None
        elif matched := _FIELD.match(line):
            kib[matched.group(1)] = int(matched.group(2))
        elif line.startswith("THPeligible:"):
            eligible = line.split()[1] != "0"
        elif line.startswith("VmFlags:") and place is not None:  # the last line of each
            yield Vma(*place, kib, frozenset(line.split()[1:]), eligible)


def anonymous_span(line: str) -> Span | None:
    """Parse a line of maps: the whole regions in it, or None where it is no private anonymous VMA with one."""
    place = anonymous_bytes(line)
    if place is None:
        return None
    first, stop = whole_regions(*place)
    return (first, stop) if first < stop else None


def anonymous_bytes(line: str) -> tuple[int, int] | None:
    """Parse a line of maps: first and end address, or None where it is no private anonymous VMA.

    A private mapping of /dev/zero is one, although it has a file.
    Source: Documentation/filesystems/proc.rst, /proc/PID/maps; drivers/char/mem.c mmap_zero() (v6.18).
    """
    addresses, permissions, _offset, _device, inode, *rest = line.split(maxsplit=5)
    name = rest[0] if rest else ""
    anonymous = inode == "0" and (name in ("", "[heap]") or name.startswith("[anon:"))
    if permissions[3] != "p" or not (anonymous or name == "/dev/zero"):
        return None
    first_byte, end_byte = (int(address, 16) for address in addresses.split("-"))
    return first_byte, end_byte


def whole_regions(first_byte: int, end_byte: int) -> Span:
    """Give the span of the regions that lie in a range of addresses as a whole; it may be empty."""
    return -(-first_byte // HPAGE_PMD_SIZE_BYTES), end_byte // HPAGE_PMD_SIZE_BYTES


def _read(pid: int, name: str) -> str:
    try:
        text = Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error
    except PermissionError as error:
        raise CaptureError(f"pid {pid}: its memory may not be looked into: it is another user's, or guarded") from error
    if not text:  # it has exited and waits for its parent
        raise VanishedError(pid)
    return text
