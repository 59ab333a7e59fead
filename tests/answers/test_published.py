"""Published measurements beside what the model predicts over the ranges of its inputs (answers/analysis/published.yaml)."""

import functools

import numpy as np
import pytest

from thpsweep import profiles
from thpsweep.answers.analysis.published import Published, PublishedFork, aging, forks, gains, walks
from thpsweep.answers.analysis.ranges import Range, machine_ranges, rate_range
from thpsweep.model.accounting.translation import AMOUNTS, Law, Rates
from thpsweep.shipped import machine_file
from thpsweep.units import NS_PER_MS


@functools.cache
def ranges_of(machine: str) -> dict[str, Range]:
    file = machine_file("--machine", machine)
    return machine_ranges(profiles.load(file), file)


@pytest.mark.parametrize("one", forks(), ids=lambda one: f"{one.what}: {one.ms} ms")
def test_a_published_fork_is_inside_the_predicted_interval_or_the_table_says_where_and_why(one: PublishedFork) -> None:
    """An entry that changes its side fails: its reason is then no longer true."""
    price = ranges_of(one.machine)[f"machine.{one.price}"]
    low, high = one.ptes * price.low / NS_PER_MS, one.ptes * price.high / NS_PER_MS
    print(f"\n{one.what}: published {one.ms:g} ms, predicted {low:.1f} to {high:.1f} ms, {one.why or 'inside'}")
    assert one.side == ("below" if one.ms < low else "above" if one.ms > high else "inside")
    assert bool(one.why) == (one.side != "inside") and one.source


@pytest.mark.parametrize("one", walks(), ids=lambda one: one.source)
def test_a_published_share_of_cycles_is_in_the_stated_range(one: Published) -> None:
    stated = rate_range("workload.page_walk_share", 0.02)
    assert stated.low <= one.share <= stated.high


@pytest.mark.parametrize("one", gains(), ids=lambda one: one.source)
def test_a_published_gain_is_what_pmds_bring_somewhere_in_the_ranges(one: Published) -> None:
    """Work done in a given time: 1 over what is left of each cycle, less 1."""
    share, exponent = rate_range("workload.page_walk_share", 0.02), rate_range("workload.reach_exponent", 0.5)
    machine = profiles.load(machine_file("--machine", "milan_vm"))
    amounts = {name: np.zeros(1) for name in AMOUNTS}
    found = []
    for s, e in ((share.low, exponent.low), (share.high, exponent.high)):
        law = Law(machine, Rates(1.0, 0.0, s, e), 1, np.zeros(1))
        small, pmd = (float(law.ns(amounts | {f"root_{form}_s": np.ones(1)})[0]) for form in ("small", "pmd"))
        found.append(1 / (1 - (small - pmd) / 1e9) - 1)
    print(f"\n{one.source}: published {one.share:.1%}, predicted {found[0]:.1%} to {found[1]:.0%}")
    assert found[0] <= one.share <= found[1]


@pytest.mark.parametrize("one", aging(), ids=lambda one: one.source)
def test_a_published_share_of_aging_is_between_no_page_written_out_and_all(one: Published) -> None:
    ranges = ranges_of("milan_vm")
    pte, folio, out = (ranges[f"machine.{key}"] for key in ("age_small_pte_ns", "age_folio_ns", "swap_out_ns"))
    low, high = pte.low / (pte.low + folio.high + out.high), pte.high / (pte.high + folio.low)
    print(f"\n{one.source}: published {one.share:.1%}, predicted {low:.1%} to {high:.1%}")
    assert low <= one.share <= high
