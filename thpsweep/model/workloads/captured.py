"""The memory of a live process tree, page by page, as `thpsweep capture` found it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thpsweep.errors import CaptureError, OptionError
from thpsweep.model import bits
from thpsweep.model.capture import files
from thpsweep.model.capture.activity import MEASURED
from thpsweep.model.capture.files import SAMPLES as SAMPLES
from thpsweep.model.capture.layout import WHY_FORBIDDEN, Layout, content_hash
from thpsweep.model.capture.start import Start
from thpsweep.model.workloads.base import RECLAIM, Workload, hot_count

CAPTURED_OR = "captured_or"
"""Key of a rate that is the file's, where the file has it; its value is what stands for it elsewhere."""


@dataclasses.dataclass
class Captured(Workload):
    """Take the frames and their sharing from a file, and the rates that it has; other rates are given.

    A rate is a number, or {captured_or: number}: what was measured when the memory was captured, or else that number.
    Once made, a workload has numbers only.

    A sharing degree below the number of captured processes keeps the first of them, the root included. A degree above it
    replicates the sharer, other than the root, that has the fewest pages to itself, as if it had forked again: its pages
    become the replicas' too. Mappings by processes outside the captured tree are left out. The result says both.
    """

    hot_regions: Any
    root_hot_writes_per_page_hour: Any
    root_cold_writes_per_page_hour: Any
    worker_hot_writes_per_page_hour: Any
    worker_cold_writes_per_page_hour: Any
    reads_per_page_hour: Any
    write_clustering: Any = dataclasses.field(default=0.0, kw_only=True)
    page_walk_share: Any
    worker_life_s: Any
    worker_gap_s: Any
    pins_per_process_hour: Any
    pages_per_request: Any
    swap_outs_per_page_hour: Any
    reclaim: Any
    path: str

    def __post_init__(self) -> None:
        files.check_name("workload.path", self.path)
        for name in MEASURED:
            setattr(self, name, self._rate(name, getattr(self, name)))
        self.reclaim = self._reclaim(self.reclaim)
        super().__post_init__()

    def _rate(self, name: str, value: object) -> object:
        """Give a rate as a number: the file's, or the one that is given."""
        if isinstance(value, Mapping):
            if list(value) != [CAPTURED_OR]:
                raise OptionError(f"workload.{name}", dict(value), f"a number, or {{{CAPTURED_OR}: a number}}")
            measured = self._measured(name)
            value = value[CAPTURED_OR] if measured is None else measured
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return float(value) if is_whole and name != "pages_per_request" else value  # type: ignore[arg-type]

    def _reclaim(self, value: object) -> object:
        """Give how the captured machine reclaims; a file that does not say so, but saw pages swapped out, had LRU lists."""
        if not isinstance(value, Mapping):
            return value
        if list(value) != [CAPTURED_OR]:
            raise OptionError(
                "workload.reclaim", dict(value), f"one of {', '.join(RECLAIM)}, or {{{CAPTURED_OR}: one}}"
            )
        told = files.load(self.file()).provenance.get("reclaim")
        return told or ("classic" if self.swap_outs_per_page_hour else value[CAPTURED_OR])

    def _measured(self, name: str) -> float | int | None:
        try:
            activity = files.load(self.file()).activity
        except CaptureError as error:
            wanted = f"workload.path={self.path!r}: expected a file that `thpsweep capture` wrote"
            raise CaptureError(f"{wanted}; {error}") from error
        return None if activity is None else activity.option(name)

    def file(self) -> Path:
        """Find the captured file. Raises: OptionError where there is none."""
        return files.find("workload.path", self.path)

    def identity(self) -> dict[str, str]:
        """Give the hash of the file, so that a changed capture is another point."""
        return {"sha256": content_hash(self.file())}

    def start(self, n_sharers: int) -> Start:
        """Lay out the captured processes, cut or replicated to the number of sharers."""
        layout = files.load(self.file())
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

    def contiguous(self, size: int) -> float:
        """Take it from the file, where frames were seen: of all processes together."""
        known = files.load(self.file()).provenance
        n_ptes, in_groups = (known.get(name, 0) for name in ("ptes", f"ptes_in_groups_of_{size}"))
        if not isinstance(n_ptes, int) or not isinstance(in_groups, int) or not 0 <= in_groups <= n_ptes or not n_ptes:
            return 0.0
        return in_groups / n_ptes

    def describe(self, n_sharers: int) -> dict[str, Any]:
        """Say what was captured, what was replicated and what was left out."""
        layout = files.load(self.file())
        n_processes, n_regions = layout.present.shape[:2]
        source = _most_shared(layout)
        facts: dict[str, Any] = {
            "program": str(layout.provenance.get("program", "")),
            "captured_sharers": n_processes,
            "replicated_sharers": max(0, n_sharers - n_processes),
            "regions": n_regions,
            "hot_regions": hot_count(n_regions, self.hot_regions),
        }
        if layout.activity is not None:
            taken = [name for name in MEASURED if getattr(self, name) == layout.activity.option(name)]
            facts["note_rates"] = (
                f"measured when the memory was captured, over {layout.activity.watched_s:.0f} s: "
                f"{', '.join(taken) or 'no rate'}; the other rates are assumed"
            )
        outside = int(layout.cell_outside.max(initial=0))
        if n_sharers > n_processes:
            facts["note_replicated"] = (
                f"only {n_processes} processes were captured; the other {n_sharers - n_processes:,} are copies of "
                f"process {source}, which had {_own_pages(layout)[source]:,} pages to itself"
            )
        if n_sharers < n_processes:
            first = "the first" if n_sharers == 1 else f"the first {n_sharers}"
            facts["note_cut"] = f"of the {n_processes} captured processes only {first} took part"
        facts |= _as_captured(layout)
        if outside:
            facts["note_outside"] = f"up to {outside} mappings of a page by processes outside the tree were left out"
        return facts


def _as_captured(layout: Layout) -> dict[str, str]:
    """Say what the file says of itself: sharing that was assumed, memory that was left out, THP that is off."""
    provenance, facts = layout.provenance, dict[str, str]()
    if "sharing" in provenance:
        facts["note_assumed_sharing"] = (
            f"frame numbers were hidden; {provenance['sharing']}: by Pss at most "
            f"{provenance.get('ptes_grouped_wrongly_at_most')} of {provenance.get('ptes_shared')} ptes of shared pages "
            "are in another group"
        )
    if n := provenance.get("nohugepage_regions_left_out"):
        facts["note_forbidden"] = f"{n} regions that forbid huge pages ({WHY_FORBIDDEN}) were left out"
    if n := provenance.get("thp_disabled_processes"):
        facts["note_thp_off"] = f"{n} processes had THP off (PR_SET_THP_DISABLE); simulated as if they had not"
    if n := provenance.get("thp_except_advised_processes"):
        facts["note_thp_except_advised"] = (
            f"{n} processes had THP off but where they ask for it (PR_THP_DISABLE_EXCEPT_ADVISED); simulated as if "
            "they had not"
        )
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
