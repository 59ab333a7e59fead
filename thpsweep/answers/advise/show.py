"""The table of `thpsweep advise`, and how to do, and undo, what it names."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from thpsweep.answers.advise.chance import WalkShare, breakeven
from thpsweep.answers.advise.commands import MAX_BYTES
from thpsweep.answers.advise.recommend import STEP_S, Circumstances, Recommendation
from thpsweep.answers.advise.verdict import ChoiceVerdict, Prediction, ordered, span
from thpsweep.answers.terminal.numbers import NOTHING, duration
from thpsweep.outcomes import SENTENCES, ScanResult
from thpsweep.units import size

_PAYBACK_NEEDS = (ChoiceVerdict.PAYS, ChoiceVerdict.BY_TLB)
_MAY_PAY = (*_PAYBACK_NEEDS, ChoiceVerdict.OPEN)
IN_NO_KERNEL = "in no released kernel:"

_FIGURES = (
    "saves\n% of CPU", "saves\nms of CPU", "pays from\npage walks of", "pays back\nafter", "worst\nstall", "memory\nmore",
    "sharing\nlost",
)  # fmt: skip

MARGIN = 1.25
"""A collapse may take so many times the memory that was predicted, since the tree goes on meanwhile."""


def table(found: Sequence[Prediction], title: str, about: Circumstances) -> Table:
    """Lay the predictions out: what can be done today, then what cannot, each by what it brings."""
    laid = Table(box=box.SIMPLE, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for heading in ("choice", "verdict"):
        laid.add_column(heading, overflow="fold")
    for heading in _FIGURES:
        laid.add_column(heading, justify="right", overflow="fold")
    sorted_out = ordered(found)
    for each, following in zip(sorted_out, [*sorted_out[1:], None], strict=True):
        ends = following is not None and following.choice.possible != each.choice.possible
        laid.add_row(*map(Text, _cells(each, about)), end_section=ends)
        if ends:
            laid.add_row(IN_NO_KERNEL)
    return laid


def _cells(each: Prediction, about: Circumstances) -> list[str]:
    name = each.choice.name + (" *" if each.choice.restart else "")
    refused = f": {_sentence(each.refused)}" if each.verdict is ChoiceVerdict.IDLE and each.refused else ""
    verdict = f"{each.verdict.value}{refused}"
    payback = "< 1 min" if each.payback.mean < STEP_S else duration(each.payback.mean)
    payback = payback if each.verdict in _PAYBACK_NEEDS else NOTHING
    percent = about.percent(each.net.mean)
    memory = size(each.extra_bytes.mean) + ("" if about.fits(each) else " (does not fit)")
    return [
        name, verdict, NOTHING if percent is None else f"{percent:+.2g}", span(each.net), _from(each, about.share), payback,
        duration(each.stall_max.mean / 1000), memory, size(each.sharing_lost_bytes.mean),
    ]  # fmt: skip


def _sentence(result: str) -> str:
    """Say what a result of khugepaged's means."""
    return SENTENCES[ScanResult[result]] if result in ScanResult.__members__ else result


def _from(each: Prediction, share: WalkShare) -> str:
    """Write the share of cycles in page walks from which on it pays."""
    least = float(np.median(breakeven(each, share)))
    if each.verdict is ChoiceVerdict.IDLE or not math.isfinite(least):
        return NOTHING
    return "always" if least == 0 else f"{100 * least:.2g} %"


def steps(each: Prediction) -> Iterator[str]:
    """List the commands that a choice takes, and those that undo it, as a shell takes them."""
    room_mib = max(64, math.ceil(max(0.0, each.extra_bytes.mean) * MARGIN / 2**20))
    made = each.choice.commands
    groups = ((APPLY, made.apply), (UNDO, made.undo), (KEEP, made.keep), (UNKEEP, made.unkeep))
    for about, lines in groups:
        if lines and all(line.startswith("#") for line in lines):
            yield from (f"  {line}" for line in lines)
            continue
        yield from (f"  {line.replace(MAX_BYTES, f'{room_mib}M')}" for line in ([about, *lines] if lines else []))


def instructions(found: Sequence[Prediction], every: bool = False) -> Iterator[str]:
    """Say how each choice that may pay, or every one, is brought about, and what has to be known of it."""
    for each in ordered(found):
        if each.choice.possible and (every or each.verdict in _MAY_PAY):
            yield f"{each.choice.name} ({each.choice.what}; {each.verdict.value}):"
            yield from steps(each)
            yield from (f"  ({note})" for note in each.choice.notes)


def headline(made: Recommendation) -> Iterator[str]:
    """Write the recommendation: what to do first, then why, then how."""
    first, *others = made.lines
    yield f"{made.advice.value}: {first}"
    yield from others
    if made.beside is not None:
        yield (
            f"Beside huge pages: {made.beside.choice.name} would keep up to {size(-made.beside.extra_bytes.mean)} shared "
            "that every worker copies for itself now."
        )
    if made.choice is not None and any(line.startswith("echo ") for line in made.choice.choice.commands.apply):
        yield "It is a setting of the whole machine: other programs get huge pages by it, too."
    if made.choice is not None and made.choice.choice.possible:
        yield from steps(made.choice)


COMMANDS = "Commands, to be pasted into a root shell:"
ALL_COMMANDS = "Commands of the choices that do not pay: the same with --all-commands."
APPLY, UNDO = "# apply, until the next boot or restart:", "# undo:"
KEEP, UNKEEP = "# for good, at each boot or start from then on:", "# no longer for good:"

LEGEND = (
    "saves: CPU time in the simulated time, against leaving the tree alone, less what the choice costs; in brackets: the "
    "95 % interval over simulated events, prices and rates being as below",
    "pays from: the choice saves CPU time where the tree spends at least this share of its cycles in page walks now",
    "* takes effect when the service starts; compared with a start without it",
)
