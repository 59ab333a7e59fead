"""Which 2 MiB regions of a process can become huge pages: the aligned insides of its private anonymous VMAs."""

from pathlib import Path

from thpsweep.linux.tree import VanishedError
from thpsweep.units import HPAGE_PMD_SIZE_BYTES

Span = tuple[int, int]
"""First region and the region after the last; a region's number is its address / 2 MiB."""


def anonymous_spans(pid: int) -> list[Span]:
    """List the spans of whole regions that lie in one private anonymous VMA each, in the order of their addresses.

    Stack, vdso and file mappings are left out; the heap and named anonymous memory are in.
    Raises: VanishedError if the process is gone.
    """
    try:
        text = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error
    if not text:  # it has exited and waits for its parent
        raise VanishedError(pid)
    spans = (anonymous_span(line) for line in text.splitlines())
    return [span for span in spans if span is not None]


def forbidden_regions(pid: int) -> int:
    """Count the regions of a process whose VMA forbids huge pages (MADV_NOHUGEPAGE): 30 ms for a GiB.

    Source: Documentation/filesystems/proc.rst, "VmFlags", nh. Raises: VanishedError if the process is gone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error
    span, found = None, 0
    for line in text.splitlines():
        if line.startswith("VmFlags:"):
            found += span[1] - span[0] if span and "nh" in line.split() else 0
        elif line[0] in "0123456789abcdef":
            span = anonymous_span(line)
    return found


def anonymous_span(line: str) -> Span | None:
    """Parse a line of maps: the whole regions in it, or None where it is no private anonymous VMA with one.

    Source: Documentation/filesystems/proc.rst, /proc/PID/maps.
    """
    addresses, permissions, _offset, _device, inode, *rest = line.split(maxsplit=5)
    name = rest[0] if rest else ""
    anonymous = name in ("", "[heap]") or name.startswith("[anon:")
    if permissions[3] != "p" or inode != "0" or not anonymous:
        return None
    first_byte, end_byte = (int(address, 16) for address in addresses.split("-"))
    first, stop = -(-first_byte // HPAGE_PMD_SIZE_BYTES), end_byte // HPAGE_PMD_SIZE_BYTES
    return (first, stop) if first < stop else None
