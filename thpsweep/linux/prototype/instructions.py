"""Guest instructions a pte for what the kernel and the module do, from what a counting machine printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.units import HPAGE_PMD_NR

Costs = Iterable[tuple[str, dict[str, str]]]
_FEW, _MANY = 16, 195
"""Sharers beside the caller; the price of a pte is the slope between the two, free of what a region costs once."""

WHOLE = str(HPAGE_PMD_NR)


@dataclass(frozen=True)
class Slope:
    """An operation whose price is a slope: a line of the machine, one of its fields, and the ptes of a slice."""

    line: str
    field: str
    slice: str | None = WHOLE


SLOPES = {
    "switch": Slope("switch", "walk"),
    "switch_slice_256": Slope("switch", "walk", "256"),
    "switch_slice_64": Slope("switch", "walk", "64"),
    "switch_slice_16": Slope("switch", "walk", "16"),
    "switch_slice_4": Slope("switch", "walk", "4"),
    "switch_slice_1": Slope("switch", "walk", "1"),
    "switch_overwrite": Slope("switch_over", "walk"),
    "switch_per_page": Slope("switch_page", "walk"),
    "set_entry": Slope("roundtrip", "freeze"),
    "restore_entry": Slope("roundtrip", "walk"),
    "restore_to_subpage": Slope("inplace", "walk"),
    "move_pages": Slope("move_pages", "instr", None),
    "shmem_collapse": Slope("shmem_collapse", "instr", None),
    "map_by_pmd": Slope("pmd", "pmd"),
}
"""What each operation is: `map_by_pmd` is the PMD step after `switch`; entries are the kernel's migration entries."""

LIVES = {"small": "small", "pte": "compound", "pmd": "pmd"}
"""Forms of memory in the machine's words, and in those of the profiles."""


def instructions(costs: Costs) -> dict[str, float]:
    """Work out the price of each operation. Units: instructions a pte; a 4 KiB page where a PMD maps it.

    Raises: PrototypeError where the machine did not print what an operation needs.
    """
    found = list(costs)
    table = {name: _slope(found, name, slope) for name, slope in SLOPES.items()}
    table |= _lives(found)
    table["write_protect"] = _least(found, "write_protect", "protect", "protect", n="0") / HPAGE_PMD_NR
    table["ksm_merge"] = _ksm(found)
    return table


def _slope(costs: list[tuple[str, dict[str, str]]], name: str, slope: Slope) -> float:
    chosen = {} if slope.slice is None else {"slice": slope.slice}
    few, many = (_least(costs, name, slope.line, slope.field, n=str(n), **chosen) for n in (_FEW, _MANY))
    return (many - few) / (_MANY - _FEW) / HPAGE_PMD_NR


def _lives(costs: list[tuple[str, dict[str, str]]]) -> dict[str, float]:
    """Take what more regions cost: a fork's and an exit's price of a page, by the form that it is mapped in."""
    table = {}
    for form, name in LIVES.items():
        for field, verb in (("fork", "fork"), ("unmap", "exit")):
            operation = f"{verb}_{name}"
            sizes = {int(line["regions"]) for kind, line in costs if kind == "life" and line["form"] == form} or {1, 9}
            few, many = (
                _least(costs, operation, "life", field, form=form, n=str(_MANY), regions=str(regions))
                for regions in (min(sizes), max(sizes))
            )
            table[operation] = (many - few) / (max(sizes) - min(sizes)) / HPAGE_PMD_NR
    return table


def _ksm(costs: list[tuple[str, dict[str, str]]]) -> float:
    """Take the scan in which pages merged, a pte."""
    merging = [values for line, values in costs if line == "ksm" and int(values["merged"]) > 0]
    if not merging:
        raise PrototypeError("prototype: no scan of ksmd merged anything: no price of ksm_merge")
    return int(merging[0]["instr"]) / int(merging[0]["merged"])


def _least(costs: list[tuple[str, dict[str, str]]], name: str, line: str, field: str, **wanted: str) -> float:
    """Take the least that was counted of an operation: whatever disturbs a count of instructions adds to it."""
    counted = [
        int(values[field])
        for found, values in costs
        if found == line and all(values.get(key) == value for key, value in wanted.items())
    ]
    if not counted:
        asked = ", ".join(f"{key}={value}" for key, value in wanted.items())
        raise PrototypeError(
            f"prototype: no price of {name}: the test machine printed no line cost {line} with {asked}"
        )
    return min(counted)
