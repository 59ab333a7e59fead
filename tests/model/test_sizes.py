"""Families that no machine or memory of ours could hold are refused before they are laid out."""

import pytest

from tests.model.points import point
from thpsweep.errors import ThpsweepError
from thpsweep.model.setting import check


def test_more_sharers_than_the_machine_has_memory_for_are_refused() -> None:
    made = point("inplace", 919, regions=4096)
    with pytest.raises(ThpsweepError, match=r"sharing\.degree=919: expected 1\.\.918 for 4096 regions"):
        check(made)
    check(point("inplace", 918, regions=4096))
    check({**made, "machine": {**made["machine"], "memory_bytes": 1e12}})


def test_memory_that_cannot_hold_the_regions_of_one_sharer_is_refused() -> None:
    made = point("inplace", 1, regions=4)
    need = 4 * (2 * 2**20 + 4096)
    check({**made, "machine": {**made["machine"], "memory_bytes": float(need)}})
    made["machine"]["memory_bytes"] = need - 1.0
    with pytest.raises(ThpsweepError, match=r"machine\.memory_bytes=.* at least 8\.40499e\+06: 4 regions"):
        check(made)


def test_a_tree_that_is_too_large_is_refused_before_it_is_laid_out() -> None:
    made = point("inplace", 2000, regions=200_000)
    made["sharing"] = {"kind": "tree", "degree": 2000, "fanout": 2, "written_share": 0.1}
    made["machine"]["memory_bytes"] = 1e15
    with pytest.raises(ThpsweepError, match=r"lower sharing\.degree or the regions"):
        check(made)
