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

NO_HUGEPAGE, HUGEPAGE = "nh", "hg"
"""VmFlags of smaps: MADV_NOHUGEPAGE, MADV_HUGEPAGE. Source: Documentation/filesystems/proc.rst."""

_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$")


@dataclass(frozen=True)
class Vma:
    """One private anonymous VMA as smaps shows it. Units: addresses in bytes."""

    first_byte: int
    end_byte: int
    kib: Mapping[str, int]
    flags: frozenset[str]

    @property
    def span(self) -> Span:
        """Give the whole regions in it; there may be none."""
        return _inside(self.first_byte, self.end_byte)


def anonymous_spans(pid: int) -> list[Span]:
    """List the spans of whole regions that lie in one private anonymous VMA each, in the order of their addresses.

    Stack, vdso and file mappings are left out; the heap and named anonymous memory are in.
    Raises: VanishedError if the process is gone; CaptureError if it may not be looked into.
    """
    spans = (anonymous_span(line) for line in _read(pid, "maps").splitlines())
    return [span for span in spans if span is not None]


def anonymous_vmas(pid: int) -> list[Vma]:
    """List the private anonymous VMAs with their sums and flags: 30 ms for a GiB.

    Raises: VanishedError if the process is gone; CaptureError if it may not be looked into.
    """
    return list(_vmas(_read(pid, "smaps")))


def _vmas(text: str) -> Iterator[Vma]:
    place, kib = None, dict[str, int]()
    for line in text.splitlines():
        if line[0] in "0123456789abcdef":
            place, kib = _anonymous_bytes(line), {}
        elif found := _FIELD.match(line):
            kib[found.group(1)] = int(found.group(2))
        elif line.startswith("VmFlags:") and place is not None:  # the last line of each
            yield Vma(*place, kib, frozenset(line.split()[1:]))


def anonymous_span(line: str) -> Span | None:
    """Parse a line of maps: the whole regions in it, or None where it is no private anonymous VMA with one."""
    place = _anonymous_bytes(line)
    if place is None:
        return None
    first, stop = _inside(*place)
    return (first, stop) if first < stop else None


def _anonymous_bytes(line: str) -> tuple[int, int] | None:
    """Parse a line of maps: first and end address, or None where it is no private anonymous VMA.

    Source: Documentation/filesystems/proc.rst, /proc/PID/maps.
    """
    addresses, permissions, _offset, _device, inode, *rest = line.split(maxsplit=5)
    name = rest[0] if rest else ""
    anonymous = name in ("", "[heap]") or name.startswith("[anon:")
    if permissions[3] != "p" or inode != "0" or not anonymous:
        return None
    first_byte, end_byte = (int(address, 16) for address in addresses.split("-"))
    return first_byte, end_byte


def _inside(first_byte: int, end_byte: int) -> Span:
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
