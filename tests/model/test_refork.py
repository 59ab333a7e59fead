"""Do the levers of the refork workload spare what they say they spare?"""

from typing import Any

import pytest

from tests.model.points import point
from thpsweep.model.simulate import simulate

LEVERS = {"is_reforked": True, "is_frozen": True}
WARM, COLLECTED, PAGES, WORKERS = 0.2, 0.3, 4 * 512, 7


def copied(**changed: Any) -> float:
    """Count the pages that workers copy in their first minute, nothing else being written."""
    quiet = {"worker_hot_writes_per_page_hour": 0.0, "warm_pages_share": WARM, "collected_pages_share": COLLECTED}
    run = {"replicates": 8, "duration_s": 240.0, "tick_s": 60.0}
    made = point("copy", WORKERS + 1, workload="refork", run=run, regions=4, **{**quiet, **changed})
    counts = simulate(made)["counted"]["baseline"].get("cow_faults", [0.0])
    return sum(counts) / len(counts)


@pytest.mark.parametrize(
    ("levers", "share"),
    [
        ({}, 1 - (1 - WARM) * (1 - COLLECTED)),
        ({"is_reforked": True}, COLLECTED),
        ({"is_frozen": True}, WARM),
        ({**LEVERS, "burst_pages_share": 0.1}, 0.1),
        (LEVERS, 0.0),
    ],
)
def test_a_worker_copies_what_no_lever_spares_it(levers, share):
    assert copied(**levers) == pytest.approx(WORKERS * PAGES * share, rel=0.05)
