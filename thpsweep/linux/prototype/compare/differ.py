"""What the model and the kernel tell differently of a play."""

from collections.abc import Iterator

from thpsweep.linux.prototype.compare.state import Did, Seen, Told, runs
from thpsweep.linux.prototype.compare.steps import Collapse, Play

_SWITCH = {"ptes": "ptes_switched", "protected": "ptes_protected", "copied": "pages_copied", "cleared": "pages_cleared"}
_INPLACE = {"ptes": "ptes_restored", "copied": "pages_copied", "cleared": "pages_cleared"}
_WALK = {"walks": "rmap_walks", "visits": "vmas_visited"}
_PMD = {"replaced": "ptes_cleared_compound", "filled": "filled_ptes"}
FIELDS = {
    "switch": {**_SWITCH, **_WALK, "flushes": "tlb_flushes"},
    "switch_page": {**_SWITCH, **_WALK, "flushes": "tlb_flushes"},
    "switch_pmd": {**_SWITCH, **_WALK, **_PMD, "flushes": "tlb_flushes"},
    "inplace": {**_INPLACE, "walks": "rmap_walks", "flushes": "tlb_flushes"},
    "inplace_pmd": {**_INPLACE, **_PMD, "walks": "rmap_walks", "flushes": "tlb_flushes"},
    "begin": {name: _SWITCH[name] for name in ("protected", "copied", "cleared")},
    "slice": {"ptes": "ptes_switched", "flushes": "tlb_flushes"},
    "visit": {"ptes": "ptes_switched", "flushes": "tlb_flushes"},
}
"""What is compared of each operation: the module's name of a count, and the model's."""


def differences(play: Play, kernel: Told, model: Told) -> list[str]:
    """List what differs, in the order of the play."""
    collapses = [step for step in play.steps if isinstance(step, Collapse)]
    found: list[str] = []
    for number, (step, mine, its) in enumerate(zip(collapses, kernel.did, model.did, strict=True)):
        found += (f"collapse {number} ({step.mechanism}): {what}" for what in _did(step.mechanism, mine, its))
    for number, (left, right) in enumerate(zip(kernel.states, model.states, strict=True)):
        found += (f"state {number}: {what}" for what in _state(left, right))
    for number, (some, others) in enumerate(zip(kernel.small_folios, model.small_folios, strict=True)):
        if some != others:
            found.append(f"state {number}: small folios on the LRU: kernel {some}, model {others}")
    return found


def _did(mechanism: str, kernel: Did, model: Did) -> Iterator[str]:
    if kernel.result != model.result:
        yield f"kernel {kernel.result}, model {model.result}"
    elif kernel.result == "-":
        for name, other in FIELDS[mechanism].items():
            if kernel.counts[name] != model.counts.get(other, 0):
                yield f"{name}: kernel {kernel.counts[name]}, model {model.counts.get(other, 0)}"


def _state(kernel: dict[int, Seen], model: dict[int, Seen]) -> Iterator[str]:
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
