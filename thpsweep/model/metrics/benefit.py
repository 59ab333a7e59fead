"""What collapsing gained against the baseline on the same events."""

import numpy as np

from thpsweep.model.metrics.base import Metrics, Pair
from thpsweep.model.prices import Floats, exits_ns, faults_ns, forks_ns, reclaim_ns
from thpsweep.units import NS_PER_MS, PAGE_SIZE_BYTES


def metrics(pair: Pair) -> Metrics:
    """Compute benefit/: LRU entries, and CPU time saved (negative where it was lost). Shapes: values (n_replicates,)."""
    before, after = pair.baseline.family.lru_entries, pair.policy.family.lru_entries
    found: Metrics = {
        "lru_entries_removed": ((before - after) * 1.0, "entries"),
        "lru_reduction": ((before - after) / np.maximum(before, 1), "share"),
        "pmd_mapped_fraction": (pair.policy.family.pmd_mapped_fraction, "share"),
    }
    for name, priced in (("fork", forks_ns), ("exit", exits_ns), ("refault", faults_ns)):
        before_ns, after_ns = (
            priced(run.counts, pair.machine, pair.shares_tables) for run in (pair.baseline, pair.policy)
        )
        found[f"{name}_ms_saved"] = (_saved_ms(before_ns, after_ns), "ms")
    before_ns, after_ns = (
        run.integrals.aging_ns + reclaim_ns(run.counts, pair.machine) for run in (pair.baseline, pair.policy)
    )
    found["reclaim_ms_saved"] = (_saved_ms(before_ns, after_ns), "ms")
    found["tlb_ms_saved"] = (_saved_ms(pair.baseline.integrals.tlb_ns, pair.policy.integrals.tlb_ns), "ms")
    # An anon collapse deposits the page table for a later split and frees none (mm/khugepaged.c
    # pgtable_trans_huge_deposit); a file collapse does. A table that a later split takes again is not set off.
    freed = pair.policy.counts.total["page_tables_freed"] * float(PAGE_SIZE_BYTES)
    found["page_table_bytes_freed"] = (freed, "bytes")
    return {f"benefit/{name}": value for name, value in found.items()}


def _saved_ms(before_ns: Floats, after_ns: Floats) -> Floats:
    return (before_ns - after_ns) / NS_PER_MS
