"""What collapsing gained against the baseline on the same events."""

import dataclasses

import numpy as np

from thpsweep.model.accounting.prices import spent_ns
from thpsweep.model.accounting.translation import Law
from thpsweep.model.bits import Floats
from thpsweep.model.metrics.base import Counted, Metric, Metrics, Pair
from thpsweep.units import NS_PER_MS, PAGE_SIZE_BYTES


@dataclasses.dataclass
class Benefit(Metric):
    """Compare what a run left and spent with the baseline's."""

    def compute(self, pair: Pair, known: Metrics) -> Metrics:
        """Compute benefit/."""
        del known
        return metrics(pair)


def metrics(pair: Pair) -> Metrics:
    """Compute benefit/: LRU entries, and CPU time saved (negative where it was lost). Shapes: values (n_replicates,)."""
    before, after = pair.baseline.family.lru_entries, pair.policy.family.lru_entries
    by_name: Metrics = {
        "lru_entries_removed": ((before - after) * 1.0, "entries"),
        "lru_reduction": ((before - after) / np.maximum(before, 1), "share"),
        "pmd_mapped_fraction": (pair.policy.family.pmd_mapped_fraction, "share"),
    }
    saved = saved_ms(pair.baseline, pair.policy, pair.law, pair.shares_tables)
    by_name |= {f"{name}_ms_saved": (value, "ms") for name, value in saved.items()}
    # An anon collapse deposits the page table for a later split and frees none (mm/khugepaged.c
    # pgtable_trans_huge_deposit); a file collapse does. A table that a later split takes again is not set off.
    freed = pair.policy.counts.total["page_tables_freed"] * float(PAGE_SIZE_BYTES)
    by_name["page_table_bytes_freed"] = (freed, "bytes")
    return {f"benefit/{name}": value for name, value in by_name.items()}


def saved_ms(before: Counted, after: Counted, law: Law, shares_tables: bool) -> dict[str, Floats]:
    """Price what one run spent less than another, by kind. Units: ms. Shapes: -> each (n_replicates,)."""
    spent = [
        spent_ns(run.counts, run.integrals.aged, run.integrals.translated, law, shares_tables)
        for run in (before, after)
    ]
    return {kind: (spent[0][kind] - spent[1][kind]) / NS_PER_MS for kind in spent[0]}
