"""Sharing that a private copy ended comes back where workers are recycled."""

from typing import Any

from tests.model.families import QUIET
from tests.model.points import point, totals
from thpsweep.model.simulate import simulate


def zygote(life_s: float) -> dict[str, Any]:
    calm = {**QUIET, "worker_life_s": life_s, "worker_life_law": "fixed", "worker_gap_s": 0.0}
    root_only = {"kind": "madvise", "at_s": [0.0], "callers": "root"}
    run = {"duration_s": 3600.0, "tick_s": 60.0, "replicates": 2}
    return simulate(point("copy", 20, regions=4, trigger=root_only, run=run, **calm))


def test_recycled_workers_heal_what_copy_in_the_parent_lost() -> None:
    result = zygote(600.0)
    found = totals(result)
    assert found["cost/sharing_lost_bytes"] == 4 * 2**21, "the root's copy of each region"
    assert found["cost/sharing_healed_bytes"] == found["cost/sharing_lost_bytes"]
    assert "100% of it was no longer double" in result["facts"]["note_sharing"]
    assert found["benefit/pmd_mapped_fraction"] == 1, "every worker was forked from the huge pages"


def test_without_recycling_nothing_heals() -> None:
    result = zygote(0.0)
    assert totals(result)["cost/sharing_healed_bytes"] == 0
    assert "all of it was still double" in result["facts"]["note_sharing"]
