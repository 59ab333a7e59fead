"""From what the probes measured to the keys of a machine profile."""

from collections.abc import Callable
from dataclasses import dataclass

from thpsweep.linux.calibrate.samples import Raw
from thpsweep.model.machines.profile import LEAST_NS
from thpsweep.units import HPAGE_PMD_NR


@dataclass(frozen=True)
class PriceRule:
    """How one key comes about. measured: one figure as it is; else derived from several."""

    key: str
    method: str
    needs: tuple[str, ...]
    value: Callable[[Raw], float]
    measured: bool = False


def _direct(key: str, raw_name: str, method: str) -> PriceRule:
    return PriceRule(key, method, (raw_name,), lambda raw: max(0.0, raw[raw_name]), measured=True)


def _clear_ns(raw: Raw, slope: str) -> float:
    """Take a slope against present ptes: each is copied instead of cleared to zero."""
    return max(0.0, raw[slope] - raw["copy_page"] + raw["clear_page"])


def _flush_ns(raw: Raw) -> float:
    return max(0.0, raw["drop_alone"] - raw["drop_absent"] - raw["exit_pte_small"])


def _entry_ns(raw: Raw, sign: int) -> float:
    """Cut what a migrated pte costs by what tracing tells: events cost the same on both sides, and fall out."""
    apart = raw["migration_set_traced"] - raw["migration_restore_traced"]
    return max(0.0, (raw["migration_pte"] + sign * apart) / 2)


def _collapse_fixed_ns(raw: Raw) -> float:
    """Take from an empty region's collapse what is counted elsewhere: scan, clearing, one flush, one global sync."""
    by_page = HPAGE_PMD_NR * (raw["scan_pte"] + raw["clear_page"])
    return max(0.0, raw["collapse_empty"] - by_page - _flush_ns(raw) - raw["drop_ipi"])


def _rmap_walk_ns(raw: Raw) -> float:
    return max(0.0, (raw["migration_page"] - raw["copy_page"]) / 2)


def _pmd_split_ns(raw: Raw) -> float:
    return max(0.0, raw["split_and_copy"] - raw["cow_fault"])


_PAGES = ("copy_page", "clear_page")
_SLOPES = ("collapse_pte_exclusive", "collapse_pte_shared")
_FLUSH = ("drop_alone", "drop_absent", "exit_pte_small")
_ENTRIES = ("migration_pte", "migration_set_traced", "migration_restore_traced")
_UNCACHED = tuple(f"load_{form}_{mib}_mib" for mib in (256, 1024) for form in ("small", "huge"))

