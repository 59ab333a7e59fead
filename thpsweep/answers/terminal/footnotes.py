"""What stands below the table at the end of a sweep: what its numbers do not say."""

import math
import re
from collections.abc import Iterable, Sequence

from thpsweep.answers.analysis import frame
from thpsweep.answers.analysis.frame import Row
from thpsweep.answers.terminal.columns import COLUMNS, NET, level
from thpsweep.answers.terminal.numbers import EXACT, NO_FIT
from thpsweep.model import registry
from thpsweep.model.mechanisms.base import Mechanism

WIDE_COLUMNS = 150
"""Terminal columns below which the table leaves out its wide columns."""


def footnotes(rows: Sequence[Row], *, wide: bool = True) -> list[str]:
    """Say once what the numbers do not: failures, missing metrics, and what the model noted (refusals among it)."""
    done = [row for row in rows if row["state"] == "done"]
    others = frame.varied(rows)
    lines = [f"{row['state']}: {_label(row, others)}: {row['error']}" for row in rows if row["error"]]
    waiting = len(rows) - sum(row["state"] != frame.NOT_RUN for row in rows)
    lines += [f"{waiting} of {len(rows)} points have not run"] if waiting else []
    missing = [column.metric for column in COLUMNS if done and not any(column.metric in row for row in done)]
    lines += [f"not in the results: {', '.join(missing)}"] if missing else []
    if wide:
        lines.append(
            f"means over replicates; ± half of the 95 % interval's width{_exact(done)}"
            + ("; private: each process collapses a copy of its own" if any(map(is_private, done)) else "")
        )
    else:
        lines.append(
            f"regions collapsed, the largest one and intervals are shown from {WIDE_COLUMNS} characters a line"
        )
    if not all(map(frame.fits, done)):
        lines.append(f"{NO_FIT}: takes more memory at the peak than the machine has, so that it competes with nothing")
    captured = next((row for row in rows if row["workload"] == "captured" and "sharing.degree" in row), None)
    if captured is not None:
        lines.append(
            f"{_where(captured)}: the captured tree with {captured['sharing.degree']} processes (sharing.degree); "
            "sharing=captured takes as many as were captured"
        )
    return lines + _notes(rows)


def _exact(done: Sequence[Row]) -> str:
    """Say what a net gain without ± is, where there is one; with a single replicate nothing is known."""
    ends = [(row[f"{NET}_low"], row[f"{NET}_high"]) for row in done if NET in row]
    if any(math.isnan(high - low) for low, high in ends):
        return ", unknown with one replicate"
    return f"; without: {EXACT}" if any(low == high for low, high in ends) else ""


def _where(row: Row) -> str:
    degree = f"x{row['sharing.degree']}" if "sharing.degree" in row else str(row["sharing"])
    return f"{row['workload']} {degree}"


def _label(row: Row, others: Sequence[str]) -> str:
    """Name a point by all that tells it from the others."""
    more = [f"{key.rpartition('.')[2]}={level(row[key])}" for key in others if row.get(key) is not None]
    return " ".join([f"{row['policy']} at {_where(row)}", *more])


def is_private(row: Row) -> bool:
    """Tell whether each process collapses on its own."""
    mechanism = registry.options("mechanism").get(row["mechanism"])
    return (
        bool(row.get("cost/collapses"))
        and mechanism is not None
        and issubclass(mechanism, Mechanism)
        and not mechanism.all_sharers
    )


def _notes(rows: Sequence[Row]) -> list[str]:
    """Give each note once; notes that differ in numbers alone are one, given as the last row has it."""
    found: dict[str, list[tuple[str, Row]]] = {}
    for row in rows:
        for note in row["notes"]:
            found.setdefault(re.sub(r"[\d,.]*\d", "#", note), []).append((note, row))
    n_policies = len({row["policy"] for row in rows})
    lines = []
    for alike in found.values():
        note, last = alike[-1]
        policies = dict.fromkeys(row["policy"] for _, row in alike)
        who = "" if len(policies) == n_policies else f"{_list(policies)} at "
        numbers = f" (numbers of {_where(last)})" if len({note for note, _ in alike}) > 1 else ""
        lines.append(f"{who}{_list(_where(row) for _, row in alike)}: {note}{numbers}")
    return lines


def _list(words: Iterable[str]) -> str:
    """Join words, the middle of a long list left out."""
    every = list(dict.fromkeys(words))
    return ", ".join(every if len(every) <= 4 else [every[0], "...", every[-1]])
