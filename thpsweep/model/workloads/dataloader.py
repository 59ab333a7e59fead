"""Workers that only read a dataset of Python objects, and write to it by reading: each access counts a reference."""

import dataclasses
from typing import ClassVar

from thpsweep.model.workloads.base import Loaded, Workload


@dataclasses.dataclass
class Dataloader(Loaded):
    """Stand for the workers of a PyTorch DataLoader, forked over a dataset of lists, dicts and strings.

    A worker's read of a page writes it with chance `counted_reads_share`: CPython keeps an object's reference count in
    the object. So a page that is touched is soon a worker's own, and sharing ends by reading.
    Source: github.com/pytorch/pytorch issue 13246 (copy-on-read); CPython Include/object.h Py_INCREF().
    """

    counted_reads_share: float

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {**Workload.RANGES, "counted_reads_share": (0, 1)}

    def writes_per_page_hour(self, root: bool, hot: bool) -> float:
        """Add to a worker's own writes those that its reads cause."""
        own = super().writes_per_page_hour(root, hot)
        return own if root else own + self.counted_reads_share * self.reads_per_page_hour
