"""The first sentences of an answer: from which share of page walks on it pays, how sure that is, what would overturn it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.analysis.inputs import Inputs
from thpsweep.answers.analysis.published import beside
from thpsweep.answers.analysis.ranking import ALONE, NOTHING_FITS, contestants
from thpsweep.answers.analysis.sensitivity import Sensitivity
from thpsweep.answers.analysis.study import (
    BREAK_EVEN,
    DEGREE,
    Entry,
    Key,
    Study,
    level_name,
    named,
    scene_name,
)
from thpsweep.answers.analysis.uncertainty import Odds
from thpsweep.answers.charts.choose import HEADLINE_DEGREE, headline_scene
from thpsweep.answers.report.evidence import Evidence
from thpsweep.answers.report.figures import chance, code, percent
from thpsweep.answers.terminal.numbers import significant

MOST_LINES = 6
MOST_NAMED = 3
NO_SHARE = "it pays at no share: too few page walks are saved, or none"
NOWHERE = (
    "Collapsing gains what it costs, memory staying shared, in none of the scenes, whatever share of cycles goes into page "
    "walks: too few of them are saved, or none."
)

OddsByScene = Mapping[Key, Odds]


def headlines(found: Evidence) -> tuple[str, ...]:
    """Say from which share of page walks on it pays, how sure the winners are, and what would overturn them."""
    best, where = found.judged[found.chosen].best, scene_name(found.chosen)
    return (
        break_even(found.study, found.odds),
        " ".join(filter(None, (chances(found.inputs, found.odds, found.chosen), of_levels(found)))),
        overturned(found.varied, best, where, len(found.odds)),
    )


def lowest(entries: Sequence[Entry]) -> Entry | None:
    """Choose the contestant whose break-even share of cycles in page walks is the lowest; none where nobody has one."""
    known = [entry for entry in contestants(entries, sharing_kept=True) if BREAK_EVEN in entry.values]
    finite = [entry for entry in known if not np.isnan(entry.values[BREAK_EVEN]).any()]
    return min(finite, key=_share, default=None)


def _share(entry: Entry) -> float:
    return float(entry.values[BREAK_EVEN].mean())


def break_even(known: Study, odds: OddsByScene | None = None) -> str:
    """Say from which share of cycles in page walks on collapsing gains more than it costs, beside published shares."""
    best = {scene: lowest(entries) for scene, entries in known.scenes().items()}
    found = {scene: entry for scene, entry in best.items() if entry is not None}
    if not found:
        return ""
    if all(_share(entry) > 1 for entry in found.values()):
        return NOWHERE
    chosen = headline_scene(known) if headline_scene(known) in found else next(iter(found))
    lines = _lines(found)
    clauses = [_along(rest, line) for rest, line in lines.items()]
    if len(clauses) > MOST_LINES:
        clauses = [_between(list(found.values()))]
    entry, share = found[chosen], _share(found[chosen])
    sure = ""
    if odds and chosen in odds and entry.contender in odds[chosen].break_even:
        span = odds[chosen].break_even[entry.contender]
        sure = f", {percent(span.low)} to {percent(span.high)} in 95 % of the draws"
    pays = f"{code(entry.contender)} pays from {percent(share)} on{sure}; {beside(share)}" if share <= 1 else NO_SHARE
    return (
        f"Collapsing gains what it costs, memory staying shared, from this share of cycles in page walks on: "
        f"{'; '.join(clauses)}. At {scene_name(chosen)} {pays}."
    )


def _lines(found: Mapping[Key, Any]) -> dict[Key, list[tuple[Any, Any]]]:
    """Gather what was found along the degree, for each combination of the other factors."""
    lines: dict[Key, list[tuple[Any, Any]]] = {}
    for scene, one in found.items():
        rest = tuple(pair for pair in scene if pair[0] != DEGREE)
        lines.setdefault(rest, []).append((dict(scene).get(DEGREE), one))
    return lines


def _along(rest: Key, line: Sequence[tuple[Any, Entry]]) -> str:
    """Write the share at the first, the last and the headline's degree."""
    near = min(range(len(line)), key=lambda at: abs((line[at][0] or 0) - HEADLINE_DEGREE))
    shown = [line[at] for at in sorted({0, near, len(line) - 1})]
    parts = [f"{percent(_share(entry))}{_at(degree)}{_by(entry)}" for degree, entry in shown]
    return f"{_where(rest)}{', '.join(parts)}"


def _by(entry: Entry) -> str:
    return f" ({code(entry.contender)})" if _share(entry) <= 1 else ""


def _between(entries: Sequence[Entry]) -> str:
    shares = sorted(map(_share, entries))
    paying = [share for share in shares if share <= 1]
    if not paying:
        return f"in none of {len(shares)} scenes"
    return f"{percent(paying[0])} to {percent(paying[-1])} in {len(paying)} of {len(shares)} scenes"


def _at(degree: Any) -> str:
    return "" if degree is None else f" at {scene_name(((DEGREE, degree),))}"


def _where(rest: Key) -> str:
    words = " and ".join(f"{named(key)} of {level_name(key, value)}" for key, value in rest)
    return f"with {words}, " if rest else ""


