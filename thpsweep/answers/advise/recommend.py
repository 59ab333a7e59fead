"""One recommendation: do this, do nothing, or measure this first; what it brings, and how sure that is."""

import dataclasses
import enum
from collections.abc import Iterator, Sequence

import numpy as np

from thpsweep.answers.advise.chance import WalkShare, at_most, breakeven, chance
from thpsweep.answers.advise.choices import AS_SET
from thpsweep.answers.advise.verdict import ChoiceVerdict, Prediction, alike, ordered, span
from thpsweep.answers.advise.watched import Unfit
from thpsweep.answers.analysis.paired import estimate
from thpsweep.answers.terminal.numbers import duration, significant
from thpsweep.units import size

SURE = 0.9
"""A choice is recommended if it pays in so many cases of those that are possible, and dismissed if it loses in as many."""

WORTH_PERCENT = 0.1
"""What brings less of a tree's CPU time is not worth a change of a running service."""

STEP_S = 60.0

PERF = (
    "perf stat -e cycles,dtlb_load_misses.walk_active,dtlb_store_misses.walk_active -p PID -- sleep 30 "
    "(Intel: the sum of the last two over the first). Where there are no such counters, as in many virtual machines: "
    "compare CPU time a request before and after `thpsweep collapse --apply` on one instance"
)


class Advice(enum.Enum):
    """What to do."""

    DO = "Do this"
    NOTHING = "Do nothing"
    MEASURE = "Measure this first"


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """What a recommendation is judged by: CPU time of the tree in the simulated time (None: not known), memory that is
    left (None likewise), the share of cycles in page walks, and why what was watched is not the service at work.

    Units: ms, bytes, hours.
    """

    hours: float
    share: WalkShare
    cpu_ms: float | None = None
    room_bytes: int | None = None
    unfit: Unfit | None = None
    again: str = ""
    pid: str = "PID"

    def fits(self, each: Prediction) -> bool:
        """Tell whether there is as much memory."""
        return self.room_bytes is None or each.extra_bytes.mean <= self.room_bytes

    def percent(self, net_ms: float) -> float | None:
        """Put it in per cent of the tree's CPU time."""
        return 100 * net_ms / self.cpu_ms if self.cpu_ms else None

    def is_worth(self, net_ms: float) -> bool:
        """Tell whether it is worth a change."""
        percent = self.percent(net_ms)
        return net_ms > 0 if percent is None else percent >= WORTH_PERCENT


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What to do, about which choice, if any, and why, a sentence a line."""

    advice: Advice
    choice: Prediction | None
    lines: tuple[str, ...]
    beside: Prediction | None = None
    """What would save memory without a huge page."""


def recommend(found: Sequence[Prediction], about: Circumstances) -> Recommendation:
    """Recommend one thing, and what saves memory beside it."""
    made = _one_thing(found, about)
    saving = [each for each in found if each.extra_bytes.mean < 0 and each is not made.choice]
    return dataclasses.replace(made, beside=min(saving, key=lambda each: each.extra_bytes.mean, default=None))


def _one_thing(found: Sequence[Prediction], about: Circumstances) -> Recommendation:
    today = [each for each in ordered(found) if each.choice.possible]
    useful = [_beyond(each, today) for each in today if each.verdict is not ChoiceVerdict.IDLE and about.fits(each)]
    useful = [each for each in useful if each.choice.name != AS_SET]
    paying = [each for each in useful if chance(each, about.share) >= SURE and about.is_worth(each.net.mean)]
    names = {each.choice.name for each in paying}
    maybe = [each for each in useful if each.choice.name not in names and chance(each, about.share) > 1 - SURE]
    open_ones = [each for each in maybe if about.is_worth(at_most(each, about.share))]
    best = max(paying, key=lambda each: each.net.mean, default=None)
    if about.unfit is not None:
        return _measure_load(about.unfit, best or (open_ones[0] if open_ones else None), about)
    if best is not None:
        return Recommendation(Advice.DO, best, tuple(_do(best, paying, about)))
    if open_ones and not about.share.known:
        return _measure_walks(max(open_ones, key=lambda each: chance(each, about.share)), about)
    return Recommendation(Advice.NOTHING, None, tuple(_nothing(today, useful, about)))


def _beyond(each: Prediction, today: Sequence[Prediction]) -> Prediction:
    """Compare with what khugepaged does already, where it does something: only what comes on top is gained."""
    now = next((one for one in today if one.choice.name == AS_SET), None)
    if now is None or now is each or each.choice.restart:
        return each
    net, dry = each.net_values - now.net_values, each.dry_values - now.dry_values
    return dataclasses.replace(each, net=estimate(net), dry=estimate(dry), net_values=net, dry_values=dry)


def _do(best: Prediction, paying: Sequence[Prediction], about: Circumstances) -> Iterator[str]:
    yield f"{best.choice.name}: {best.choice.what}."
    yield f"It saves {_gain(best, about)}, takes {_memory(best)}, and is paid back {_payback(best)}."
    yield _sure(best, about)
    rivals = [each.choice.name for each in paying if each is not best and alike(best, each)]
    if rivals:
        yield f"As far as {best.net.n} replicates tell, this brings as much: {', '.join(rivals)}."


def _gain(each: Prediction, about: Circumstances) -> str:
    """Say what it brings in per cent of the tree's CPU time, and in ms."""
    mean = about.percent(each.net.mean)
    ms = f"{significant(each.net.mean)} ms of CPU in {significant(about.hours)} h"
    if mean is None:
        return f"{ms} (how much the tree takes in all is not known: it was not watched)"
    low, high = (about.percent(value) for value in (each.net.low, each.net.high))
    narrow = low is None or high is None or f"{low:.2g}" == f"{high:.2g}"
    width = "" if narrow else f", {low:.2g} to {high:.2g} % by the events alone"
    return f"{mean:.2g} % of this tree's CPU time ({ms}{width})"


