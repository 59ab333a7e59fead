"""Chances and intervals of planted scenes come out as their closed forms say."""

import dataclasses
import math

import numpy as np
import pytest

from tests.answers.planted import SCENE, entry, planted_inputs
from thpsweep.answers.analysis.inputs import inputs
from thpsweep.answers.analysis.ranges import Range
from thpsweep.answers.analysis.ranking import ALONE, NOTHING_FITS, contestants, judge, verdict
from thpsweep.answers.analysis.sensitivity import sensitivities
from thpsweep.answers.analysis.study import Study
from thpsweep.answers.analysis.uncertainty import draws, odds, scene_odds
from thpsweep.model.metrics.repricing import FED_BACK

P, Q = "machine.pte_switch_ns", "machine.ipi_ns"
RANGES = {P: (10.0, 1.0, 100.0), Q: (5.0, 2.0, 20.0)}
KNOWN = {key: value for key, (value, _, _) in RANGES.items()}
EVENTS = np.array([-500.0, 500.0])
"""What the events of two replicates add to every contender's net gain, a million times what prices decide."""


def known_odds(*entries, sharing_kept=False):
    return odds(planted_inputs(list(entries), RANGES), draws(list(RANGES)), sharing_kept=sharing_kept)[SCENE]


@pytest.mark.parametrize("turn", [3.0, 10.0, 60.0])
def test_the_chance_of_two_contenders_with_one_uncertain_price(turn: float) -> None:
    falling = entry("falling", lambda of: 1000 + EVENTS + turn - of[P], KNOWN)
    steady = entry("steady", lambda of: 1000 + EVENTS, KNOWN)
    found = known_odds(falling, steady)
    wins = math.log(turn / 1.0) / math.log(100.0 / 1.0)  # the share of the range below the turn
    assert found.chances["falling"] == pytest.approx(wins, abs=0.002)
    assert found.chances["steady"] == pytest.approx(1 - wins, abs=0.002) and found.chances[ALONE] == 0
    assert sum(found.chances.values()) == pytest.approx(1)


def test_the_chance_that_one_price_exceeds_another() -> None:
    """In logarithms P is even over 1 to 100 and Q over 2 to 20, within it: the chance is the mean share of P below Q."""
    found = known_odds(entry("gains", lambda of: of[Q] - of[P], KNOWN))
    below = (math.log(2) + math.log(20)) / 2 / math.log(100)
    assert found.chances["gains"] == pytest.approx(below, abs=0.003)


def test_percentiles_of_a_net_gain_that_is_a_price() -> None:
    net = known_odds(entry("rising", lambda of: of[P], KNOWN)).net["rising"]
    expected = [1.0 * 100.0 ** (per_cent / 100) for per_cent in (2.5, 50, 97.5)]
    assert [net.low, net.median, net.high] == pytest.approx(expected, rel=0.01)


def test_percentiles_hold_the_events_too() -> None:
    net = known_odds(entry("noisy", lambda of: EVENTS + 0 * of[P], KNOWN)).net["noisy"]
    assert (net.low, net.high) == (-500.0, 500.0)


def test_a_range_that_begins_at_nothing_is_drawn_evenly() -> None:
    found = planted_inputs([entry("rising", lambda of: of[P], {P: 1.0})], {P: (1.0, 0.0, 40.0)})
    net = odds(found, draws([P]), sharing_kept=False)[SCENE].net["rising"]
    assert [net.low, net.median, net.high] == pytest.approx([1.0, 20.0, 39.0], rel=0.01, abs=0.05)


def test_contenders_are_compared_in_the_same_draw_and_the_same_replicate() -> None:
    low, high = (entry(n, lambda of, n=n: 1e4 + EVENTS + of[P] + (n == "high"), KNOWN) for n in ("low", "high"))
    assert known_odds(low, high).chances == {"high": 1.0, ALONE: 0.0, "low": 0.0}


def test_who_does_not_fit_never_wins() -> None:
    large = entry("large", lambda of: 1e6 + 0 * of[P], KNOWN, **{"peak_bytes": 2e9})
    small = entry("small", lambda of: 1.0 + 0 * of[P], KNOWN, **{"peak_bytes": 0.9e9})
    assert verdict(SCENE, contestants([large, small], sharing_kept=False)).best == "small"
    assert known_odds(large, small).chances == {"small": 1.0, ALONE: 0.0}


