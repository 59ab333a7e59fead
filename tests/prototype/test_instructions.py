"""Prices of a pte are the slopes of what the machine printed, free of what a region costs once."""

import pytest

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.instructions import SLOPES, instructions

FIXED = 12_345


def printed(price_of):
    """Lines as a machine prints them where operation number k costs k a pte and every one has a fixed part."""
    costs = [("protect", {"n": "0", "protect": str(512 * 7)})]
    for n in (16, 195):
        for name, slope in SLOPES.items():
            fields = {slope.field: str(FIXED + price_of[name] * 512 * (n + 1)), "n": str(n)}
            costs.append((slope.line, fields if slope.slice is None else {**fields, "slice": slope.slice}))
        for form, price in (("small", 3), ("pte", 2), ("pmd", 1)):
            for regions in (1, 65 if form == "pmd" else 9):
                work = {"fork": FIXED + price * 512 * regions, "unmap": FIXED + 10 * price * 512 * regions}
                fields = {key: str(value) for key, value in work.items()}
                costs.append(("life", {"form": form, "n": str(n), "regions": str(regions), **fields}))
    costs.append(("ksm", {"merged": "0", "instr": "5"}))
    costs.append(("ksm", {"merged": "100", "instr": "170000"}))
    return costs


def test_the_price_of_each_operation_is_its_slope():
    # Operations that share a line and a field cannot have two prices there: each has its own line, field and slice.
    assert len({(slope.line, slope.field, slope.slice) for slope in SLOPES.values()}) == len(SLOPES)
    price_of = {name: number for number, name in enumerate(SLOPES, start=5)}
    found = instructions(merge(printed(price_of)))
    assert {name: found[name] for name in SLOPES} == pytest.approx(price_of)
    assert [found[f"fork_{form}"] for form in ("small", "compound", "pmd")] == pytest.approx([3, 2, 1])
    assert [found[f"exit_{form}"] for form in ("small", "compound", "pmd")] == pytest.approx([30, 20, 10])
    assert (found["write_protect"], found["ksm_merge"]) == pytest.approx((7, 1700))


def test_what_disturbs_a_count_adds_to_it_and_is_left_out():
    costs = merge(printed(dict.fromkeys(SLOPES, 40)))
    fields = {slope.field for slope in SLOPES.values()} | {"fork", "unmap", "protect"}
    disturbed = [
        (line, {name: str(int(value) + 9_999_999) if name in fields else value for name, value in values.items()})
        for line, values in costs
        if line != "ksm"
    ]
    assert instructions(disturbed + costs) == instructions(costs) == instructions(costs + disturbed)


def merge(costs):
    """Put the fields of one operation, sharers and slice on one line."""
    lines = {}
    for line, values in costs:
        key = (line, *(values.get(name) for name in ("n", "slice", "form", "regions", "merged")))
        lines.setdefault(key, {}).update(values)
    return [(key[0], values) for key, values in lines.items()]


def test_a_price_that_is_missing_is_named():
    costs = [line for line in merge(printed(dict.fromkeys(SLOPES, 1))) if line[0] != "move_pages"]
    with pytest.raises(PrototypeError, match="no price of move_pages"):
        instructions(costs)
