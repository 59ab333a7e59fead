"""Who wins where at the rates that were simulated, and what the hundred thousand ptes of 2016 come to."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.paired import Values, difference, estimate
from thpsweep.answers.analysis.question import question_of
from thpsweep.answers.analysis.ranking import (
    NOBODY,
    UNRESOLVED,
    Verdict,
    WinningStretch,
    judge,
    stretches,
    verdicts,
)
from thpsweep.answers.analysis.study import (
    COST,
    DEGREE,
    NET,
    PAYBACK,
    Entry,
    Key,
    Study,
    is_number,
    level_name,
    named,
    scene_name,
    study,
)
from thpsweep.answers.charts.choose import HEADLINE_DEGREE, headline_scene
from thpsweep.answers.report.evidence import evidence
from thpsweep.answers.report.figures import EXACT_SAID, code, ends, ms, percent
from thpsweep.answers.report.headline import break_even, headlines
from thpsweep.answers.terminal.numbers import duration
from thpsweep.shipped import option_file
from thpsweep.sweep.records.journal import Sweep
from thpsweep.units import HPAGE_PMD_NR, size

MOST_CLAUSES = 6
MOST_PRICED = 2000
"""A sweep with more points is priced anew in its report only."""

WALK_SHARE = "workload.page_walk_share"
STALL, COLLAPSES = "cost/stall_max_ms", "cost/collapses"


def answer(sweep: Sweep) -> str:
    """Say in a sentence or two which policy is best where; nothing where no point is done."""
    known = study(sweep, repriced=False)
    if len(known.entries) == 1:
        return _alone(known.entries[0])
    if not known.entries:
        return ""
    judged = verdicts(known, sharing_kept=True)
    exact = EXACT_SAID if any(one.entry is not None and one.net.exact for one in judged.values()) else ""
    return " ".join(filter(None, (*_first(sweep, known), winners(known, judged), exact)))


def _first(sweep: Sweep, known: Study) -> tuple[str, ...]:
    """Say how sure it is, too, where a question is asked and there are not too many points to price anew."""
    if question_of(sweep.directory) and len(known.entries) <= MOST_PRICED:
        return headlines(evidence(study(sweep), lambda name: option_file("machine", name)))
    return (break_even(known),)


def winners(known: Study, judged: Mapping[Key, Verdict] | None = None) -> str:
    """Say which policy has the largest net gain where, among those that keep the sharing, and what losing it would buy."""
    judged = verdicts(known, sharing_kept=True) if judged is None else judged
    scene = headline_scene(known)
    anyhow = judge(scene, known.scenes()[scene], sharing_kept=False)
    rate = _rate(known.entries[0]) if WALK_SHARE not in known.factors else ""
    head = (
        f"By net gain in CPU time over {_horizon(known.entries[0])}{rate}, the best policy that keeps memory shared is"
    )
    return f"{_best(known, judged, head)}{_without_sharing(anyhow)}"


def _best(known: Study, judged: Mapping[Key, Verdict], head: str) -> str:
    """Name the winners along the degree, where that is short enough, else how many scenes each wins."""
    if len(known.factors.get(DEGREE, ())) > 1:
        lines = stretches(judged)
        if len(lines) <= MOST_CLAUSES:
            along = "; ".join(_along(rest, line, judged) for rest, line in lines.items())
            return f"{head}{', ' if any(lines) else ' '}{along}."
    won: dict[str, list[Verdict]] = {}
    for one in judged.values():
        won.setdefault(one.best if one.resolved else UNRESOLVED, []).append(one)
    open_ = won.pop(UNRESOLVED, [])
    if len(judged) == 1:
        return (
            f"{head} {_name(won)}."
            if won
            else f"{head} not resolved: the replicates cannot tell {_rivals(open_[0])} apart."
        )
    if not won:
        return f"{head} not resolved in any of {len(judged)} scenes."
    order = sorted(won.items(), key=lambda item: -len(item[1]))
    clauses = [f"{code(name)} in {len(found)} of {len(judged)} scenes{_range(name, found)}" for name, found in order]
    rest = f"; in {len(open_)} the replicates cannot tell the best apart" if open_ else ""
    return f"{head} {', '.join(clauses)}{rest}."


def _name(won: Mapping[str, list[Verdict]]) -> str:
    ((name, found),) = won.items()
    return f"{code(name)}{_range(name, found)}"


def _rivals(one: Verdict) -> str:
    return ", ".join(map(code, [one.best, *one.tied]))


def _alone(entry: Entry) -> str:
    """Say what came of a policy that competed with nothing but not collapsing."""
    net, cost = estimate(entry.values[NET]), estimate(entry.values[COST])
    degree = entry.choice(DEGREE)
    where = f" at {scene_name(((DEGREE, degree),))}" if is_number(degree) else ""
    if not cost.mean and not net.mean:
        return f"{code(entry.contender)} collapsed nothing{where}."
    verb = "gains" if net.mean >= 0 else "loses"
    size_ = dataclasses.replace(
        net, mean=abs(net.mean), low=min(abs(net.low), abs(net.high)), high=max(abs(net.low), abs(net.high))
    )
    lost = frame.double_bytes(entry.row)
    sharing = f"; private copies end the sharing of {size(lost)}" if lost else ""
    head = (
        f"{code(entry.contender)}{where} {verb} {ms(size_ if net.sign else net)} of CPU time net over {_horizon(entry)}"
    )
    return f"{head}, for {ms(cost)} of collapsing, and {_payback(entry)}{sharing}."


def _rate(entry: Entry) -> str:
    """Say which rate the TLB's part of a net gain rests on."""
    share = entry.point["workload"].get(WALK_SHARE.partition(".")[2])
    return "" if share is None else f", at {percent(float(share))} of cycles in page walks"