def test_with_sharing_kept_a_copy_does_not_compete() -> None:
    copy = entry(
        "copy",
        lambda of: 9.0 + 0 * of[P],
        KNOWN,
        **{"cost/sharing_lost_bytes": 4096.0, "cost/sharing_healed_bytes": 0.0},
    )
    healed = entry(
        "healed",
        lambda of: 1.0 + 0 * of[P],
        KNOWN,
        **{"cost/sharing_lost_bytes": 4e6, "cost/sharing_healed_bytes": 3.99e6},
    )
    assert known_odds(copy, healed, sharing_kept=True).favourite == "healed"
    assert known_odds(copy, healed, sharing_kept=False).favourite == "copy"


def test_nobody_competes_where_nobody_keeps_the_sharing() -> None:
    copy = entry(
        "copy",
        lambda of: 9.0 + 0 * of[P],
        KNOWN,
        **{"cost/sharing_lost_bytes": 4096.0, "cost/sharing_healed_bytes": 0.0},
    )
    found = known_odds(copy, sharing_kept=True)
    assert found.chances == {ALONE: 1.0} and not found.lead(ALONE).any()


def test_a_break_even_may_be_nowhere() -> None:
    """Never below P = 10, else at Q / 100: in half of the draws there is none."""
    one = entry("one", lambda of: of[P], KNOWN, share=lambda of: np.where(of[P] < 10, np.inf, of[Q] / 100 + 0 * of[P]))
    share = known_odds(one).break_even["one"]
    assert share.low == pytest.approx(0.02 * 10**0.05, rel=0.02) and math.isinf(share.high)


def test_draws_are_the_same_each_time_and_even_in_every_key() -> None:
    one, other = draws(["a", "b", "c"]), draws(["a", "b", "c"])
    assert np.array_equal(one.shares, other.shares) and one.shares.shape == (1024, 3)
    for column in one.shares.T:
        assert np.histogram(column, 64, (0, 1))[0].tolist() == [16] * 64


def tried(*entries, ranges=RANGES):
    found = planted_inputs(list(entries), ranges)
    drawn = draws(list(ranges))
    judged = {scene: judge(scene, them, sharing_kept=True) for scene, them in found.scenes.items()}
    known = odds(found, drawn, sharing_kept=True)
    return {one.key: one for one in sensitivities(found, judged, drawn, known, SCENE)}


def test_the_value_that_turns_a_winner_is_where_the_net_gains_meet() -> None:
    found = tried(entry("one", lambda of: 40.0 - of[P], KNOWN), entry("other", lambda of: 3.0 + 0 * of[P], KNOWN))
    assert found[P].turns == ((pytest.approx(37.0), "other"),)
    assert (found[P].at_low, found[P].at_high) == (0, 1) and found[P].lead_ms == pytest.approx(
        (36.0, 40.0 - 100.0 - 3.0)
    )
    assert found[Q].turns == () and found[Q].changed == 0


def test_the_turns_below_and_above_are_the_nearest_ones() -> None:
    found = tried(entry("one", lambda of: 0.3 - (np.log10(of[P]) - 1) ** 2, KNOWN))
    below, above = found[P].turns
    half = math.sqrt(0.3)
    assert below == (pytest.approx(10 ** (1 - half), rel=0.01), ALONE)
    assert above == (pytest.approx(10 ** (1 + half), rel=0.01), ALONE)


def test_a_key_of_few_values_turns_a_winner_at_one_of_them() -> None:
    """Of 1, 4 and 16 it wins at 16 alone: in none of the draws, which are of 1."""
    levels = Range(P, 1.0, 1.0, 16.0, "assumed", "planted", (1.0, 4.0, 16.0))
    one = entry("one", lambda of: of[P] - 10.0, {P: 1.0})
    found = dataclasses.replace(planted_inputs([one], {P: (1.0, 1.0, 16.0)}), ranges={one.id: {P: levels}})
    drawn = draws([P])
    known = odds(found, drawn, sharing_kept=True)
    assert known[SCENE].chances["one"] == 0
    judged = {SCENE: judge(SCENE, [one], sharing_kept=True)}
    (tried_one,) = sensitivities(found, judged, drawn, known, SCENE)
    assert tried_one.turns == ((16.0, "one"),) and tried_one.at_high == 1


