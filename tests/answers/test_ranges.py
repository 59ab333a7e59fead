"""Every figure has a range, and it is the one that its line, its kind or its table says."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from tests.model.points import point
from thpsweep import profiles
from thpsweep.answers.analysis.prices import GIVEN, UNKNOWN
from thpsweep.answers.analysis.published import beside, gains, walks
from thpsweep.answers.analysis.ranges import FACTORS, SHARES, STATED, Range, machine_ranges, rate_range
from thpsweep.errors import ThpsweepError
from thpsweep.model.machines.profile import Profile
from thpsweep.model.metrics.repricing import recording
from thpsweep.model.simulate import simulate
from thpsweep.shipped import option_file, options

PRICES = [field.name for field in dataclasses.fields(Profile) if field.name.endswith("_ns")]
RATES_PRICED = {*STATED, *SHARES}
"""Rates that somebody has thought of a range for: a new one that counts can be priced with has to be among them."""


def of_line(tmp_path: Path, line: str, **changed: float) -> Range:
    """Give the range of copy_page_ns where its line reads so."""
    text = option_file("machine", "milan_vm").read_text()  # type: ignore[union-attr]
    file = tmp_path / "own.yaml"
    file.write_text(re.sub(r"^copy_page_ns:.*$", f"copy_page_ns: {line}", text, flags=re.MULTILINE))
    return machine_ranges(dataclasses.replace(profiles.load(file), **changed), file)["machine.copy_page_ns"]


@pytest.mark.parametrize("name", options("machine"))
def test_every_figure_of_a_shipped_profile_has_a_range_and_every_price_a_wide_one(name: str) -> None:
    file = option_file("machine", name)
    if name.startswith("base_") or file is None:
        return
    machine = profiles.load(file)
    found = machine_ranges(machine, file)
    numbers = {f"machine.{key}" for key, value in dataclasses.asdict(machine).items() if profiles.is_number(value)}
    assert found.keys() == numbers
    del found["machine.cpus"]  # a size that needs no source
    for one in found.values():
        assert one.low <= one.value <= one.high and one.kind != UNKNOWN and one.source, one
    for price in PRICES:
        one = found[f"machine.{price}"]
        assert one.low < one.high, f"{name}: {price} has no range; its line needs LOW..HIGH"


def test_every_key_that_counts_can_be_priced_with_has_a_range() -> None:
    known = point("inplace_pmd")
    recorded = recording(known, simulate(known))
    workload = {f"workload.{key}" for key, value in known["workload"].items() if profiles.is_number(value)}
    for key in workload:
        try:
            recorded.cpu({key: 1.0})
        except ThpsweepError:
            continue
        assert key in RATES_PRICED, f"{key} has no range in STATED"


@pytest.mark.parametrize(
    ("line", "low", "high"),
    [
        ("100   # measured: a loop", 75, 133.3),
        ("100   # derived: a difference", 67, 142),
        ("100   # documented: a manual", 67, 142),
        ("100   # assumed: of profile milan_vm", 31.6, 316),
        ("100   # measured: a loop; 15 rounds, spread 2, 80..160", 80, 160),
        ("100   # assumed: 5..10 us elsewhere; 90..1e+3", 90, 1000),
        ("100   # derived: a difference; 15 rounds, 0..120", 0, 120),
        ("0     # assumed: nothing; 0..5", 0, 5),
    ],
)
def test_the_line_of_a_price_says_its_range(tmp_path: Path, line: str, low: float, high: float) -> None:
    found = of_line(tmp_path, line)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-2)


def test_a_range_that_does_not_hold_its_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ThpsweepError, match=r"machine.copy_page_ns: its line says 200..300; expected a range that holds 100"
    ):
        of_line(tmp_path, "100   # measured: a loop; 200..300")


def test_a_price_that_was_given_in_the_command_is_as_uncertain_as_the_profiles(tmp_path: Path) -> None:
    found = of_line(tmp_path, "100   # measured: a loop; 80..160", copy_page_ns=10.0)
    assert (found.low, found.high, found.kind) == (pytest.approx(8), pytest.approx(16), GIVEN)


def test_without_a_profile_all_is_unknown() -> None:
    found = machine_ranges(profiles.load(profiles.default_file()), None)
    assert {one.kind for one in found.values()} == {UNKNOWN}
    prices = [found[f"machine.{price}"] for price in PRICES if f"machine.{price}" not in STATED]
    assert all(one.high == pytest.approx(10 * one.low) for one in prices)


def test_the_range_of_measured_prices_holds_most_rounds_of_the_machine_that_was_calibrated() -> None:
    file = option_file("machine", "zen5_vm")
    assert file is not None
    machine = profiles.load(file)
    low, high = FACTORS["measured"]
    stated = [
        one
        for key, one in machine_ranges(machine, file).items()
        if one.kind == "measured" and key.endswith("_ns") and "as the profile says" in one.source
    ]
    held = sum(one.low >= low * one.value and one.high <= high * one.value for one in stated)
    assert len(stated) > 15 and 0.75 <= held / len(stated) < 1


def test_draws_are_even_in_the_logarithm() -> None:
    one = Range("machine.ipi_ns", 10.0, 1.0, 100.0, "assumed", "")
    assert one.at(np.array([0.0, 0.25, 0.5, 1.0])).tolist() == pytest.approx([1, 100**0.25, 10, 100])
    fixed = dataclasses.replace(one, low=10.0, high=10.0)
    assert fixed.at(np.array([0.0, 0.3, 1.0])).tolist() == [10, 10, 10]


def test_a_key_that_is_one_of_a_few_values_is_drawn_from_these() -> None:
    machine, file = profiles.load(profiles.default_file()), profiles.default_file()
    one = machine_ranges(machine, file)["machine.tlb_coalesce"]
    assert one.levels == (1, 4) and one.at(np.array([0.0, 0.49, 0.51, 1.0])).tolist() == [1, 1, 4, 4]
    arm = machine_ranges(dataclasses.replace(machine, tlb_coalesce=16.0), None)["machine.tlb_coalesce"]
    assert arm.levels == (16.0,)


def test_a_share_of_walks_reaches_from_little_to_the_most_published_and_no_share_beyond_all() -> None:
    found = rate_range("workload.page_walk_share", 0.02)
    assert found.high == max(one.share for one in walks()) and found.low < 0.01
    own = rate_range("workload.page_walk_share", 0.6)
    assert own.low == pytest.approx(0.19, rel=0.01) and own.high == 1
    assert rate_range("workload.worker_cpu_share", 0.8).high == 1
    idle = rate_range("workload.root_cpu_share", 0.0)
    assert idle.low == idle.high == 0


def test_a_share_is_compared_with_shares_and_with_gains_apart() -> None:
    cycles, gained = beside(0.05).split("; ")
    assert "below the least, 10 % (Basu" in cycles and "1.8 % (Usama Arif" in gained and "7.7 % (Temeraire" in gained
    cycles, gained = beside(0.15).split("; ")
    assert "between 10 % (Basu" in cycles and "and 20 % (Contiguitas" in cycles and "and 18 % (Ingens" in gained
    assert beside(0.9).count("above the largest") == 2 and beside(0.001).count("below the least") == 2


def test_published_shares_come_largest_first_and_have_a_source() -> None:
    for figures in (walks(), gains()):
        shares = [one.share for one in figures]
        assert shares == sorted(shares, reverse=True) and shares[-1] > 0 and shares[0] < 1
        assert all(one.what and one.source for one in figures)
