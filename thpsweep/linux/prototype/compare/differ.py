"""What the model and the kernel tell differently of a play, and which of it is explained."""

from collections.abc import Iterator
from dataclasses import dataclass

from thpsweep.linux.prototype.compare.state import Did, MappedRegion, PlayResult, runs
from thpsweep.linux.prototype.compare.steps import Collapse, Play

_SWITCH = {"ptes": "ptes_switched", "protected": "ptes_protected", "copied": "pages_copied", "cleared": "pages_cleared"}
_INPLACE = {"ptes": "ptes_restored", "copied": "pages_copied", "cleared": "pages_cleared"}
_WALK = {"walks": "rmap_walks", "visits": "vmas_visited"}
_PMD = {"replaced": "ptes_cleared_compound", "filled": "filled_ptes"}
FIELDS = {
    "switch": {**_SWITCH, **_WALK, "flushes": "tlb_flushes"},
    "switch_over": {**_SWITCH, **_WALK, "flushes": "tlb_flushes"},
    "switch_page": {**_SWITCH, **_WALK, "flushes": "tlb_flushes"},
    "switch_pmd": {**_SWITCH, **_WALK, **_PMD, "flushes": "tlb_flushes"},
    "inplace": {**_INPLACE, "walks": "rmap_walks", "flushes": "tlb_flushes"},
    "inplace_pmd": {**_INPLACE, **_PMD, "walks": "rmap_walks", "flushes": "tlb_flushes"},
    "begin": {name: _SWITCH[name] for name in ("protected", "copied", "cleared")},
    "slice": {"ptes": "ptes_switched", "flushes": "tlb_flushes"},
    "visit": {"ptes": "ptes_switched", "flushes": "tlb_flushes"},
}
"""What is compared of each operation: the module's name of a count, and the model's."""


@dataclass(frozen=True)
class Difference:
    """What differs; `reason` explains it where it is known and of the size that the reason gives."""

    what: str
    reason: str = ""


def differences(play: Play, kernel: PlayResult, model: PlayResult) -> list[Difference]:
    """List what differs, in the order of the play."""
    collapses = [step for step in play.steps if isinstance(step, Collapse)]
    found: list[Difference] = []
    for number, (step, mine, its) in enumerate(zip(collapses, kernel.did, model.did, strict=True)):
        for name, some, other in _did(step.mechanism, mine, its):
            what = f"collapse {number} ({step.mechanism}): {name}: kernel {some}, model {other}"
            found.append(Difference(what, _reason(step.mechanism, mine, its)))
    for number, (left, right) in enumerate(zip(kernel.states, model.states, strict=True)):
        found += (Difference(f"state {number}: {what}") for what in _state(left, right))
    for number, (few, many) in enumerate(zip(kernel.small_folios, model.small_folios, strict=True)):
        if few != many:
            found.append(Difference(f"state {number}: small folios on the LRU: kernel {few}, model {many}"))
    return found


def _did(mechanism: str, kernel: Did, model: Did) -> Iterator[tuple[str, object, object]]:
    if kernel.result != model.result:
        yield "result", kernel.result, model.result
    elif kernel.result == "-":
        for name, other in FIELDS[mechanism].items():
            some, many = kernel.counts[name], model.counts.get(other, 0)
            if some != many:
                yield name, some, many


def _reason(mechanism: str, kernel: Did, model: Did) -> str:
    """Explain a difference, where it is the one that the explanation gives."""
    if mechanism == "visit" and (kernel.result, model.result) == ("PTE_MAPPED_HUGEPAGE", "PAGE_COUNT"):
        return "a visit that finds nothing to switch: the model looks for references on the mm's own pages, too"
    return ""


def _state(kernel: dict[int, MappedRegion], model: dict[int, MappedRegion]) -> Iterator[str]:
    if kernel.keys() != model.keys():
        yield f"processes: kernel {sorted(kernel)}, model {sorted(model)}"
        return
    for number, mine in kernel.items():
        its = model[number]
        for name in ("huge_kib", "rss_kib", "wrong"):
            if getattr(mine, name) != getattr(its, name):
                yield f"process {number}: {name}: kernel {getattr(mine, name)}, model {getattr(its, name)}"
        if runs(mine) != runs(its):
            yield f"process {number}: kernel {runs(mine)} | model {runs(its)}"
