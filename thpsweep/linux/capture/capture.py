"""Capture the memory of a living process and its descendants as a `Layout`: who shares which page, and no content."""

import ctypes
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError, NoRegionError
from thpsweep.linux.activity.judge import Judged
from thpsweep.linux.capture import folios
from thpsweep.linux.capture.assumed import capture as assumed
from thpsweep.linux.capture.forbidden import read_advice
from thpsweep.linux.capture.provenance import describe, enabled_for_pmds
from thpsweep.linux.capture.window import CaptureSources, Cells, Part, Plan, read_window
from thpsweep.linux.proc import pagemap
from thpsweep.linux.proc.kpage import FrameTable
from thpsweep.linux.proc.maps import anonymous_spans
from thpsweep.linux.proc.pagemap import Pagemap
from thpsweep.linux.proc.tree import Tree, TreeProcess, VanishedError, family, keep
from thpsweep.model.capture.layout import MAX_PROCESSES, WHY_FORBIDDEN, Layout
from thpsweep.units import HPAGE_PMD_SIZE_BYTES, PAGE_SIZE_BYTES

ATTEMPTS = 4
"""Times a tree is begun because a process of it ended."""

WINDOW_ROWS = (32_768, 512, 64, *[1] * 8)
"""Rows (process x region) read before the kernel is asked for their frames, at each attempt: at first 64 MiB of frame
numbers, then fewer, so that less can happen meanwhile; at least one region."""

SPARSE = 4
"""A process whose anonymous VMAs are so many times its memory is scanned for what is there before it is read."""

_CAP_SYS_ADMIN = 21


def capture(pid: int, *, children: bool = True, watched: Judged | None = None) -> Layout:
    """Capture a process, and its descendants unless told otherwise, without stopping them.

    Where frame numbers are hidden, the sharing is assumed, and the provenance says so: thpsweep.linux.capture.assumed.
    What was `watched` before becomes the layout's activity, and hot regions then come first.
    A 2 MiB region is in the layout where it lies in one private anonymous VMA and has a present or swapped page in at
    least one process. The same address in two processes is the same region. The zero page counts as none, as in the
    kernel. A KSM page counts as present, as in the kernel; its mappings at other addresses are in `cell_outside`, and
    so are the mappings of processes that are not in the tree.
    Raises: CaptureError saying what is missing.
    """
    require_kernel()
    known: Sequence[TreeProcess] | None = None
    for _ in range(ATTEMPTS):
        tree = family(pid, children)
        hidden = hidden_frames()
        if known is not None:
            tree = keep(tree, known)
        if len(tree.processes) > MAX_PROCESSES:
            raise CaptureError(f"pid {pid}: {len(tree.processes)} processes: expected 1..{MAX_PROCESSES}")
        try:
            return _assumed(tree, hidden, watched) if hidden else _capture(tree, watched)
        except VanishedError as error:
            if error.pid == pid:
                raise CaptureError(f"pid {pid}: ended while it was captured") from error
            # Helpers that come and go would never let a capture end: from now on only those that were there before.
            known = tree.processes
    raise CaptureError(f"pid {pid}: its descendants end faster than they can be captured")


def require_kernel() -> None:
    """Raise CaptureError where pages are not what a layout is made of."""
    if not sys.platform.startswith("linux"):
        raise CaptureError(f"a capture needs Linux, this is {sys.platform}")
    if (page_bytes := os.sysconf("SC_PAGE_SIZE")) != PAGE_SIZE_BYTES:
        raise CaptureError(f"a capture needs pages of {PAGE_SIZE_BYTES} bytes, this kernel has {page_bytes}")


