"""The memory of a live process tree, page by page, as `thpsweep capture` found it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from thpsweep.model import bits, captures
from thpsweep.model.captures import SAMPLES as SAMPLES
from thpsweep.model.layout import Layout, content_hash
from thpsweep.model.start import Start
from thpsweep.model.workloads.base import Workload, hot_count


@dataclasses.dataclass
class Captured(Workload):
    """Take the frames and their sharing from a file; what the processes do is given by rates.

    A sharing degree below the number of captured processes keeps the first of them, the root included. A degree above it
    replicates the sharer, other than the root, that has the fewest pages to itself, as if it had forked again: its pages
    become the replicas' too. Mappings by processes outside the captured tree are left out. Both are said in the result.
    """

    path: str

    def __post_init__(self) -> None:
        super().__post_init__()
        captures.check_name("workload.path", self.path)

    def file(self) -> Path:
        """Find the captured file. Raises: OptionError where there is none."""
        return captures.find("workload.path", self.path)

    def identity(self) -> dict[str, str]:
        """Give the hash of the file, so that a changed capture is another point."""
        return {"sha256": content_hash(self.file())}

    def start(self, n_sharers: int) -> Start:
        """Lay out the captured processes, cut or replicated to the number of sharers."""
        layout = captures.load(self.file())
        class_of = _classes(layout, n_sharers)
        return Start(
            n_regions=layout.present.shape[1],
            class_of=class_of,
            cell_region=layout.cell_region.astype(np.int64),
            cell_slots=layout.cell_slots,
            cell_folio=layout.cell_folio.astype(np.int64),
            cell_classes=layout.members[layout.cell_members],
            swapped=layout.swapped,
            pmd=layout.huge,
        )

    def describe(self, n_sharers: int) -> dict[str, Any]:
        """Say what was captured, what was replicated and what was left out."""
        layout = captures.load(self.file())
        n_processes, n_regions = layout.present.shape[:2]
        source = _most_shared(layout)
        facts: dict[str, Any] = {
            "program": str(layout.provenance.get("program", "")),
            "captured_sharers": n_processes,
            "replicated_sharers": max(0, n_sharers - n_processes),
            "regions": n_regions,
            "hot_regions": hot_count(n_regions, self.hot_regions),
        }
        outside = int(layout.cell_outside.max(initial=0))
        if n_sharers > n_processes:
            facts["note_replicated"] = (
                f"{n_processes} processes were captured; process {source} of them, with {_own_pages(layout)[source]} "
                f"pages to itself, was replicated to reach the sharing degree"
            )
        if n_sharers < n_processes:
            facts["note_cut"] = f"only the first sharers of the {n_processes} captured processes were kept"
        if outside:
            facts["note_outside"] = f"up to {outside} mappings of a page by processes outside the tree were left out"
        return facts


def _own_pages(layout: Layout) -> list[int]:
    """Count the pages that only one process maps, process by process."""
    alone = layout.members.sum(axis=1)[layout.cell_members] == 1
    pages = bits.count(layout.cell_slots[alone])
    owner = layout.members[layout.cell_members[alone]].argmax(axis=1)
    return [int(pages[owner == process].sum()) for process in range(layout.present.shape[0])]


def _most_shared(layout: Layout) -> int:
    """Name the process, other than the root if there is another, with the fewest pages to itself."""
    own = _own_pages(layout)
    return 1 + int(np.argmin(own[1:])) if len(own) > 1 else 0


def _classes(layout: Layout, n_sharers: int) -> np.ndarray:
    n_processes = layout.present.shape[0]
    classes = np.full(n_sharers, _most_shared(layout), np.int64)
    kept = min(n_sharers, n_processes)
    classes[:kept] = np.arange(kept)
    return classes
