"""What a layout holds, and what was watched, in lines for people."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thpsweep.model.capture.activity import Activity
from thpsweep.model.capture.copied import copied
from thpsweep.model.capture.layout import Layout
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES, US_PER_S, size

_FACTS = (
    ("program", "program"), ("command", "command"), ("kernel", "kernel_release"), ("date", "date"),
    ("THP enabled", "thp_enabled"), ("THP enabled for 2 MiB", "thp_pmd_enabled"),
    ("processes with THP off", "thp_disabled_processes"),
    ("processes with THP off unless advised", "thp_except_advised_processes"),
    ("regions dropped", "regions_dropped"), ("left out, THP forbidden", "nohugepage_regions_left_out"),
    ("regions that ask for THP", "regions_hugepage"), ("sharing", "sharing"), ("frame numbers", "frames_hidden"),
    ("folios", "folios"), ("processes of another user", "processes_left_out"),
    ("sharers of what is shared, mean", "mean_sharers"), ("ptes of shared pages", "ptes_shared"),
    ("grouped wrongly, at most", "ptes_grouped_wrongly_at_most"),
    ("on LRU lists (pages, folios)", "lru_entries"),
    ("Pss, kB", "pss_kib"), ("Pss as assumed, kB", "pss_assumed_kib"), ("apart, VMA by VMA, kB", "pss_apart_kib"),
)  # fmt: skip


def summary(layout: Layout) -> list[tuple[str, str]]:
    """List labels and values that say what a layout holds; huge pages under the labels of tools/mm/thpmaps."""
    provenance = layout.provenance
    rows = [(label, str(provenance[key])) for label, key in _FACTS if provenance.get(key, 0) not in (0, "")]
    if provenance.get("thp_pmd_enabled") == provenance.get("thp_enabled"):
        rows = [row for row in rows if row[0] != "THP enabled for 2 MiB"]
    rows += [
        ("processes", f"{layout.n_processes}"),
        ("regions of 2 MiB", f"{layout.n_regions}"),
        *_sharing_rows(layout),
    ]
    if n_swapped := int(np.bitwise_count(layout.swapped).sum(dtype=np.int64)):
        rows.append(("swapped", _pages(n_swapped, "ptes")))
    large = {label: n_kib for label, n_kib in provenance.items() if label.startswith("anon-thp-")} or _thpmaps_kib(
        layout
    )
    rows += [(label, f"{n_kib} kB") for label, n_kib in large.items() if n_kib] or [("huge pages", "none")]
    rows += _contiguous_rows(provenance)
    if "cpu_root_us_per_s" in provenance:
        root, others = (int(provenance[f"cpu_{who}_us_per_s"]) / US_PER_S for who in ("root", "others"))
        rows.append(("CPUs kept busy", f"{root + others:.2f}, by the root {root:.2f} of them"))
    return rows + (_activity_rows(layout.activity) if layout.activity else [])


def _contiguous_rows(provenance: Mapping[str, str | int]) -> list[tuple[str, str]]:
    """Tell how many ptes a CPU that coalesces would hold together already."""
    if not (n_ptes := int(provenance.get("ptes", 0))):
        return []
    shares = [f"{int(provenance[f'ptes_in_groups_of_{size}']) / n_ptes:.0%} of {size}" for size in (4, 16)]
    return [("ptes of contiguous pages", f"in whole aligned groups: {', '.join(shares)}")]


def _sharing_rows(layout: Layout) -> list[tuple[str, str]]:
    """Count pages by how many processes map them."""
    n_slots = np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64)
    degree = layout.members.sum(axis=1)[layout.cell_members]
    mapped, pages = int((n_slots * degree).sum()), int(n_slots.sum())
    rows = [("mapped", f"{_pages(pages)}, by {_pages(mapped, 'ptes')} of all processes together")]
    for low, high in _degrees(layout.n_processes):
        name = f"{low}" if low == high else f"{low}..{high}"
        label = "private" if high == 1 else f"shared by {name}"
        n_pages = int(n_slots[(degree >= low) & (degree <= high)].sum())
        rows += [(label, _pages(n_pages))] if n_pages else []
    found = copied(layout)
    if found.n_workers and found.by_each:
        rows.append(("copied since the fork", f"{found.share:.0%} of the parent's pages by the mean worker"))
    if layout.cell_outside.any():
        rows.append(("mapped elsewhere too", _mapped_outside(layout, n_slots)))
    return rows


def _pages(n_pages: int, name: str = "pages") -> str:
    return f"{n_pages} {name} ({size(n_pages * PAGE_SIZE_BYTES)})"


def _mapped_outside(layout: Layout, n_slots: npt.NDArray[np.int64]) -> str:
    """Count the pages that mappings outside the layout share; a layout tells only in which cells there are such pages."""
    if "pages_mapped_outside" in layout.provenance:
        return f"{layout.provenance['pages_mapped_outside']} pages"
    return f"at most {int(n_slots[layout.cell_outside > 0].sum())} pages"


def _activity_rows(activity: Activity) -> list[tuple[str, str]]:
    """List what was watched, with its interval and how it was seen, and what was not seen.

    The names are options of workload=captured.
    """
    rows = [("watched for", f"{activity.watched_s:.1f} s; rates, with 95 % intervals, as workload=captured has them:")]
    for name, rate in activity.rates.items():
        high = "more" if rate.high is None else f"{rate.high:.4g}"
        exact = rate.high == rate.low == rate.value
        value = f"{rate.value:.4g}" if exact else f"{rate.value:.4g} ({rate.low:.4g} to {high})"
        rows.append((f"  {name}", f"{value}: {rate.how}"))
    return rows + [("could not be seen", sentence) for sentence in activity.unseen]


def _degrees(n_processes: int) -> list[tuple[int, int]]:
    """Cut 1..n_processes into 1, 2, 3..4, 5..8, ..."""
    highs = [1 << power for power in range(n_processes.bit_length()) if 1 << power < n_processes] + [n_processes]
    return [(low + 1, high) for low, high in zip([0, *highs], highs, strict=False)]


def _thpmaps_kib(layout: Layout) -> dict[str, int]:
    """Add up, over the processes, the memory that 2 MiB folios map.

    Source: tools/mm/thpmaps.
    """
    n_slots = np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64) * (layout.cell_folio > 0)
    pmd = pte = total = 0
    for process in range(layout.n_processes):
        cells = layout.members[layout.cell_members, process]
        per_folio = np.bincount(layout.cell_folio[cells], weights=n_slots[cells])
        n_huge = int(layout.huge[process].sum())
        pmd += n_huge
        pte += int((per_folio == HPAGE_PMD_NR).sum()) - n_huge
        total += int(n_slots[cells].sum())
    page_kib = PAGE_SIZE_BYTES // 1024
    return {
        "anon-thp-pmd-aligned-2048kB": pmd * HPAGE_PMD_NR * page_kib,
        "anon-thp-pte-aligned-2048kB": pte * HPAGE_PMD_NR * page_kib,
        "anon-thp-pte-partial": (total - (pmd + pte) * HPAGE_PMD_NR) * page_kib,
    }
