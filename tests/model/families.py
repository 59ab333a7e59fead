"""Small families whose state a test makes by hand."""

from tests.model.points import point
from thpsweep.model.capture.start import populate
from thpsweep.model.setting import setting
from thpsweep.model.state.family import Family

QUIET = {
    name: 0.0
    for name in (
        "root_hot_writes_per_page_hour",
        "root_cold_writes_per_page_hour",
        "worker_hot_writes_per_page_hour",
        "worker_cold_writes_per_page_hour",
        "burst_pages_share",
        "extra_references_per_page",
        "late_references_per_page",
        "worker_life_s",
    )
}


def family_of(degree: int, regions: int = 2) -> Family:
    """Give a family that shares all of its memory."""
    built = setting(point("inplace", degree, regions=regions))
    family = Family(1, regions, degree)
    populate(family, built.workload.start(degree))
    return family
