"""What keeps pages shared instead of making them huge: gc.freeze() before the fork, and workers forked from a warm one."""

from collections.abc import Mapping

import numpy as np

from thpsweep.answers.advise.choices import NamedPolicy
from thpsweep.answers.advise.commands import Commands
from thpsweep.answers.advise.verdict import Prediction
from thpsweep.answers.analysis.paired import estimate
from thpsweep.model.capture.copied import CopiedPages, copied
from thpsweep.model.capture.layout import Layout
from thpsweep.model.machines.profile import Profile
from thpsweep.units import NS_PER_MS, PAGE_SIZE_BYTES, size

LEAST_PAGES = 256
"""Fewer pages that all workers have copied are not worth a word."""

PYTHON = ("python", "gunicorn", "uwsgi", "celery", "uvicorn")
AT_MOST = "at most: what reference counts and requests write is copied all the same"

_FREEZE = Commands(("# in the program, after loading and before the first fork: gc.disable(), then gc.freeze()",))
_REFORK = Commands(
    (
        "# fork workers from one that has served requests: pitchfork (Ruby), puma's fork_worker; gunicorn has no such thing",
    )
)


def levers(
    layout: Layout, machine: Profile, rates: Mapping[str, float], duration_s: float, replicates: int
) -> list[Prediction]:
    """Bound what each lever brings by what every worker has copied; nothing for a tree without such pages.

    Each worker that is forked copies these pages anew, at a fault a page.
    """
    found = copied(layout)
    if found.n_workers < 2 or found.by_all < LEAST_PAGES:
        return []
    life_s = rates["worker_life_s"]
    n_forks = found.n_workers * (duration_s / life_s if life_s else 1.0)
    saved_ms = found.by_all * n_forks * machine.cow_fault_ns / NS_PER_MS
    known = str(layout.provenance.get("program", "")).startswith(PYTHON)
    names = {"gc.freeze() before fork": ("the collector leaves alone what was loaded", _FREEZE)} if known else {}
    names["refork from a warm worker"] = ("workers share what each writes as it warms up", _REFORK)
    return [
        _bound(NamedPolicy(name, what, {}, made, restart=True, notes=(AT_MOST,)), saved_ms, found, replicates)
        for name, (what, made) in names.items()
    ]


def _bound(choice: NamedPolicy, saved_ms: float, found: CopiedPages, replicates: int) -> Prediction:
    """Write a bound as a prediction: it costs nothing, and needs no page walk."""
    net, none = np.full(replicates, saved_ms), estimate(np.zeros(replicates))
    memory = estimate(np.full(replicates, -float(found.by_all * found.n_workers * PAGE_SIZE_BYTES)))
    return Prediction(
        choice, estimate(net), estimate(net), estimate(net), none, none, none, memory, none,
        {"SUCCEED": 1}, net, net,
    )  # fmt: skip


def lines(layout: Layout) -> list[str]:
    """Say what the capture shows of what workers have copied."""
    found = copied(layout)
    if not found.n_workers or not found.of_root:
        return []
    text = (
        f"since it was forked, a worker has copied {100 * found.share:.0f} % of the parent's "
        f"{size(found.of_root * PAGE_SIZE_BYTES)} on average"
    )
    if found.n_workers > 1:
        text += f"; {size(found.by_all * PAGE_SIZE_BYTES)} of it were copied by every worker"
    return [f"{text}. Predictions marked * assume that each worker copies as much in its first minute"]
