"""The table of `thpsweep advise`, and how to do what it names."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from thpsweep.answers.advise.verdict import ChoiceVerdict, Prediction, span
from thpsweep.answers.terminal.table import NOTHING, duration, significant
from thpsweep.units import size

_PAYBACK_NEEDS = (ChoiceVerdict.PAYS, ChoiceVerdict.BY_TLB)


def table(found: Sequence[Prediction], title: str) -> Table:
    """Lay the predictions out: what can be done today, then what cannot."""
    laid = Table(box=box.SIMPLE, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for heading in ("choice", "verdict"):
        laid.add_column(heading, overflow="fold")
    for heading in ("net CPU ms", "without\nTLB", "gain\nms", "cost\nms", "pays back\nafter", "worst\nstall", "memory\nmore",
                    "sharing\nlost"):  # fmt: skip
        laid.add_column(heading, justify="right", overflow="fold")
    for each, following in zip(found, [*found[1:], None], strict=True):
        ends = following is not None and following.choice.possible != each.choice.possible
        laid.add_row(*map(Text, _cells(each)), end_section=ends)
    return laid


def _cells(each: Prediction) -> list[str]:
    name = each.choice.name + (" *" if each.choice.restart else "")
    verdict = f"{each.verdict.value}: {each.refused}" if each.verdict is ChoiceVerdict.IDLE else each.verdict.value
    payback = duration(each.payback.mean) if each.verdict in _PAYBACK_NEEDS else NOTHING
    return [
        name, verdict, span(each.net), span(each.dry), significant(each.gain.mean), significant(each.cost.mean), payback,
        duration(each.stall_max.mean / 1000), size(max(0.0, each.extra_bytes.mean)), size(each.sharing_lost_bytes.mean),
    ]  # fmt: skip


def instructions(found: Sequence[Prediction]) -> Iterator[str]:
    """Say how each choice is brought about, and what has to be known of it."""
    for each in found:
        if each.choice.possible:
            yield f"{each.choice.name} ({each.choice.what}; {each.verdict.value}):"
            yield from (f"    {command}" for command in each.choice.how)
            yield from (f"    ({note})" for note in each.choice.notes)


LEGEND = (
    "CPU time over the simulated time, against the same tree left alone on the same events; brackets: 95 % intervals",
    "* takes effect when the service is started; predicted for the tree as it was then, against the same without it",
)
