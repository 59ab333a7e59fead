"""What the first sentences say of planted scenes, and what is said where there is no variance and no payback."""

import math

import numpy as np
import pytest

from tests.answers.planted import entry, planted_inputs
from thpsweep.answers.analysis.frame import double_bytes, fits
from thpsweep.answers.analysis.paired import PairedEstimate, difference, estimate
from thpsweep.answers.analysis.ranking import NOTHING_FITS, judge
from thpsweep.answers.analysis.sensitivity import sensitivities
from thpsweep.answers.analysis.study import Study
from thpsweep.answers.analysis.uncertainty import draws, odds, scene_odds
from thpsweep.answers.report import figures, headline
from thpsweep.answers.report.evidence import Evidence
from thpsweep.answers.terminal import columns, numbers, table

P = "machine.pte_switch_ns"
RANGES = {P: (10.0, 1.0, 100.0)}
KNOWN = {P: 10.0}
DEGREE = "sharing.degree"


def scene(degree):
    return ((DEGREE, degree),)


def planted_study(*entries):
    degrees = tuple(sorted({dict(one.scene)[DEGREE] for one in entries}))
    return Study(entries, {DEGREE: degrees}, {}, len(entries))


def test_the_break_even_is_that_of_the_contender_with_the_lowest_share_beside_published_ones() -> None:
    def at(share):
        return lambda of: share * of[P] / 10.0

    entries = [entry("dear", lambda of: -of[P], KNOWN, scene(n), share=at(0.3 * n / 195)) for n in (2, 195, 2000)]
    entries += [entry("cheap", lambda of: -of[P], KNOWN, scene(n), share=at(0.05 * n / 195)) for n in (2, 195, 2000)]
    entries.append(
        entry("copy", lambda of: of[P], KNOWN, scene(195), share=at(0.001), **{"cost/sharing_lost_bytes": 1e6})
    )
    found = planted_inputs(entries, RANGES)
    said = headline.break_even(planted_study(*entries), odds(found, draws([P]), sharing_kept=True))
    assert "0.051 % at 2 sharers (`cheap`), 5.0 % at 195 sharers (`cheap`), 51 % at 2,000 sharers (`cheap`)" in said
    assert "At 195 sharers `cheap` pays from 5.0 % on" in said and "copy" not in said
    assert (
        "0.56 % to 45 % in 95 % of the draws" in said
    )  # 0.05 x (1 to 100) / 10, without 2.5 % of the range at each end
    assert "1.8 % (Usama Arif" in said and "7.7 % (Temeraire" in said


def test_no_share_pays_where_it_would_be_more_than_all_cycles() -> None:
    one = entry("one", lambda of: -of[P], KNOWN, scene(195), share=lambda of: np.inf)
    other = entry("other", lambda of: of[P], KNOWN, scene(2), share=lambda of: 0.5)
    assert "gains what it costs, memory staying shared, in none of the scenes" in headline.break_even(
        planted_study(one)
    )
    said = headline.break_even(planted_study(other, one))
    assert "50 % at 2 sharers (`other`), no share at 195 sharers. At 195 sharers it pays at no share" in said
    assert "`one`" not in said


def test_records_without_a_break_even_say_nothing_of_it() -> None:
    assert headline.break_even(planted_study(entry("one", lambda of: of[P], KNOWN, scene(2)))) == ""


def all_of(*entries):
    found, drawn = planted_inputs(list(entries), RANGES), draws([P])
    judged = {at: judge(at, them, sharing_kept=True) for at, them in found.scenes.items()}
    known = odds(found, drawn, sharing_kept=True)
    return found, known, sensitivities(found, judged, drawn, known, scene(195)), judged[scene(195)].best


def test_the_chances_are_told_along_the_degree_and_in_one_scene() -> None:
    """At 195 sharers it wins where P < 30: on log 30 / log 100 of its range; at 2 and 8 always."""
    entries = [
        entry("one", lambda of, net=net: net - of[P], KNOWN, scene(n)) for n, net in ((2, 1e3), (8, 200.0), (195, 30.0))
    ]
    found, known, _, _ = all_of(*entries)
    said = headline.chances(found, known, scene(195))
    assert said.startswith("In 1,024 draws of 1 prices and rates") and "in 74 % to 100 % at 2–195 sharers" in said
    assert (
        "At 195 sharers `one` wins in 74 %, not collapsing wins in 26 %; `one` gains 20.0 ms [-59.4, 28.9] net" in said
    )


def test_each_kind_of_cpu_has_its_own_chance() -> None:
    """It wins where P < 20, or 80: on log 20 / log 100, or log 80 / log 100, of its range."""
    key = "machine.tlb_coalesce"
    one = entry("one", lambda of: 20.0 * of[key] - of[P], {key: 1.0, P: 10.0}, scene(195))
    known = planted_inputs([one], {key: (1.0, 1.0, 16.0), **RANGES})
    levels = {
        level: scene_odds(scene(195), known, draws([P]), sharing_kept=True, given={key: level}) for level in (1.0, 4.0)
    }
    found = Evidence(planted_study(one), scene(195), {}, known, {}, [], {key: levels})
    assert headline.of_levels(found) == f"`{key}` is not drawn: at 1 `one` wins in 65 %, at 4 `one` wins in 95 %."