PRICES = (
    _direct("pte_scan_ns", "scan_pte", "khugepaged's schedstat over refused regions, less a pass without them"),
    PriceRule(
        "collapse_fixed_ns", "MADV_COLLAPSE against present ptes at none, less scan, clearing, flush and one IPI",
        ("collapse_empty", "scan_pte", "clear_page", *_FLUSH, "drop_ipi"), _collapse_fixed_ns,
    ),
    _direct("copy_page_ns", "copy_page", "rep movsb over 64 MiB of huge pages"),
    _direct("clear_page_ns", "clear_page", "rep stosb over 64 MiB of huge pages"),
    PriceRule(
        "migration_entry_set_ns", "compaction against sharers, cut by traced times from one entry to the next",
        _ENTRIES, lambda raw: _entry_ns(raw, 1),
    ),
    PriceRule("migration_entry_restore_ns", "the rest of it", _ENTRIES, lambda raw: _entry_ns(raw, -1)),
    PriceRule(
        "pte_clear_ns", "slope of MADV_COLLAPSE of shared pages, less copy, plus clear",
        ("collapse_pte_shared", *_PAGES), lambda raw: _clear_ns(raw, "collapse_pte_shared"),
    ),
    PriceRule(
        "pte_clear_compound_ns", "the same of pte-mapped 2 MiB folios, mean of exclusive and shared; mostly noise",
        ("collapse_pte_compound", *_PAGES), lambda raw: _clear_ns(raw, "collapse_pte_compound"),
    ),
    PriceRule(
        "page_free_ns", "slope of MADV_COLLAPSE, exclusive less shared pages", _SLOPES,
        lambda raw: max(0.0, raw["collapse_pte_exclusive"] - raw["collapse_pte_shared"]),
    ),
    _direct("pte_unmap_ns", "shmem_pte", "MADV_COLLAPSE of shmem against sharers that map it by ptes"),
    PriceRule(
        "rmap_walk_ns", "half of what compaction costs a page beside its ptes and its copy",
        ("migration_page", "copy_page"), _rmap_walk_ns,
    ),
    PriceRule(
        "tlb_flush_ns", "MADV_DONTNEED of a page that is there, less one that is not, less its zap",
        _FLUSH, _flush_ns,
    ),
    _direct("ipi_ns", "drop_ipi", "MADV_DONTNEED of a page with a thread on another CPU, less alone"),
    _direct("ipi_receiver_ns", "receiver", "turns that a thread on another CPU loses to an IPI of membarrier()"),
    _direct("fork_pte_small_ns", "fork_pte_small", "forks of 96 MiB just written, caches cold, less an empty fork"),
    _direct("fork_pte_compound_ns", "fork_pte_compound", "the same, pte-mapped 2 MiB folios"),
    _direct("fork_pmd_ns", "fork_pmd", "the same, PMD-mapped"),
    _direct("exit_pte_small_ns", "exit_pte_small", "munmap in a child"),
    _direct("exit_pte_compound_ns", "exit_pte_compound", "the same, pte-mapped 2 MiB folios"),
    _direct("exit_pmd_ns", "exit_pmd", "the same, PMD-mapped"),
    _direct("minor_fault_ns", "minor_fault", "first writes"),
    _direct("cow_fault_ns", "cow_fault", "a child's writes after a fork"),
    _direct("reuse_fault_ns", "reuse_fault", "the parent's writes when the child is gone"),
    _direct("reuse_pmd_ns", "reuse_pmd", "the same, PMD-mapped"),
    PriceRule(
        "pmd_split_ns", "first writes into shared PMDs, less the CoW fault",
        ("split_and_copy", "cow_fault"), _pmd_split_ns,
    ),
    _direct("swap_in_ns", "swap_in", "reads of what was swapped out to zram"),
    _direct("swap_out_ns", "swap_out", "MADV_PAGEOUT of pages to zram"),
    _direct("memory_bytes", "memory_bytes", "memory that the kernel manages"),
    PriceRule(
        "page_walk_ns", "dependent loads over 256 MiB, small less huge pages",
        ("load_small_256_mib", "load_huge_256_mib"),
        lambda raw: max(LEAST_NS, raw["load_small_256_mib"] - raw["load_huge_256_mib"]), measured=True,
    ),
    PriceRule(
        "page_walk_uncached_ns", "the same over 1 GiB, whose page tables are 2 MiB; page_walk_ns at least", _UNCACHED,
        lambda raw: max(LEAST_NS, *(raw[f"load_small_{mib}_mib"] - raw[f"load_huge_{mib}_mib"] for mib in (256, 1024))),
    ),
    _direct("age_folio_ns", "age_folio", "reclaim in a memory cgroup, all pages young: per page"),
    _direct("age_small_pte_ns", "age_small_pte", "the same: per mapping"),
    _direct("age_compound_pte_ns", "age_pte_compound", "the same, pte-mapped folios: per mapping of a subpage"),
    _direct("age_pmd_ns", "age_pmd", "the same, PMD-mapped folios: per PMD"),
)  # fmt: skip
"""All keys that a calibration can measure; the others of a profile are derived from instruction counts, or assumed."""


def priced(raw: Raw) -> dict[str, float]:
    """Make the keys for which everything was measured."""
    return {price.key: price.value(raw) for price in PRICES if all(name in raw for name in price.needs)}
