"""What collapsing gained against the baseline on the same events."""

import numpy as np

from thpsweep.model.metrics.base import Metrics, Pair, Run
from thpsweep.model.prices import EXIT_PRICES, FAULT_PRICES, FORK_PRICES, Floats, priced
from thpsweep.units import HPAGE_PMD_NR, NS_PER_MS, PAGE_SIZE_BYTES


def metrics(pair: Pair) -> Metrics:
    """Compute benefit/: LRU entries, and CPU time saved (negative where it was lost). Shapes: values (n_replicates,)."""
    before, after = pair.baseline.family.lru_entries, pair.policy.family.lru_entries
    found: Metrics = {
        "lru_entries_removed": ((before - after) * 1.0, "entries"),
        "lru_reduction": ((before - after) / np.maximum(before, 1), "share"),
        "pmd_mapped_fraction": (_pmd_mapped(pair.policy), "share"),
    }
    for name, prices in (("fork", FORK_PRICES), ("exit", EXIT_PRICES), ("refault", FAULT_PRICES)):
        saved = priced(pair.baseline.counts, prices, pair.machine) - priced(pair.policy.counts, prices, pair.machine)
        found[f"{name}_ms_saved"] = (saved / NS_PER_MS, "ms")
    found["reclaim_ms_saved"] = (_saved_ms(pair.baseline.integrals.aging_ns, pair.policy.integrals.aging_ns), "ms")
    found["tlb_ms_saved"] = (_saved_ms(pair.baseline.integrals.tlb_ns, pair.policy.integrals.tlb_ns), "ms")
    # An anon collapse deposits the page table for a later split and frees none (mm/khugepaged.c
    # pgtable_trans_huge_deposit); a file collapse does. A table that a later split takes again is not set off.
    freed = pair.policy.counts.total["page_tables_freed"] * float(PAGE_SIZE_BYTES)
    found["page_table_bytes_freed"] = (freed, "bytes")
    return {f"benefit/{name}": value for name, value in found.items()}


def _saved_ms(before_ns: Floats, after_ns: Floats) -> Floats:
    return (before_ns - after_ns) / NS_PER_MS


def _pmd_mapped(run: Run) -> Floats:
    gauge = run.family.gauge
    by_pmd = gauge["pmds"] * HPAGE_PMD_NR
    return np.asarray(by_pmd / np.maximum(by_pmd + gauge["small_ptes"] + gauge["compound_ptes"], 1))
