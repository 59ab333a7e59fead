"""What is known of one private anonymous mapping: pages, how many are shared, and what these add to Pss."""

from dataclasses import dataclass, field

from thpsweep.linux.capture.imported.pasted import PRIVATE, SHARED, PastedMapping, PastedProcess
from thpsweep.linux.proc.maps import whole_regions
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

PAGE_KIB = PAGE_SIZE_BYTES // 1024
HPAGE_KIB = HPAGE_PMD_NR * PAGE_KIB


@dataclass
class Sums:
    """Sum up one mapping. Units: pages, of one process; Pss in KiB; regions for huge and folios.

    pss_low, pss_high: what the shared pages add to Pss, which is told in whole KiB, cut off, or not told; low, high: their
    mean sharers (harmonic, as Pss counts) that follow. folios: regions that map a folio of 2 MiB whole, huge ones included.
    mapmax: most mappings of one of the pages as numa_maps tells it, 0 without.
    """

    first_byte: int
    end_byte: int
    private: int
    shared: int
    pss_low: float
    pss_high: float
    low: float
    high: float
    huge: int = 0
    folios: int = 0
    swapped: int = 0
    pss_kib: int = 0
    wants_huge: bool = False
    mapmax: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """Give the whole regions in it."""
        return whole_regions(self.first_byte, self.end_byte)

    @property
    def pages(self) -> int:
        """Count what is present."""
        return self.private + self.shared


@dataclass
class Summed:
    """Hold the mappings of a process that can have huge pages, and what was left out of it. Units: kB, regions.

    beside: mappings that were left out and share pages, since others may share these where they can have huge pages.
    """

    process: PastedProcess
    form: str
    sums: list[Sums]
    forbidden: set[int]
    small_kib: int = 0
    beside: list[Sums] = field(default_factory=list)


def check_pages(mapping: PastedMapping) -> None:
    """Refuse other base pages, and numbers that no pages make. Raises: CaptureError."""
    for name in ("KernelPageSize", "MMUPageSize"):
        if name in mapping.fields and mapping.kib(name) != PAGE_KIB:
            raise mapping.fields[name].line.fault(f"{name}: {PAGE_KIB} kB: the model has no other pages")
    for name in ("Rss", *SHARED, *PRIVATE, "Swap", "AnonHugePages"):
        if mapping.kib(name) % PAGE_KIB:
            raise mapping.fields[name].line.fault(f"{name}: whole pages of {PAGE_KIB} kB")


def check_sum(mapping: PastedMapping, size_kib: int | None) -> None:
    """Refuse an Rss that is not what its parts make, or that does not fit into the mapping. Raises: CaptureError."""
    parts = sum(mapping.kib(name) for name in (*SHARED, *PRIVATE))
    if mapping.kib("Rss") != parts:
        raise mapping.fields["Rss"].line.fault(f"Rss: {parts} kB, the sum of Shared_* and Private_* below it")
    if size_kib is not None and parts + mapping.kib("Swap") > size_kib:
        raise mapping.fields["Rss"].line.fault(
            f"Rss and Swap of {size_kib} kB together at most, the size of the mapping"
        )
