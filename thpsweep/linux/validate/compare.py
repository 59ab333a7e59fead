"""Hold what the kernel did against what the model did: outcomes, sharing, memory."""

import itertools

import numpy as np
import numpy.typing as npt

from thpsweep.linux.validate.state import State, StepResult, View
from thpsweep.units import HPAGE_PMD_NR

_ONE_TABLE_KIB = 4
_DUST_KIB = 0.01
"""What fractions of bytes may add up to over the pages of a region."""


def outcomes(kernel: StepResult, model: StepResult) -> list[str]:
    """List what differs in the result of a step: its errno, and its name where the kernel's could be read."""
    if kernel.errno == model.errno and kernel.result in ("", model.result):
        return []
    return [f"outcome: kernel {kernel}, model {model}"]


def tables(kernel: StepResult, model: StepResult) -> list[str]:
    """List what differs in page tables gained or lost; the process may have got one for memory that is not the case's."""
    if kernel.tables_kib is None or model.tables_kib is None:
        return []
    if kernel.tables_kib - model.tables_kib in (0, _ONE_TABLE_KIB):
        return []
    return [f"page tables: kernel {kernel.tables_kib:+d} kB, model {model.tables_kib:+d} kB"]


def faults(kernel: StepResult, model: StepResult) -> list[str]:
    """List what differs in the number of page faults that a step took.

    A fault that makes a PMD writable permits 512 pages at once, and nothing is flushed for it: the CPU drops the TLB entry
    of the faulting address alone. Where the hypervisor backs the 2 MiB with small pages, the TLB holds an entry for each
    of them, and a CPU that looks up the addresses of later writes ahead of time has read-only ones by then: each faults
    once more, to no effect. Intel's do, AMD's were not seen to. A pte is one page: the rule is of PMDs alone.
    Source: arch/x86/mm/pgtable.c pmdp_set_access_flags(), mm/huge_memory.c huge_pmd_set_accessed() (v6.18); Intel SDM
    volume 3, 4.10.4.3 "Optional Invalidation" and 4.10.2.3, 2 MiB pages of which small pieces are cached.
    """
    if kernel.faults is None or model.faults is None:
        return []
    if model.faults <= kernel.faults <= model.faults + model.spurious_faults:
        return []
    return [f"page faults: kernel {kernel.faults}, model {model.faults}"]


def memory(kernel: State, model: State) -> list[str]:
    """List what differs in form and sums, process by process."""
    lines = []
    for name, live in kernel.views.items():
        mine = model.views[name]
        pairs = (
            ("Rss", live.rss_kib, mine.rss_kib, 0.0),
            ("Pss", live.pss_kib, mine.pss_kib, live.slack_kib),  # rounded down, VMA by VMA
            ("huge", live.huge_kib, mine.huge_kib, 0.0),
            ("Swap", live.swap_kib, mine.swap_kib, 0.0),
        )
        lines += [
            f"{name} {label}: kernel {of_kernel:g} kB, model {of_model:g} kB"
            for label, of_kernel, of_model, slack in pairs
            if not -_DUST_KIB <= of_model - of_kernel <= slack + _DUST_KIB
        ]
        if live.huge is not None and mine.huge is not None and not np.array_equal(live.huge, mine.huge):
            lines.append(f"{name} PMD-mapped regions: kernel {_list(live.huge)}, model {_list(mine.huge)}")
        if n := _differing(live.swapped, mine.swapped):
            lines.append(f"{name}: {n} pages swapped on one side only")
    if kernel.pages_in_use is not None and kernel.pages_in_use != model.pages_in_use:
        lines.append(f"pages in use: kernel {kernel.pages_in_use}, model {model.pages_in_use}")
    return lines


def sharing(kernel: State, model: State) -> list[str]:
    """List the pairs of processes that do not share the same pages, and the pages that are not there on one side."""
    lines = []
    for one, other in itertools.combinations_with_replacement(kernel.views, 2):
        live, mine = _same(kernel, one, other), _same(model, one, other)
        if live is not None and mine is not None and (n := int(np.count_nonzero(live != mine))):
            what = "present" if one == other else f"shared with {other}"
            lines.append(f"{one}: {live.sum()} pages {what} in the kernel, {mine.sum()} in the model, {n} differ")
    for name, view in kernel.views.items():
        if n := _differing(_by_ptes(view), _by_ptes(model.views[name])):
            lines.append(f"{name}: {n} pages mapped by one process alone on one side only")
    return lines


def kept(kernel: tuple[State, State], model: tuple[State, State]) -> list[str]:
    """List processes of which other pages than in the model kept their frame over a step."""
    lines = []
    for name in kernel[1].views.keys() & kernel[0].views.keys():
        live, mine = (_kept(*(state.views[name].frames for state in side)) for side in (kernel, model))
        if live is not None and mine is not None and (n := int(np.count_nonzero(live != mine))):
            lines.append(
                f"{name}: {live.sum()} pages kept their frame in the kernel, {mine.sum()} in the model, {n} differ"
            )
    return lines


Frames = npt.NDArray[np.int64]


def _same(state: State, one: str, other: str) -> npt.NDArray[np.bool_] | None:
    return _kept(state.views[one].frames, state.views[other].frames)


def _kept(before: Frames | None, after: Frames | None) -> npt.NDArray[np.bool_] | None:
    """Tell which pages have the same frame, at the same address: none of the cases shares at others."""
    if before is None or after is None:
        return None
    return np.asarray((before == after) & (before != 0))


def _by_ptes(view: View) -> npt.NDArray[np.bool_] | None:
    """Give the pages that are mapped alone, by a pte: of all pages under a PMD the kernel tells what the first one is."""
    if view.alone is None or view.huge is None:
        return None
    return np.asarray(view.alone & ~np.repeat(view.huge, HPAGE_PMD_NR)[: view.alone.size])


def _differing(kernel: npt.NDArray[np.bool_] | None, model: npt.NDArray[np.bool_] | None) -> int:
    """Count the pages of which the two say another thing, where both are known."""
    return 0 if kernel is None or model is None else int(np.count_nonzero(kernel != model))


def _list(flags: npt.NDArray[np.bool_]) -> str:
    return str(np.flatnonzero(flags).tolist())