def _payback(each: Prediction) -> str:
    """Say when; less than a step of the simulation is not told apart."""
    return f"after {duration(each.payback.mean)}" if each.payback.mean >= STEP_S else "within a minute"


def _memory(each: Prediction) -> str:
    collapsing = f" and {span(each.cost)} ms of CPU to collapse" if each.cost.mean > 0 else ""
    return f"{size(max(0.0, each.extra_bytes.mean))} more memory at its peak{collapsing}"


def _sure(each: Prediction, about: Circumstances) -> str:
    """Say in how many cases it pays, and from which share of cycles in page walks on."""
    share, often = about.share, chance(each, about.share)
    least = float(np.median(breakeven(each, share)))
    if least == 0:
        return "How sure: it pays even if no page walk is saved by it."
    if not np.isfinite(least):
        return "How sure: it saves no page walks, and does not pay without them."
    if share.known:
        return (
            f"How sure: it pays from {_percent(least)} of cycles in page walks on; {_percent(share.value)} were given."
        )
    pays = f"How sure: it pays from {_percent(least)} of cycles in page walks on"
    of_range = f"it pays in {_percent(often)} of that, each factor being as likely"
    ends = f"{_percent(share.low)} to {_percent(share.high)}"
    if share.seen:
        return f"{pays}. This tree's are {_percent(share.value)}, {ends} ({share.how}): {of_range}."
    return (
        f"{pays}. The range is {ends}, {share.how}: {of_range}. This tree's was not measured; {_percent(share.value)} is "
        "assumed."
    )


def _percent(share: float) -> str:
    return f"{significant(100 * share, digits=2)} %"


def _measure_load(unfit: Unfit, best: Prediction | None, about: Circumstances) -> Recommendation:
    """Ask for a better window; say what is likely until then."""
    lines = [f"{unfit.what_to_do}, and ask again: thpsweep advise --pid {about.pid} --seconds 30", f"Why: {unfit.why}."]
    if best is not None:
        lines.append(f"Until then the best guess is {best.choice.name}, which would save {_gain(best, about)}.")
        lines.append(f"It would take {_memory(best)}.")
        lines.append(_sure(best, about))
    else:
        lines.append("By what was seen so far, nothing that this kernel can do pays.")
    return Recommendation(Advice.MEASURE, best, tuple(lines))


def _measure_walks(best: Prediction, about: Circumstances) -> Recommendation:
    return Recommendation(
        Advice.MEASURE,
        best,
        (
            "the share of this tree's cycles that goes to page walks.",
            f"{best.choice.name} would save {_gain(best, about)}, and take {_memory(best)}.",
            _sure(best, about),
            f"To measure it: {PERF.replace('PID', about.pid)}",
            f"then: {about.again} --walk-share SHARE",
        ),
    )


def _nothing(today: Sequence[Prediction], useful: Sequence[Prediction], about: Circumstances) -> Iterator[str]:
    now = next((each for each in today if each.choice.name == AS_SET), None)
    if not today:
        yield "nothing that can be done today concerns this tree."
    elif not useful:
        crowded = [each.choice.name for each in today if not about.fits(each)]
        yield "nothing that can be done today makes a huge page here" + (" that fits in memory." if crowded else ".")
    else:
        best = max(useful, key=lambda each: each.net.mean)
        yield f"nothing that can be done today is worth it within {significant(about.hours)} h."
        verb = "save" if best.net.mean > 0 else "cost"
        yield f"The best of it, {best.choice.name}, would {verb} {_gain(_positive(best), about)}."
        yield _sure(best, about)
    if now is not None and now.net.mean > 0:
        yield f"khugepaged, as it is set, saves {_gain(now, about)} already."


def _positive(each: Prediction) -> Prediction:
    """Write a loss without its sign."""
    return each if each.net.mean > 0 else dataclasses.replace(each, net=estimate(-each.net_values))
