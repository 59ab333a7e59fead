"""Do the assumptions of hypothetical mechanisms show, and how the answer hangs on them?"""

import dataclasses
import json

import pytest
from rich.console import Console

from thpsweep.linux.validate.hypothetical import HYPOTHETICAL, REGIONS, SHARERS, Findings, findings, prices
from thpsweep.linux.validate.report_hypothetical import plain, show
from thpsweep.model import registry
from thpsweep.model.accounting.prices import COLLAPSE_PRICES
from thpsweep.profiles import Source, default_file, load, sources
from thpsweep.shipped import option

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> dict[str, Findings]:
    listed = findings(load(default_file()), sources(default_file()), mechanisms=("inplace", "switch"))
    return {one.mechanism: one for one in listed}


def test_every_figure_of_the_shipped_profile_has_a_source() -> None:
    machine, known = load(default_file()), sources(default_file())
    assert set(prices(machine)) <= set(known)
    assert {known[key].kind for key in prices(machine)} <= {"measured", "derived", "assumed", "documented"}


def test_a_source_that_is_assumed_in_part() -> None:
    assert Source("derived", "derived: compaction, 0.62 of it (share assumed)").is_assumed
    assert not Source("measured", "measured: a loop").is_assumed


def test_prices_that_no_mechanism_of_today_has_are_tried(found) -> None:
    assumed = {name: {a.key for a in one.assumptions} for name, one in found.items()}
    assert "pte_switch_ns" in assumed["switch"] and "pte_switch_ns" not in assumed["inplace"]


def test_what_a_price_makes_of_the_answer_is_its_count_times_it(found) -> None:
    """Half the price saves half of what it costs, twice costs it again: no more than 512 ptes of all sharers."""
    (switch,) = (a for a in found["switch"].assumptions if a.key == "pte_switch_ns")
    most_ms = REGIONS * 512 * SHARERS * load(default_file()).pte_switch_ns / 1e6
    cpu_ms = found["switch"].answer.cpu_ms
    assert most_ms / 2 < switch.doubled.cpu_ms - cpu_ms <= most_ms
    assert cpu_ms - switch.halved.cpu_ms == pytest.approx((switch.doubled.cpu_ms - cpu_ms) / 2)
    assert switch.halved.net_cpu_ms > found["switch"].answer.net_cpu_ms > switch.doubled.net_cpu_ms


def test_keys_that_no_count_multiplies_are_not_named(found) -> None:
    named = {key for one in found.values() for key in (*one.known, *(a.key for a in one.assumptions))}
    assert {"copy_page_ns", "migration_entry_set_ns", "ipi_ns"} <= named
    assert "swap_out_ns" not in named and "pte_unmap_ns" not in named
    assert set(COLLAPSE_PRICES.values()) & named


def test_provenance_decides_not_the_name() -> None:
    known = {key: dataclasses.replace(source, kind="measured", text="measured: here") for key, source in
             sources(default_file()).items()}  # fmt: skip
    (switch,) = findings(load(default_file()), known, mechanisms=["switch"])
    assert not switch.assumptions and "pte_switch_ns" in switch.known


def test_the_report_shows_both_ways(found) -> None:
    console = Console(record=True, width=150)
    show(list(found.values()), "here", console)
    printed = console.export_text()
    assert "pte_switch_ns halved .. doubled" in printed and "measured or derived: " in printed
    assert "pte_switch_ns: derived from instruction counts: " in printed
    json.dumps(plain(list(found.values())), allow_nan=False)


def test_they_are_mechanisms_of_the_model() -> None:
    assert set(HYPOTHETICAL) <= set(registry.options("mechanism"))


def test_shipped_options_are_found() -> None:
    assert option("workload", "prefork")["present_ptes"] == 512