def chances(found: Inputs | str, odds: OddsByScene, chosen: Key) -> str:
    """Say how often each contender wins when all prices and rates are drawn from their ranges at once."""
    if isinstance(found, str):
        return f"How sure that is was not computed: {found}."
    n = next((values.size for one in odds.values() for values in one.means.values()), 0)
    clauses = [_favourites(rest, line) for rest, line in _lines(odds).items()]
    if len(clauses) > MOST_LINES:
        clauses = [_often(odds)]
    head = f"In {n:,} draws of {len(found.keys)} prices and rates, each from its range, all at once"
    one = f" {_one(odds[chosen])}" if chosen in odds else ""
    left_out = f" {found.left_out}." if found.left_out else ""
    return f"{head}, those win most often that keep memory shared: {'; '.join(clauses)}.{one}{left_out}"


def _favourites(rest: Key, line: Sequence[tuple[Any, Odds]]) -> str:
    """Join neighbouring degrees with the same favourite."""
    parts: list[list[tuple[Any, Odds]]] = []
    for degree, one in line:
        if parts and parts[-1][-1][1].favourite == one.favourite:
            parts[-1].append((degree, one))
        else:
            parts.append([(degree, one)])
    return f"{_where(rest)}{', '.join(map(_stretch, parts))}"


def _stretch(part: Sequence[tuple[Any, Odds]]) -> str:
    shares = sorted(one.chances[one.favourite] for _, one in part)
    low, high = chance(shares[0]), chance(shares[-1])
    said = low if low == high else f"{low} to {high}"
    (first, one), (last, _) = part[0], part[-1]
    said = "" if one.favourite == NOTHING_FITS else f" in {said}"
    where = _at(first) if first == last else f" at {first:,}–{last:,} sharers"
    return f"{code(one.favourite)}{said}{where}"


def _often(odds: OddsByScene) -> str:
    """Count the scenes by favourite."""
    won: dict[str, list[float]] = {}
    for one in odds.values():
        won.setdefault(one.favourite, []).append(one.chances[one.favourite])
    order = sorted(won.items(), key=lambda item: -len(item[1]))
    return ", ".join(
        f"{code(name)} in {len(shares)} of {len(odds)} scenes (with {chance(min(shares))} to {chance(max(shares))})"
        for name, shares in order
    )


def of_levels(found: Evidence) -> str:
    """Say who wins the chosen scene at each value of a key that is one of a few, of which none is drawn."""
    clauses = [
        f"`{key}` is not drawn: {', '.join(f'at {level:g} {_wins(one)}' for level, one in levels.items())}"
        for key, levels in found.levels.items()
    ]
    return " ".join(f"{clause}." for clause in clauses)


def _wins(one: Odds) -> str:
    return f"{code(one.favourite)} wins in {chance(one.chances[one.favourite])}"


def _one(one: Odds) -> str:
    """Tell the chances in one scene, and how far the favourite's net gain reaches."""
    if one.favourite == NOTHING_FITS:
        return f"At {scene_name(one.scene)} nothing fits in memory."
    shares = list(one.chances.items())[: MOST_NAMED + 1]
    listed = ", ".join(f"{code(name)} wins in {chance(share)}" for name, share in shares if share)
    net = one.net.get(one.favourite)
    if net is None:
        return f"At {scene_name(one.scene)} {listed}."
    reach = f"{significant(net.median)} ms [{significant(net.low)}, {significant(net.high)}]"
    return f"At {scene_name(one.scene)} {listed}; {code(one.favourite)} gains {reach} net."


def overturned(found: Sequence[Sensitivity] | str, best: str, where: str, n: int) -> str:
    """Say which price or rate would overturn it, within its range, and which the answer depends on most."""
    if isinstance(found, str):
        return f"Prices could not be varied: {found}."
    loses = [one for one in found if one.changed]
    listed = ", ".join(_decides(one, n) for one in loses[:MOST_NAMED])
    most = ", most of all" if len(loses) > MOST_NAMED else ""
    head = (
        f"{len(loses)} of {len(found)} prices and rates change a best policy when moved alone to an end of their range"
    )
    if not loses:
        head, most = f"None of {len(found)} prices and rates, moved alone over its range, changes a best policy", ""
    telling = [one for one in sorted(found, key=lambda one: -abs(one.correlation)) if one.correlation][:MOST_NAMED]
    ranked = ", ".join(f"`{one.key}` ({one.correlation:+.2f})" for one in telling)
    depends = f"; with all drawn at once its lead hangs most on {ranked}, by rank correlation" if ranked else ""
    return f"{head}{most}{': ' if listed else ''}{listed}. {_nearest(found, best, where)}{depends}."


def _decides(one: Sensitivity, n: int) -> str:
    low, high = significant(one.range.low), significant(one.range.high)
    return f"`{one.key}` ({one.range.kind}; in {one.at_low} of {n} scenes at {low}, in {one.at_high} at {high})"


def _nearest(found: Sequence[Sensitivity], best: str, where: str) -> str:
    """Name what turns the scene with the smallest step from its simulated value, and to whom."""
    turns = [(_step(one, value), value, name, one) for one in found for value, name in one.turns]
    if not turns:
        return f"At {where} {_still(best)} whatever the value of any one of them within its range"
    _, value, name, one = min(turns, key=lambda turn: turn[0])
    said = (
        f"`{one.key}`, which is {one.range.kind}, were {significant(value)} instead of {significant(one.range.value)}"
    )
    return f"At {where} {code(name)} instead of {code(best)} would be best if {said}"


def _still(best: str) -> str:
    return "it stays best not to collapse" if best == ALONE else f"{code(best)} stays best"


def _step(one: Sensitivity, value: float) -> float:
    """Measure how far a value is, as a share of the range's half on that side."""
    end = one.range.high if value > one.range.value else one.range.low
    return abs(value - one.range.value) / max(abs(end - one.range.value), 1e-300)
