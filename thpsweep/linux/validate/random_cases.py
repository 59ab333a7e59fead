"""Scenarios drawn at random: they reach what no written case does."""

import random

from thpsweep.linux.validate.steps import (
    Case,
    CaseStep,
    age,
    collapse,
    discard,
    end,
    fork,
    hold,
    huge,
    lock,
    merge,
    move,
    page_out,
    pin,
    read,
    release,
    scan,
    split,
    start,
    write,
)
from thpsweep.units import HPAGE_PMD_NR

_MAX_PROCESSES = 4
_STEPS = 12
_SIZES = (1, 5, 64, 255, 256, 257, 511, 512)
_HALF = HPAGE_PMD_NR // 2
_LIMITS = {"max_ptes_none": (0, 255, 256, 511), "max_ptes_shared": (0, 255, 256, 511)}
_MERGED = 0.05
"""Part of the cases in which KSM has merged pages before anything else happens."""

_OUTLASTS_KSM = ("write", "read", "discard", "empty", "split", "move", "collapse", "fork", "end")
"""What such a case does: of a merged page the model knows which slots it stands in, not that it is one frame."""


def random_case(seed: int, plain: bool = False) -> Case:
    """Draw a family of up to four processes that share one region, and what they do; each step is compared.

    plain: without aging, swap, locks, KSM and extra references.

    A page table may get empty, but does not go: a read would map the huge zero page then, if the process was advised.
    Where KSM has merged pages, outcomes alone are compared: the model has no frame that stands in several slots.
    """
    rng = random.Random(seed)
    if not plain and rng.random() < _MERGED:
        n, apart = rng.choice((64, 255, 512)), rng.choice((1, 3, 30))
        merged = range(rng.randrange(n - apart), n, apart)[: rng.choice((2, 3, 8))]
        ready = (start("p"), write("p", range(n)), merge("p", merged))
        return Case(f"random_{seed}", f"drawn with seed {seed}", ready, _question(rng, plain, True), outcomes_only=True)
    first = huge("p") if rng.random() < 0.4 else write("p", range(rng.choice(_SIZES)))
    return Case(f"random_{seed}", f"drawn with seed {seed}", (start("p"), first), _question(rng, plain, False))


def _question(rng: random.Random, plain: bool, merged: bool) -> tuple[CaseStep, ...]:
    """Draw what the process, and those that it forks, do."""
    living, forked = ["p"], 0
    holding: list[str] = []
    question: list[CaseStep] = []
    for _ in range(_STEPS):
        steps = _step(rng, living, holding, f"c{forked + 1}", plain, merged)
        step = steps[0]
        if (
            step.verb == "scan" and plain
        ):  # else chance decides: DAMON, where it runs, makes pages young for all sharers
            question += [read(one, range(1)) for one in step.who.split()]
        if step.verb == "fork":
            forked += 1
            living.append(step.other)
        elif step.verb == "end":
            living.remove(step.who)
        elif step.verb in ("hold", "pin"):
            holding.append(step.who)
        elif step.verb == "release":
            holding = [one for one in holding if one != step.who]
        question += steps
    return tuple(question)


def _step(
    rng: random.Random, living: list[str], holding: list[str], child: str, plain: bool, merged: bool
) -> list[CaseStep]:
    """Draw a step that can be done, or a few that belong together; the last process stays, and so does one that holds
    pages."""
    who = rng.choice(living)
    verbs = ["write"] * 3 + ["read", "discard", "empty", "split", "move", "collapse", "collapse", "scan"]
    verbs += ["fork"] * 2 * (len(living) < _MAX_PROCESSES) + ["end"] * (len(living) > 1 and who not in holding)
    if not plain:
        verbs += ["age", "page_out", "page_out", "hold", "pin", "lock"] + ["release"] * 3 * (who in holding)
    if merged:
        verbs = [verb for verb in verbs if verb in _OUTLASTS_KSM]
    verb = rng.choice(verbs)
    pages = _pages(rng)
    if verb == "scan":
        chosen = {name: rng.choice(values) for name, values in _LIMITS.items()}
        return [scan([one for one in living if rng.random() < 0.7] or [who], **chosen)]
    made = {
        "write": lambda: [write(who, pages)],
        "read": lambda: [read(who, pages)],
        "discard": lambda: [discard(who, pages if len(pages) < HPAGE_PMD_NR else pages[1:])],
        "empty": lambda: [discard(who, range(_HALF)), discard(who, range(_HALF, HPAGE_PMD_NR))],
        "split": lambda: [split(who)],
        "move": lambda: [move(who, pages)],
        "collapse": lambda: [collapse(who)],
        "fork": lambda: [fork(who, child)],
        "end": lambda: [end(who)],
        "age": lambda: [age(who)],
        "page_out": lambda: [page_out(who, pages)],
        "hold": lambda: [hold(who, _few(rng))],
        "pin": lambda: [pin(who, _few(rng))],
        "lock": lambda: [
            lock(who),
            age(who),
        ],  # which of the folios are left marked as referenced is a matter of batches
        "release": lambda: [release(who)],
    }
    return made[verb]()


def _few(rng: random.Random) -> range:
    """Draw a page, or a few: as many as a pipe takes."""
    n = rng.choice((1, 1, 3, 8))
    first = rng.randrange(HPAGE_PMD_NR - n + 1)
    return range(first, first + n)


def _pages(rng: random.Random) -> range:
    n = rng.choice(_SIZES)
    first = rng.randrange(HPAGE_PMD_NR - n + 1)
    return range(first, first + n)
