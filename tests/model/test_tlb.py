"""What two levels of a TLB cover, with and without ptes that share an entry."""

import numpy as np
import pytest

from tests.model.points import option
from thpsweep.model import registry
from thpsweep.model.accounting.prices import tlb_ns_per_s
from thpsweep.model.machines.profile import Profile


def machine(**changed: float) -> Profile:
    built: Profile = registry.build("machine", {**option("machine", "milan_vm"), "tlb_l1_entries": 0, **changed})
    return built


@pytest.mark.parametrize("coalesce", [1, 4, 16])
def test_coalesced_ptes_need_fewer_entries(coalesce: int) -> None:
    """8,192 ptes of folios, 2,048 entries: 2,048 / c of them miss nothing more."""
    gauge = {"pmds": np.array([0]), "compound_ptes": np.array([8192]), "small_ptes": np.array([0])}
    profile = machine(tlb_coalesce=coalesce, tlb_l2_hit_ns=0)
    missing = max(0, 8192 - 2048 * coalesce) / 8192
    found = tlb_ns_per_s(gauge, profile, 1e6, np.array([1]))
    assert found[0] == pytest.approx(1e6 * missing * profile.page_walk_saved_ns)


def test_what_covers_most_keeps_its_entries() -> None:
    """2,000 PMDs leave 48 entries to 4,096 small pages, evenly accessed by bytes."""
    gauge = {"pmds": np.array([2000]), "compound_ptes": np.array([0]), "small_ptes": np.array([4096])}
    profile = machine(tlb_l2_hit_ns=0)
    share = (4096 - 48) * 4096 / (2000 * 2**21 + 4096 * 4096)
    assert tlb_ns_per_s(gauge, profile, 1e6, np.array([1]))[0] == pytest.approx(
        1e6 * share * profile.page_walk_saved_ns
    )


def test_the_first_level_costs_its_misses_too() -> None:
    gauge = {"pmds": np.array([0]), "compound_ptes": np.array([0]), "small_ptes": np.array([128])}
    profile = machine(tlb_l1_entries=64, tlb_l2_hit_ns=2)
    assert tlb_ns_per_s(gauge, profile, 1e6, np.array([1]))[0] == pytest.approx(1e6 * 0.5 * 2)
