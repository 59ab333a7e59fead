"""Pasted text, what is imported of it, and the totals of that."""

from pathlib import Path

import numpy as np

from thpsweep.linux.capture.imported.command import imported
from thpsweep.linux.capture.imported.lines import lines
from thpsweep.linux.capture.imported.reader import read
from thpsweep.model.capture.layout import Layout

PASTES = Path(__file__).parent / "pastes"
REGION = 2 << 20


def layout_of(*texts: str | bytes) -> Layout:
    """Import texts, each of which is a file."""
    data = [text.encode() if isinstance(text, str) else text for text in texts]
    return imported(read([list(lines(each, f"{number}.txt")) for number, each in enumerate(data)]))


def paste(name: str) -> str:
    """Read a paste."""
    return (PASTES / f"{name}.txt").read_text()


def rss_kib(layout: Layout) -> list[int]:
    """Count what each process of the text maps."""
    pages = np.bitwise_count(layout.present).sum(axis=(1, 2), dtype=np.int64) * 4
    return pages[: int(layout.provenance["processes_imported"])].tolist()


def pss_kib(layout: Layout) -> list[float]:
    """Divide each page by those who map it, and add up what the processes of the text have."""
    sharers = layout.members.sum(axis=1)[layout.cell_members] + layout.cell_outside
    part = np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64) * 4 / sharers
    each = (layout.members[layout.cell_members] * part[:, None]).sum(axis=0)
    return each[: int(layout.provenance["processes_imported"])].tolist()


def huge_kib(layout: Layout) -> list[int]:
    """Count what PMDs map."""
    return (layout.huge.sum(axis=1) * 2048)[: int(layout.provenance["processes_imported"])].tolist()


def mapping(first=0x7F1200000000, regions=4, rss=4096, pss=None, shared=0, swap=0, huge=0, rest="", pid=None):
    """Write a mapping as smaps does."""
    pss = rss if pss is None else pss
    return (
        (f"==> /proc/{pid}/smaps <==\n" if pid else "")
        + f"{first:x}-{first + regions * REGION:x} rw-p 00000000 00:00 0 \nSize: {regions * 2048:11} kB\nRss: {rss:12} kB\n"
        f"Pss: {pss:12} kB\nShared_Clean: {0:8} kB\nShared_Dirty: {shared:8} kB\nPrivate_Clean: {0:7} kB\n"
        f"Private_Dirty: {rss - shared:7} kB\nAnonHugePages: {huge:6} kB\nSwap: {swap} kB\n"
        f"{rest}VmFlags: rd wr mr mw me ac \n"
    )