def test_where_nothing_fits_it_is_said_once() -> None:
    one = entry("one", lambda of: of[P], KNOWN, scene(195), peak_bytes=3e9)
    one.values["cost/memory_bytes_peak_baseline"] = np.array([2e9, 2e9])
    found, known, tried, best = all_of(one)
    assert "memory shared: nothing fits at 195 sharers. At 195 sharers nothing fits in memory." in headline.chances(
        found, known, scene(195)
    )
    assert tried == [] and best == NOTHING_FITS


def test_what_would_overturn_it_is_the_value_where_the_net_gains_meet() -> None:
    _, _, tried, best = all_of(entry("one", lambda of: 40.0 - of[P], KNOWN, scene(195)))
    said = headline.overturned(tried, best, "195 sharers", 1)
    assert "1 of 1 prices and rates change a best policy" in said
    assert f"`{P}` (assumed; in 0 of 1 scenes at 1.00, in 1 at 100)" in said
    assert (
        f"not collapsing instead of `one` would be best if `{P}`, which is assumed, were 40.0 instead of 10.0" in said
    )


def test_what_nothing_overturns_says_so() -> None:
    _, _, tried, best = all_of(entry("one", lambda of: 400.0 - of[P], KNOWN, scene(195)))
    said = headline.overturned(tried, best, "195 sharers", 1)
    assert said.startswith(
        "None of 1 prices and rates, moved alone over its range, changes a best policy. At 195 sharers `one` stays best"
    )


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0 %"), (1.0, "100 %"), (1e-3, "under 1 %"), (0.9999, "over 99 %"), (0.834, "83 %")]
)
def test_a_chance_is_certain_only_where_it_is(share: float, said: str) -> None:
    assert figures.chance(share) == said


NOISE = np.array([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2])
"""Equal but for the order of their sums: Student's interval is 6e-17 wide."""


def test_rounding_is_no_variance() -> None:
    assert estimate(NOISE).exact and not estimate(NOISE + np.array([0, 1e-6, 0, 0])).exact
    assert figures.with_ends(estimate(NOISE)) == "0.300, exact in this model"
    assert figures.ms(estimate(NOISE)) == "0.300 ms"


def test_the_rounding_of_large_sums_is_no_difference() -> None:
    one = np.array([66543.75, 66543.75, 66543.75])
    other = one - np.array([0.25, 0.25 + 3e-11, 0.25])
    assert difference(one, other).exact and difference(one, other).sign == 1


def test_an_interval_narrower_than_the_digits_is_given_as_a_share() -> None:
    narrow = PairedEstimate(7200.0, 7199.0, 7201.0, 4)
    assert figures.ends(narrow, numbers.duration) == " [± 0.01 %]"


def row(**metrics):
    return {"policy": "copy", "state": "done", "memory_bytes": 22e9, "duration_s": 3600.0, **metrics}


def cell(metric, **ends):
    column = next(one for one in columns.COLUMNS if one.metric == metric)
    return columns.cell(row(**ends), column, 1.0, interval=True)


def net(mean, half, **more):
    name = "tradeoff/net_cpu_ms"
    return cell(name, **{name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}, **more)


def test_the_table_has_no_interval_that_is_rounding() -> None:
    assert net(-24.0, 2.7e-12) == "-24.0"
    assert net(1e-3, 1e-11, **{"tradeoff/gain_cpu_ms": 66543.75, "cost/cpu_ms": 66543.749}) == "0.00100"
    assert net(-24.0, 0.5) == "-24.0 ±0.50"


@pytest.mark.parametrize("payback_s", [math.inf, 3600.1])
def test_a_payback_beyond_the_run_is_none(payback_s: float) -> None:
    name = "tradeoff/payback_s"
    known = {name: payback_s, f"{name}_low": math.nan, f"{name}_high": math.nan}
    assert cell(name, **known) == "not within the run"


def test_what_has_healed_is_not_lost_in_the_table_either() -> None:
    healed = {"cost/sharing_lost_bytes": 4e6, "cost/sharing_healed_bytes": 3.99e6}
    half = {"cost/sharing_lost_bytes": 4e6, "cost/sharing_healed_bytes": 2e6}
    ends = {"cost/sharing_lost_bytes_low": 4e6, "cost/sharing_lost_bytes_high": 4e6}
    assert cell("cost/sharing_lost_bytes", **healed, **ends) == "0" and double_bytes(row(**healed)) == 0
    assert cell("cost/sharing_lost_bytes", **half, **ends) == "2,000,000" and double_bytes(row(**half)) == 2e6


def test_what_takes_more_memory_than_there_is_is_marked() -> None:
    large, small = row(**{"peak_bytes": 136e9}), row(**{"peak_bytes": 1e9})
    assert (table._policy(large), table._policy(small)) == ("copy\ndoes not fit", "copy")
    assert not fits(large) and fits(small) and fits(row())