def _horizon(entry: Entry) -> str:
    return duration(float(entry.point["run"]["duration_s"]))


def hundred_thousand(known: Study) -> str:
    """Say what the sentence of 2016 comes to: at the degree where 512 ptes a sharer are the hundred thousand."""
    found = _at_headline(known)
    if "inplace" not in found:
        return _cost_of_best(known)
    entry = found["inplace"]
    degree = int(entry.choice(DEGREE) or entry.row.get(DEGREE, 0))
    clauses = [_costs(entry, "`inplace` takes")]
    if "switch" in found:
        saved = difference(_per_collapse(entry, COST), _per_collapse(found["switch"], COST))
        clauses.append(_costs(found["switch"], "`switch`", f" ({ms(saved)} less)"))
    clauses += [_costs(found[name], f"`{name}`") for name in ("inplace_pmd", "switch_pmd") if name in found]
    ptes = f"{HPAGE_PMD_NR * degree:,} ptes at {degree} sharers"
    head = f"The hundred thousand ptes of 2016 are {ptes}" if degree == HEADLINE_DEGREE else f"Each 2 MiB has {ptes}"
    return f"{head} ({scene_name(entry.scene)}). To collapse 2 MiB, {'; '.join(clauses)}."


def _along(rest: Key, line: Sequence[WinningStretch], judged: Mapping[Key, Verdict]) -> str:
    """Write the winners along the degree, with the net gain at the last degree of each."""
    parts = []
    for one in line:
        here = [
            found for scene, found in judged.items() if dict(scene).get(DEGREE) == one.last and _rest(scene) == rest
        ]
        several = one.first != one.last
        degrees = f"{one.first:,}–{one.last:,}" if several else f"{one.first:,}"
        noun, where_to = "sharer" if degrees == "1" else "sharers", f" at {one.last:,}" if several else ""
        if one.winner == UNRESOLVED:
            parts.append(f"not resolved at {degrees} {noun}")
        else:
            gain = "" if one.winner in NOBODY or not here else f" ({ms(here[0].net)}{where_to})"
            parts.append(f"{code(one.winner)} at {degrees} {noun}{gain}")
    where = " and ".join(f"{named(key)} of {level_name(key, value)}" for key, value in rest)
    return (f"with {where}, " if where else "") + ", ".join(parts)


def _without_sharing(anyhow: Verdict) -> str:
    """Say what the best contender gains where memory may be double, and how much it then is."""
    if anyhow.entry is None or anyhow.entry.keeps_sharing or not anyhow.resolved:
        return ""
    more = estimate(anyhow.entry.values["cost/extra_bytes_peak"])
    where = f" at {scene_name(anyhow.scene)}" if anyhow.scene else ""
    gains = f"{code(anyhow.best)} gains {ms(anyhow.net)}{where}"
    return f" If sharing may be lost, {gains}, for {size(more.mean)} more memory."


def _rest(scene: Key) -> Key:
    return tuple(pair for pair in scene if pair[0] != DEGREE)


def _range(name: str, found: Sequence[Verdict]) -> str:
    if name in NOBODY:
        return ""
    nets = sorted(found, key=lambda one: one.net.mean)
    if nets[0] is nets[-1]:
        return f" ({ms(nets[0].net)})"
    return f" ({ms(nets[0].net)} to {ms(nets[-1].net)})"


def _at_headline(known: Study) -> dict[str, Entry]:
    """Give the entries by contender at the degree next to HEADLINE_DEGREE, and where as little as was swept happens."""
    keys = [key for key in known.scene_factors if key != DEGREE]
    lowest = {key: 0 if 0 in known.factors[key] else known.factors[key][0] for key in keys}
    degrees = known.factors.get(DEGREE)
    degree = min(degrees, key=lambda level: abs(level - HEADLINE_DEGREE)) if degrees else None
    wanted = lowest | ({DEGREE: degree} if degrees else {})
    return {entry.contender: entry for entry in known.entries if dict(entry.scene) == wanted}


def _cost_of_best(known: Study) -> str:
    """Say what the best contender of the chosen scene costs, where the two of 2016 did not compete."""
    found = [entry for entry in _at_headline(known).values() if entry.ranked and np.isfinite(entry.values[NET]).all()]
    if not found:
        return "No contender finished in the scene that stands for the sweep."
    best = max(found, key=lambda entry: float(entry.values[NET].mean()))
    return f"At {scene_name(best.scene)}, for each 2 MiB, {_costs(best, f'{code(best.contender)} takes')}."


def _costs(entry: Entry, who: str, beside: str = "") -> str:
    """Write the CPU time of a collapse, the worst stall and the payback."""
    cpu, stall = estimate(_per_collapse(entry, COST)), estimate(entry.values[STALL])
    return f"{who} {ms(cpu)} of CPU{beside} with a worst stall of {ms(stall)}, and {_payback(entry)}"


def _per_collapse(entry: Entry, metric: str) -> Values:
    """Divide by what was collapsed, in 2 MiB."""
    return np.asarray(entry.values[metric] / np.maximum(entry.values[COLLAPSES] / entry.row["folios_a_region"], 1))


def _payback(entry: Entry) -> str:
    values, horizon_s = entry.values[PAYBACK], float(entry.point["run"]["duration_s"])
    late = int((values > horizon_s).sum())
    if np.isnan(values).any() and not late:
        return "collapses nothing in some replicates"
    if late:
        some = "" if late == values.size else f" in {late} of {values.size} replicates"
        return f"does not pay back within the run{some}"
    found = estimate(values)
    if not found.mean:
        return "pays back within the first tick"
    return f"pays back after {duration(found.mean)}{ends(found, duration)}"
