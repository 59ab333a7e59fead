"""What is done before the fork: the root's folios are shared by all whom it forks, at the price of one process."""

from typing import Any

import pytest

from tests.model.points import option, point, totals
from thpsweep.errors import OptionError
from thpsweep.model.setting import check
from thpsweep.model.simulate import simulate

QUIET = {"hot_regions": 0.0}
"""Nobody writes anything: closed forms hold exactly."""


def early(trigger: str, degree: int, **workload: Any) -> dict[str, float]:
    return totals(simulate(point("copy", degree, trigger={"kind": trigger}, **QUIET, **workload)))


@pytest.mark.parametrize("degree", [1, 2, 195])
def test_copying_before_the_fork_costs_what_one_process_pays(degree: int) -> None:
    found, alone = early("before_fork", degree), totals(simulate(point("copy", 1, **QUIET)))
    for name in ("pte_updates", "pmd_writes", "bytes_copied", "tlb_flushes", "collapses"):
        assert found[f"cost/{name}"] == alone[f"cost/{name}"] > 0, name


@pytest.mark.parametrize("degree", [2, 195])
@pytest.mark.parametrize("trigger", ["before_fork", "at_fault"])
def test_everybody_maps_the_folios_by_pmds_and_nothing_is_double(trigger: str, degree: int) -> None:
    found = early(trigger, degree)
    assert found["benefit/pmd_mapped_fraction"] == 1
    assert found["benefit/lru_entries_removed"] == 4 * 511
    assert found["cost/sharing_lost_bytes"] == found["cost/extra_byte_seconds"] == found["cost/bloat_bytes"] == 0


def test_a_fault_clears_the_folio_and_neither_copies_nor_changes_ptes() -> None:
    found = early("at_fault", 16)
    machine = option("machine", "milan_vm")
    expected_ns = 4 * (machine["collapse_fixed_ns"] + 512 * machine["clear_page_ns"])
    assert found["cost/cpu_ms"] == pytest.approx(expected_ns / 1e6)
    assert found["cost/pte_updates"] == found["cost/bytes_copied"] == found["cost/stall_ms"] == 0
    assert found["cost/extra_bytes_peak"] == 0


@pytest.mark.parametrize("trigger", ["before_fork", "at_fault"])
def test_slots_that_the_root_never_touched_are_bloat(trigger: str) -> None:
    found = early(trigger, 16, present_ptes=400)
    assert found["cost/bloat_bytes"] == 4 * 112 * 4096
    assert found["benefit/lru_entries_removed"] == 4 * 399


def test_forks_before_the_run_are_not_counted() -> None:
    found = early("before_fork", 16)
    assert found["benefit/fork_ms_saved"] == found["benefit/exit_ms_saved"] == 0


def test_children_that_come_later_are_forked_from_the_folios() -> None:
    workload = {"workload": "snapshot", "regions": 4, "root_cold_writes_per_page_hour": 0.0}
    load = totals(simulate(point("copy", 2, trigger={"kind": "before_fork"}, run={"duration_s": 3600.0}, **workload)))
    assert load["benefit/fork_ms_saved"] > 0


@pytest.mark.parametrize("trigger", ["before_fork", "at_fault"])
def test_is_refused_where_the_sharers_have_diverged(trigger: str) -> None:
    refused = point("copy", trigger={"kind": trigger})
    refused["sharing"] = {"kind": "tree", "degree": 4, "fanout": 2, "written_share": 0.1}
    with pytest.raises(OptionError, match="the sharers have diverged"):
        check(refused)
