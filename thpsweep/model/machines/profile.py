"""What each counted operation costs on one machine."""

import dataclasses

from thpsweep.errors import OptionError
from thpsweep.model import checks
from thpsweep.model.checks import whole
from thpsweep.model.state.rules import OLDEST, Rules, Version, version_of

AS_PTE_CLEAR = -1.0
"""Default of pte_clear_compound_ns: what pte_clear_ns is."""

LEAST_NS = 1e-3
"""Least price of a page walk, which others are set against."""

NEWEST_MEASURED = "6.18"
"""Default of kernel: that of the machine on which most prices were measured."""

BOUNDS = {"tlb_coalesce": (1, 512), "memory_bytes": (1, 1e18), "page_walk_ns": (LEAST_NS, checks.MOST)}
"""Of what is neither a price nor a number of entries."""


@dataclasses.dataclass
class Profile:
    """Price list of a machine; the YAML says on each line where a figure comes from.

    Times are CPU time in ns of one operation unless a name says otherwise.
    """

    name: str
    kernel: str = dataclasses.field(default=NEWEST_MEASURED, kw_only=True)
    """Version of Linux whose rules hold (state/rules.py), "6.18" or a release such as "6.1.0-40-amd64"."""
    cpus: int
    pte_scan_ns: float
    collapse_fixed_ns: float
    """Allocation, locks, isolation set-up and the PMD step of one collapse, without work that is counted by page."""
    copy_page_ns: float
    clear_page_ns: float
    migration_entry_set_ns: float
    migration_entry_restore_ns: float
    pte_switch_ns: float
    pte_protect_ns: float
    pte_clear_ns: float
    """Isolating a page, clearing its pte in one mm, and putting the page back."""
    pte_clear_compound_ns: float = dataclasses.field(default=AS_PTE_CLEAR, kw_only=True)
    """The same in a batch of one folio's ptes, or of the zero page's: nothing is isolated or freed for each."""
    page_free_ns: float = dataclasses.field(default=0.0, kw_only=True)
    """What a private collapse takes more for a page whose last mapper leaves it. Default: it is in pte_clear_ns."""
    pte_unmap_ns: float
    """Clearing one mapping of a page by an rmap walk (try_to_unmap)."""
    pmd_write_ns: float
    rmap_walk_ns: float
    vma_visit_ns: float
    tlb_flush_ns: float
    ipi_ns: float
    """What a flush waits for other CPUs that it interrupts: a round trip, however many answer."""
    ipi_receiver_ns: float
    """What the interrupt takes of each of them."""
    fork_pte_small_ns: float
    fork_pte_compound_ns: float
    fork_pmd_ns: float
    fork_table_ns: float
    exit_pte_small_ns: float
    exit_pte_compound_ns: float
    exit_pmd_ns: float
    exit_table_ns: float
    minor_fault_ns: float
    cow_fault_ns: float
    reuse_fault_ns: float
    reuse_pmd_ns: float
    pmd_split_ns: float
    swap_in_ns: float
    age_folio_ns: float
    age_small_pte_ns: float
    age_compound_pte_ns: float
    age_pmd_ns: float
    mglru_folio_ns: float
    """What MGLRU takes to sort a folio when it comes to it."""
    mglru_pte_ns: float
    mglru_pmd_ns: float
    """What its walk over page tables takes for a pte, and for a PMD that maps a folio."""
    swap_out_ns: float
    """One order-0 page written to swap, its mappings aside."""
    tlb_coalesce: float
    """Contiguous ptes of a folio that share one TLB entry: 1, 4 (AMD Zen), 16 (arm64 contpte)."""
    page_walk_ns: float
    """A page walk whose page tables are in the cache; to a PMD always."""
    page_walk_uncached_ns: float
    """One to a pte that is not."""
    page_table_cache_bytes: float
    """Bytes of page tables that stay in the cache beside a program's data."""
    memory_bytes: float
    """Memory of the machine: what a family and its page tables have to fit into."""

    def __post_init__(self) -> None:
        if self.pte_clear_compound_ns == AS_PTE_CLEAR:
            self.pte_clear_compound_ns = self.pte_clear_ns
        self._check_kernel()
        whole("machine.cpus", self.cpus, 1, 65_536)
        for field in dataclasses.fields(self):
            if field.type is float:
                low, high = BOUNDS.get(field.name, (0, checks.MOST))
                checks.in_range(f"machine.{field.name}", getattr(self, field.name), low, high)

    def _check_kernel(self) -> None:
        """Refuse what names no version that the model has rules of."""
        expected = f'a version of Linux from {_dotted(OLDEST)} on, in quotes: "6.18", "v6.10" or a release'
        if not isinstance(self.kernel, str):
            raise OptionError("machine.kernel", self.kernel, expected)
        try:
            version = version_of(self.kernel)
        except ValueError:
            raise OptionError("machine.kernel", self.kernel, expected) from None
        if version < OLDEST:
            raise OptionError("machine.kernel", self.kernel, expected)

    @property
    def rules(self) -> Rules:
        """What its kernel does."""
        return Rules.of(version_of(self.kernel))


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
