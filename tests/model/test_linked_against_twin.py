"""`incremental` and `deferred` equal the slow twin with links after every tick, whatever comes in between."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model.replay import Replay, snapshot
from tests.reference.families import NOTHING, random_family, random_script
from tests.reference.twin_linked import LinkedTwin
from thpsweep.model import registry
from thpsweep.model.bits import Ints
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.mm.gup import expire
from thpsweep.model.mm.links import grow_older, open_rows
from thpsweep.model.state.counts import OPERATIONS
from thpsweep.model.triggers.base import Collapser
from thpsweep.outcomes import ScanResult

TICK_S = 10.0


def options_of(rng: random.Random, mechanism: str) -> dict[str, Any]:
    if mechanism == "incremental":
        return {"ptes_per_slice": rng.choice((1, 7, 512, 1000, 4096)), "slices_per_s": rng.choice((0.05, 0.3, 100.0))}
    return {"redirect": rng.random() < 0.5, "deadline_s": rng.choice((0.0, 10.0, 25.0))}


class Linked(Replay):
    """Play ticks with one linking mechanism; forks forward, links grow older."""

    def collapser(self, mechanism: Any, chances: dict[str, Any]) -> Collapser:
        def given_chances(rows: Ints, tick: int, khugepaged: bool) -> VisitConditions:
            del tick
            n = rows.size
            young = np.full(n, chances["young"] if khugepaged else 512)
            return VisitConditions(young, np.full(n, chances["extra_reference"]), np.full(n, 512))

        return Collapser(self.family, self.counts, mechanism, given_chances)


def compare(seed: int, mechanism: str, n_ticks: int) -> None:
    rng = random.Random(f"linked {seed}")
    drawn = random_family(seed, folio_share=0.15, swapped_share=0.15)
    script = random_script(seed, drawn, n_ticks, triggers=("collapse",), mechanisms=("switch",))
    options = options_of(rng, mechanism)
    made = registry.build("mechanism", {"kind": mechanism, **options})
    twin, replay = LinkedTwin(*drawn), Linked(drawn, script["khugepaged"])
    n_sharers = drawn.n_sharers
    for number, tick in enumerate(script["ticks"]):
        where = f"seed {seed} {mechanism} {options} tick {number}"
        for sharer in tick["exits"]:
            twin.exit(sharer)
        for parent, child in tick["forks"]:
            twin.fork(parent, child)
        twin.expire(number)
        twin.take_references(tick["references"], options.get("redirect", False))
        twin.write(tick["writes"])
        if tick["reclaims"]:
            twin.reclaim(tick["reclaims"], script["khugepaged"]["max_ptes_none"])
        replay.tick({**NOTHING, "exits": tick["exits"]})
        for pair in tick["forks"]:
            replay.tick({**NOTHING, "forks": [pair]})
        expire(replay.family, number)
        replay.take_references([wanted for wanted in tick["references"] if wanted[0]])
        gets = [wanted for wanted in tick["references"] if not wanted[0] and wanted[2] in twin.alive]
        made.lead(replay.family, replay.counts, replay.keys([wanted[1:4] for wanted in gets]))
        replay.take_references(gets)
        replay.tick({**NOTHING, "writes": tick["writes"], "reclaims": tick["reclaims"]})
        for trigger in tick["triggers"]:
            asked = trigger["arguments"]
            limits = {name: value for name, value in asked.items() if name.startswith("max_ptes")}
            chances = {"young": asked["young"], "extra_reference": asked["extra_reference"]}
            answer = twin.visit(
                mechanism,
                trigger["region"],
                trigger["sharer"],
                limits=limits,
                khugepaged=asked["khugepaged"],
                **chances,
            )
            collapser = replay.collapser(made, chances)
            row = np.array([trigger["region"] * drawn.n_sharers + trigger["sharer"]])
            found = collapser.scan(row, ScanLimits(**limits), number, khugepaged=asked["khugepaged"])
            results = collapser.attempt(found, ScanLimits(**limits))
            assert (ScanResult(results[0]).name, int(found.progress[0]), bool(found.passed[0])) == answer, where
        met = {region: rng.random() < 0.3 for region in range(drawn.n_regions)}
        twin.step(mechanism, options, number, TICK_S, lambda region, met=met: met[region])
        made.step(
            replay.family,
            replay.counts,
            number,
            TICK_S,
            lambda rows, met=met: np.array([met[int(row) // n_sharers] for row in rows], bool),
        )
        grow_older(replay.family)
        state = snapshot(replay.family)
        for name, value in twin.snapshot().items():
            assert state[name] == value, f"{where}: {name}"
        names = [name for name in OPERATIONS if name != "tables_unshared"]  # no mechanism here shares tables
        assert {name: int(replay.counts.total[name][0]) for name in names} == {n: twin.counts[n] for n in names}, where
        rows, slots, _ = open_rows(replay.family)
        listed = [
            (int(r) // n_sharers, int(r) % n_sharers, int(np.bitwise_count(b).sum()))
            for r, b in zip(rows, slots, strict=True)
        ]
        assert listed == [(region, sharer, len(some)) for region, sharer, some in twin.open_rows()], where
        twin.check_contents()


@pytest.mark.parametrize("mechanism", ["incremental", "deferred"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_random_scripts(mechanism: str, seed: int) -> None:
    compare(seed, mechanism, n_ticks=6)


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["incremental", "deferred"])
def test_many_long_scripts(mechanism: str) -> None:
    for seed in range(80):
        compare(seed, mechanism, n_ticks=12)
