"""Joint draws over a sweep take seconds: a share of what tests/bench/test_odds.py measures over all of it."""

import dataclasses
import time

from tests.model.points import point
from thpsweep.answers.analysis.inputs import inputs
from thpsweep.answers.analysis.study import Entry, Study
from thpsweep.answers.analysis.uncertainty import draws, odds
from thpsweep.model.metrics.repricing import recording
from thpsweep.model.simulate import simulate
from thpsweep.profiles import default_file

DEBATE = 48
"""Scenes of `seed_debate`, each with eleven policies: 528 points."""

LIMIT_S = 30.0
MECHANISMS = (
    "copy",
    "unshare",
    "inplace",
    "inplace_pmd",
    "switch",
    "switch_pmd",
    "incremental",
    "deferred",
    "shared_table",
)


def studied(n_scenes: int) -> Study:
    """Give so many scenes of eleven contenders; the counts of a few simulated ones stand for all."""
    made = [_entry(name) for name in (*MECHANISMS, "inplace", "switch")]
    entries = [
        dataclasses.replace(one, id=f"{n}-{at}", scene=(("sharing.degree", n),), contender=f"{one.contender}-{at}")
        for n in range(1, n_scenes + 1)
        for at, one in enumerate(made)
    ]
    return Study(tuple(entries), {"sharing.degree": tuple(range(1, n_scenes + 1))}, {}, len(entries))


def _entry(mechanism: str) -> Entry:
    known = point(mechanism)
    result = simulate(known)
    row = {"mechanism": mechanism, "memory_bytes": 1e12, "policy": mechanism}
    values = {name: recorded for name, recorded in recording(known, result).cpu().items()}
    return Entry("", (), mechanism, row, known, values, recording(known, result))


def test_four_scenes_are_drawn_in_their_share_of_half_a_minute() -> None:
    draws(["warm up"])  # SciPy takes a second to load, once
    study = studied(4)
    found = inputs(study, lambda _: default_file())
    assert not isinstance(found, str)
    began_s = time.process_time()
    known = odds(found, draws(found.keys), sharing_kept=False)
    assert len(known) == 4 and time.process_time() - began_s < LIMIT_S * 4 / DEBATE
