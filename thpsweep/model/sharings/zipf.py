"""A few regions that all share, many that only a few do."""

import dataclasses

import numpy as np

from thpsweep.model import checks
from thpsweep.model.bits import Ints
from thpsweep.model.capture.start import Start
from thpsweep.model.sharings.base import Sharing, check_degree, members, of_classes, refine


@dataclasses.dataclass
class Zipf(Sharing):
    """Let the k-th region (from 1) be mapped by degree / k ** exponent sharers, rounded, at least one: the first of them.

    The others have holes there, as if they had dropped that memory (MADV_DONTNEED) or never got it (MADV_DONTFORK); what
    they write there is their own. A sharer that the root forks during the run maps all that the root maps.
    """

    degree: int
    exponent: float

    def __post_init__(self) -> None:
        check_degree(self.degree)
        checks.in_range("sharing.exponent", self.exponent, 0, 4)

    @property
    def sharers(self) -> int:
        """Sharers of the first region."""
        return self.degree

    def region_sharers(self, n_regions: int) -> Ints:
        """Count the sharers of each region. Shapes: -> (n_regions,), descending."""
        share = np.arange(1, n_regions + 1, dtype=np.float64) ** -self.exponent
        return np.maximum(1, np.rint(self.degree * share)).astype(np.int64)

    def shape(self, start: Start) -> Start:
        """Take from each sharer the regions that too few share for it to be among them."""
        counts = self.region_sharers(start.n_regions)
        reach = np.searchsorted(-counts, -np.arange(start.class_of.size), side="left")  # regions with counts > sharer
        refined = refine(start.class_of, reach)
        mapped = np.arange(start.n_regions)[None, :] < refined.label[:, None]
        swapped = of_classes(start.swapped, refined)
        return dataclasses.replace(
            start,
            class_of=refined.class_of,
            cell_classes=members(start.cell_classes, refined) & mapped[:, start.cell_region].T,
            swapped=np.where(mapped[:, :, None], swapped, np.uint64(0)) if start.swapped.any() else swapped,
            pmd=start.pmd[refined.old] & mapped,
        )
