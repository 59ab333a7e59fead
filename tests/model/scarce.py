"""Points on a machine where free 2 MiB blocks are scarce."""

from typing import Any

from tests.model.points import option, point
from thpsweep.model.simulate import simulate

QUIET = {"hot_regions": 0.0, "page_walk_share": 0.0}
ROOT = {"kind": "madvise", "at_s": [60.0], "callers": "root"}


def fragmented(**changed: Any) -> dict[str, Any]:
    """Give a memory where all is certain: nothing from outside, every page of a block in use, all movable."""
    still = {"migrate_pages_per_block": 512.0, "unmovable_probability": 0.0, "defrag": "none"}
    return {**option("memory", "fragmented"), **still, **changed}


def run(memory: dict[str, Any], mechanism: str = "inplace", degree: int = 4, **changed: Any) -> dict[str, Any]:
    """Run it, with one collapse a region by the root."""
    return simulate({**point(mechanism, degree, **{**QUIET, "trigger": ROOT, **changed}), "memory": memory})