def hidden_frames() -> str:
    """Tell why the kernel hides frame numbers, as it does from root of a user namespace, too; nothing if it does not."""
    effective = re.search(r"^CapEff:\s+(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    if effective and not int(effective.group(1), 16) >> _CAP_SYS_ADMIN & 1:
        return "without CAP_SYS_ADMIN the kernel hides frame numbers: run as root to see who shares what"
    page = ctypes.create_string_buffer(b"x", PAGE_SIZE_BYTES)
    address = ctypes.addressof(page)
    with Pagemap(os.getpid()) as own:
        frame = own.entry(address) & ((1 << 55) - 1)
    if frame == 0:
        return "the kernel hides frame numbers (a user namespace?): run as root of the machine to see who shares what"
    try:
        for name in ("kpagecount", "kpageflags"):
            with FrameTable(name) as table:
                if not table.read(np.array([frame])).any():
                    return f"/proc/{name} says nothing of a page in use (a container masks it?)"
    except CaptureError as error:
        return str(error)
    return ""


def _capture(tree: Tree, watched: Judged | None) -> Layout:
    """Read a tree once.

    Raises: VanishedError if a process of it ends; CaptureError.
    """
    provenance = describe(tree)
    has_scan = pagemap.scan_works()
    n = len(tree.processes)
    advice = read_advice([process.pid for process in tree.processes], tree.parents, enabled_for_pmds())
    with ExitStack() as stack:
        pagemaps = [stack.enter_context(Pagemap(process.pid)) for process in tree.processes]
        counts, flags = (stack.enter_context(FrameTable(name)) for name in ("kpagecount", "kpageflags"))
        keys = np.frombuffer(os.urandom(8 * n), np.uint64)
        every = [
            _regions(process.pid, table, has_scan) for process, table in zip(tree.processes, pagemaps, strict=True)
        ]
        plan = [np.setdiff1d(mine, forbidden) for mine, forbidden in zip(every, advice.forbidden, strict=True)]
        parts, n_dropped = _read_all(CaptureSources(pagemaps, counts, flags, keys, has_scan), plan)
    if not any(len(part.region) for part in parts):
        raise _nothing(tree, n_dropped, len(np.unique(np.concatenate(advice.forbidden))))
    provenance |= {
        "huge_source": "PAGEMAP_SCAN" if has_scan else "assumed of every row that maps a whole folio",
        "regions_dropped": n_dropped,
        **advice.facts(np.unique(np.concatenate([part.region for part in parts]))),
        "zero_page_ptes": sum(part.n_zero_ptes for part in parts),
        "ksm_frames": sum(part.n_ksm_frames for part in parts),
        "pages_mapped_outside": sum(part.n_mapped_outside for part in parts),
        **folios.facts(seen := [part.census for part in parts if part.census is not None]),
        **folios.contiguity(seen),
    }
    return _assemble(parts, tree, provenance, watched)


def _assumed(tree: Tree, why: str, watched: Judged | None) -> Layout:
    """Read a tree once, whose frame numbers are hidden. Raises: VanishedError; CaptureError."""
    tree, n_left_out = pagemap.readable(tree)
    part, facts = assumed.capture(tree, why)
    if not len(part.region):
        raise _nothing(tree, 0, int(facts["nohugepage_regions_left_out"]))
    provenance = describe(tree) | facts | {"regions_dropped": 0, "processes_left_out": n_left_out}
    return _assemble([part], tree, provenance, watched)


def _nothing(tree: Tree, n_dropped: int, n_forbidden: int) -> CaptureError:
    """Say why there is nothing in a layout."""
    reason = "no 2 MiB region of private anonymous memory is in use"
    if n_dropped:
        reason = f"none of {n_dropped} regions held still"
    elif n_forbidden:
        reason += f" but {n_forbidden} that forbid huge pages ({WHY_FORBIDDEN})"
    return (CaptureError if n_dropped else NoRegionError)(f"pid {tree.processes[0].pid}: {reason}")


def _regions(pid: int, table: Pagemap, has_scan: bool) -> npt.NDArray[np.int64]:
    """List the regions to read: all of the anonymous VMAs, or the populated ones where these are mostly empty."""
    spans = anonymous_spans(pid)
    n_bytes = sum(stop - first for first, stop in spans) * HPAGE_PMD_SIZE_BYTES
    if has_scan and n_bytes > SPARSE * _memory_bytes(pid):
        anything = pagemap.PAGE_IS_PRESENT | pagemap.PAGE_IS_SWAPPED
        ranges = (place for span in spans for place in table.scan(span, 0, anything))
        spans = [(start // HPAGE_PMD_SIZE_BYTES, -(-end // HPAGE_PMD_SIZE_BYTES)) for start, end in ranges]
    return np.unique(np.concatenate([np.arange(*span) for span in spans] or [np.zeros(0, np.int64)]))


def _memory_bytes(pid: int) -> int:
    """Add up resident and swapped memory."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise VanishedError(pid) from error
    return 1024 * sum(int(n_kib) for n_kib in re.findall(r"^Vm(?:RSS|Swap):\s+(\d+) kB", status, re.MULTILINE))


def _read_all(sources: CaptureSources, plan: Plan) -> tuple[list[Part], int]:
    """Read all regions in windows, those that did not hold still again in small ones; count the ones given up."""
    parts: list[Part] = []
    pending = np.unique(np.concatenate(plan))
    for attempt, n_rows in enumerate(WINDOW_ROWS, start=1):
        step = max(1, n_rows // len(plan))
        moving = []
        for start in range(0, len(pending), step):
            part, restless = read_window(sources, plan, pending[start : start + step], attempt == len(WINDOW_ROWS))
            parts.append(part)
            moving.append(restless)
        pending = np.concatenate(moving) if moving else pending
    return parts, len(pending)


def _assemble(parts: Sequence[Part], tree: Tree, provenance: dict[str, str | int], watched: Judged | None) -> Layout:
    """Put the parts together; addresses, signatures and first frames of folios become plain numbers."""
    addresses = np.unique(np.concatenate([part.region for part in parts]))
    hot = np.isin(addresses, watched.hot if watched else [])
    position = np.empty(len(addresses), np.int64)
    position[np.argsort(~hot, kind="stable")] = np.arange(len(addresses))

    def placed(regions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray(position[np.searchsorted(addresses, regions)])

    shape = (len(tree.processes), len(addresses))
    present, swapped = np.zeros((*shape, 8), np.uint64), np.zeros((*shape, 8), np.uint64)
    huge = np.zeros(shape, np.bool_)
    for part in parts:
        place = part.process, placed(part.region)
        present[place], swapped[place], huge[place] = part.present, part.swapped, part.huge
    cells = _in_order([part.cells for part in parts], placed)
    signatures, first = np.unique(np.concatenate([part.signatures for part in parts]), return_index=True)
    region = cells.region
    folio = np.unique(np.append(0, (region << 32 | cells.head) * (cells.head > 0)), return_inverse=True)[1][1:]
    return Layout(
        present=present,
        swapped=swapped,
        huge=huge,
        cell_region=region.astype(np.int32),
        cell_members=np.searchsorted(signatures, cells.signature).astype(np.int32),
        cell_slots=cells.slots,
        cell_folio=folio.astype(np.int32),
        cell_outside=np.minimum(cells.outside, np.iinfo(np.int32).max).astype(np.int32),
        members=np.concatenate([part.members for part in parts])[first],
        parent=np.array(tree.parents, np.int32),
        provenance=provenance,
        activity=watched.activity(int(hot.sum()), len(addresses)) if watched else None,
    )


def _in_order(parts: Sequence[Cells], placed: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]) -> Cells:
    """Join cells, and sort them by the regions' places, which become their numbers."""
    names = ("region", "signature", "slots", "head", "outside")
    joined = {name: np.concatenate([getattr(cells, name) for cells in parts]) for name in names}
    joined["region"] = placed(joined["region"])
    order = np.argsort(joined["region"], kind="stable")
    return Cells(**{name: values[order] for name, values in joined.items()})