def test_rank_correlation_of_what_decides_alone_is_one() -> None:
    found = tried(
        entry("one", lambda of: 1e3 - of[P] ** 3 / 1e4, KNOWN), entry("other", lambda of: 100 + 0 * of[P], KNOWN)
    )
    assert found[P].correlation == pytest.approx(-1) and abs(found[Q].correlation) < 0.05
    assert (found[P].decisive, found[Q].decisive) == (1, 0)


def test_a_key_without_a_range_correlates_with_nothing() -> None:
    ranges = {P: RANGES[P], Q: (5.0, 5.0, 5.0)}
    found = tried(entry("one", lambda of: 1e3 - of[P] - of[Q], KNOWN), ranges=ranges)
    assert found[Q].correlation == 0 and found[Q].turns == ()


def test_scenes_are_counted_in_which_an_end_has_another_winner() -> None:
    scenes = [(("sharing.degree", degree),) for degree in (2, 4, 8)]
    entries = [
        entry("one", lambda of, at=at: at - of[P], KNOWN, scene)
        for scene, at in zip(scenes, (50.0, 99.0, 101.0), strict=True)
    ]
    assert tried(*entries)[P].at_high == 2


def test_points_whose_durations_feed_back_are_left_out_in_a_sentence() -> None:
    kept = entry("one", lambda of: of[P], KNOWN)
    fed_back = dataclasses.replace(entry("two", lambda of: of[P], KNOWN), priced=FED_BACK)
    study = Study((kept, fed_back), {}, {}, 2)
    found = inputs(study, lambda _: None)
    assert not isinstance(found, str) and set(found.keys) == {P, Q}
    assert found.left_out == f"1 of 2 points are left out, since their counts cannot be priced anew: {FED_BACK}"
    assert [one.contender for one in found.scenes[SCENE]] == ["one"]
    assert inputs(Study((fed_back,), {}, {}, 1), lambda _: None) == FED_BACK


def test_what_the_sweep_varies_is_not_drawn_and_what_is_refused_is_listed() -> None:
    study = Study((entry("one", lambda of: of[P], KNOWN),), {P: (1.0, 10.0)}, {}, 1)
    found = inputs(study, lambda _: None)
    assert not isinstance(found, str)
    assert found.keys == (Q,) and found.swept == (P,) and "machine.cpus" in found.fixed


def test_where_not_even_the_processes_fit_nothing_wins() -> None:
    peaks = {"peak_bytes": 3e9}
    one = entry("one", lambda of: 1e6 + 0 * of[P], KNOWN, **peaks)
    one.values["cost/memory_bytes_peak_baseline"] = np.array([2e9, 2e9])
    assert judge(SCENE, [one], sharing_kept=False).best == NOTHING_FITS
    assert known_odds(one).chances == {NOTHING_FITS: 1.0} and known_odds(one).favourite == NOTHING_FITS
    assert tried(one) == {}


def test_a_key_that_is_one_of_a_few_values_is_a_scene_and_no_draw() -> None:
    """It gains at 4 alone: half of the draws would have it gain, had they the right to be on so many CPUs of each kind."""
    key = "machine.tlb_coalesce"
    one = entry("one", lambda of: of[key] - 2 + 0 * of[P], {key: 1.0, P: 10.0})
    few = {
        key: Range(key, 1.0, 1.0, 4.0, "assumed", "planted", (1.0, 4.0)),
        P: Range(P, 10.0, 1.0, 100.0, "assumed", ""),
    }
    found = dataclasses.replace(planted_inputs([one], RANGES), keys=(key, P), ranges={one.id: few})
    drawn = draws(found.keys)
    assert odds(found, drawn, sharing_kept=True)[SCENE].chances == {ALONE: 1.0, "one": 0.0}
    assert scene_odds(SCENE, found, drawn, sharing_kept=True, given={key: 4.0}).chances == {"one": 1.0, ALONE: 0.0}
