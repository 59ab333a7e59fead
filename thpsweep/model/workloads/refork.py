"""A preforking server whose workers are forked from a warm one, or after gc.freeze(): less is copied as each warms up."""

import dataclasses
from typing import ClassVar

from thpsweep.errors import OptionError
from thpsweep.model.workloads.base import Loaded, Workload


@dataclasses.dataclass
class Refork(Loaded):
    """Stand for pitchfork, puma's fork_worker, and Instagram's gc.freeze(): levers that keep what preforking shares.

    A worker that was forked from a cold master copies pages as it warms up (code that it loads late, caches, inline
    caches): `warm_pages_share` of all. Forked from a warm worker, it finds them written, and shares them. The first full
    collection writes a mark into every object that a collector knows: `collected_pages_share` of all pages; objects that
    gc.freeze() put aside before the fork are left alone. Both take place in the first burst_s of a worker's life, beside
    burst_pages_share, independently of each other.
    Source: github.com/Shopify/pitchfork docs/REFORKING.md; CPython Modules/gcmodule.c gc_freeze_impl() (3.12).
    """

    warm_pages_share: float
    collected_pages_share: float
    is_reforked: bool
    is_frozen: bool

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        **Workload.RANGES,
        "warm_pages_share": (0, 0.999),
        "collected_pages_share": (0, 0.999),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("is_reforked", "is_frozen"):
            if getattr(self, name) not in (False, True):
                raise OptionError(f"workload.{name}", getattr(self, name), "true or false")

    def burst_share(self) -> float:
        """Join what is written in any case with what the levers that are not used would save."""
        kept = 1 - self.burst_pages_share
        kept *= 1 - (0.0 if self.is_reforked else self.warm_pages_share)
        kept *= 1 - (0.0 if self.is_frozen else self.collected_pages_share)
        return 1 - kept
