"""Capture one's own processes where the kernel hides frame numbers: the sharers of a page are assumed, and Pss tells how
far that can be wrong."""

import os
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from thpsweep.linux.capture.assumed.groups import Cell, Region, cells, correct_pmds, groups, regions, shares, unpacked
from thpsweep.linux.capture.assumed.pss import Bound, Sums, bound
from thpsweep.linux.capture.assumed.rows import AssumedRows, Boards, Ints, read
from thpsweep.linux.capture.forbidden import is_except_advised
from thpsweep.linux.capture.provenance import enabled_for_pmds
from thpsweep.linux.capture.window import Cells, Part
from thpsweep.linux.proc import pagemap
from thpsweep.linux.proc.maps import HUGEPAGE, NO_HUGEPAGE, Vma, anonymous_vmas
from thpsweep.linux.proc.pagemap import Pagemap, boards
from thpsweep.linux.proc.tree import Tree
from thpsweep.units import HPAGE_PMD_NR

ASSUMPTION = (
    "assumed: a page that is present and not mapped by one process alone (pagemap bit 56) is shared by all processes of "
    "the same program start that map one at its address, as forks leave it"
)
NO_FOLIOS = "folios of 2 MiB show only where a PMD maps them: pte-mapped ones count as small pages"
NO_ZEROES = "without PAGEMAP_SCAN (Linux 6.7) the zero page counts as a shared page, and no PMD shows"


def capture(tree: Tree, why: str) -> tuple[Part, dict[str, str | int]]:
    """Read a tree once; give what is assumed of it, and the facts that have to be known of that.

    Raises: VanishedError if a process of it ends; CaptureError.
    """
    has_scan = pagemap.scan_works()
    vmas = [(number, vma) for number, each in enumerate(tree.processes) for vma in anonymous_vmas(each.pid)]
    with ExitStack() as stack:
        tables = [stack.enter_context(Pagemap(process.pid)) for process in tree.processes]
        rows = read(tables, vmas, has_scan)
    part, held_against = _assume(rows, tree, [vma for _, vma in vmas])
    facts: dict[str, str | int] = {
        "sharing": ASSUMPTION,
        "frames_hidden": why,
        "huge_source": "PAGEMAP_SCAN" if has_scan else "nothing tells",
        "folios": NO_FOLIOS if has_scan else NO_ZEROES,
        "zero_page_ptes": rows.n_zero_ptes,
        **_flags(tree, vmas, part.region),
        **held_against.facts(),
    }
    return part, facts


def _flags(tree: Tree, vmas: Sequence[tuple[int, Vma]], captured: Ints) -> dict[str, int]:
    """Count regions that forbid huge pages in some process, and those captured that ask for them in the root."""
    forbidden = {n for _, vma in vmas if NO_HUGEPAGE in vma.flags for n in range(*vma.span)}
    wanted = {n for number, vma in vmas if number == 0 and HUGEPAGE in vma.flags for n in range(*vma.span)}
    enabled = enabled_for_pmds()
    excepted = [
        is_except_advised(tree.processes[n].pid, [vma for m, vma in vmas if m == n], enabled)
        for n in {n for n, _ in vmas}
    ]
    return {
        "nohugepage_regions_left_out": len(forbidden),
        "regions_hugepage": len(wanted & set(captured.tolist())),
        "thp_except_advised_processes": sum(excepted),
    }


def _assume(rows: AssumedRows, tree: Tree, vmas: Sequence[Vma]) -> tuple[Part, Bound]:
    """Group all rows, region by region, and hold the groups against Pss."""
    n = len(tree.processes)
    keys = np.frombuffer(os.urandom(8 * n), np.uint64)
    images = {image: number for number, image in enumerate(dict.fromkeys(each.image for each in tree.processes))}
    image = np.array([images[each.image] for each in tree.processes], np.int64)
    sums, found_cells = Sums.of(len(vmas)), list[Cell]()
    for region in (correct_pmds(each, image) for each in regions(rows)):
        grouped = list(groups(region, image, keys))
        found_cells += cells(region, grouped, n)
        _add(sums, rows, region, shares(region, grouped))
    return _part(rows, found_cells, keys), bound(vmas, sums)


def _add(sums: Sums, rows: AssumedRows, region: Region, share: np.ndarray) -> None:
    """Add a region's pages to the VMAs that they are in."""
    index = region.index
    mine = share[np.searchsorted(region.process, rows.process[index])]
    present = unpacked(rows.present[index])
    shared = present & region.shared[np.searchsorted(region.process, rows.process[index])]
    smallest = np.where(shared, mine, 1.0).min(axis=1)
    for position, vma in enumerate(rows.vma[index].tolist()):
        sums.pss_pages[vma] += float(mine[position][present[position]].sum())
        sums.shared[vma] += int(shared[position].sum())
        sums.alone[vma] += int((present[position] & ~shared[position]).sum())
        sums.most[vma] = max(int(sums.most[vma]), round(1.0 / float(smallest[position])))


def _part(rows: AssumedRows, parts: Sequence[Cell], keys: np.ndarray) -> Part:
    """Put rows where a huge page may be, and the cells, into the form of a capture that knows frames."""
    fit = np.flatnonzero(rows.fit)
    members = np.stack([cell.members for cell in parts]) if parts else np.zeros((0, len(keys)), np.bool_)
    signature = np.array([np.bitwise_xor.reduce(keys[each]) for each in members], np.uint64)
    signatures, first = np.unique(signature, return_index=True)
    return Part(
        process=rows.process[fit],
        region=rows.region[fit],
        present=rows.present[fit],
        swapped=rows.swapped[fit],
        huge=rows.huge[fit],
        cells=Cells(
            region=np.array([cell.region for cell in parts], np.int64),
            signature=signature,
            slots=_slots(parts),
            head=np.array([cell.folio for cell in parts], np.int64),
            outside=np.array([cell.outside for cell in parts], np.int64),
        ),
        signatures=signatures,
        members=members[first],
        n_zero_ptes=rows.n_zero_ptes,
        n_ksm_frames=0,
    )


def _slots(parts: Sequence[Cell]) -> Boards:
    slots = np.stack([cell.slots for cell in parts]) if parts else np.zeros((0, HPAGE_PMD_NR), np.bool_)
    return boards(slots)
