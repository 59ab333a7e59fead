"""What collapsing cost."""

import numpy as np

from thpsweep.model.counts import LARGEST, PTE_UPDATES
from thpsweep.model.metrics.base import Metrics, Pair
from thpsweep.model.prices import collapse_ns, compaction_ns, ipis
from thpsweep.units import NS_PER_MS, PAGE_SIZE_BYTES


def metrics(pair: Pair) -> Metrics:
    """Compute cost/: operations, CPU time, memory. Shapes: each value (n_replicates,)."""
    counts, total = pair.policy.counts, pair.policy.counts.total
    found: Metrics = {}
    found["pte_updates"] = (counts.pte_updates * 1.0, "ptes")
    worst = np.sum([counts.largest[name] for name in LARGEST.values()], axis=0)
    found["pte_updates_worst_region"] = (worst * 1.0, "ptes")
    for kind in PTE_UPDATES:
        found[kind] = (total[kind] * 1.0, "ptes")
    for name in LARGEST.values():
        found[name] = (counts.largest[name] * 1.0, "ptes")
    for name in ("rmap_walks", "vmas_visited", "tlb_flushes", "global_syncs", "pmd_writes", "collapses", "aborts"):
        found[name] = (total[name] * 1.0, name)
    found["ipis"] = (ipis(counts, pair.machine, pair.n_sharers), "ipis")
    found["wasted_pte_updates"] = (total["wasted_pte_updates"] * 1.0, "ptes")
    found["ptes_scanned"] = (total["ptes_scanned"] * 1.0, "ptes")
    found["bytes_copied"] = (total["pages_copied"] * float(PAGE_SIZE_BYTES), "bytes")
    found["cpu_ms"] = (collapse_ns(counts, pair.machine, pair.n_sharers) / NS_PER_MS, "ms")
    compaction, by_kcompactd = (compaction_ns(counts, pair.machine, payer) for payer in ("", "kcompactd_"))
    found["direct_compaction_stall_ms"] = ((compaction - by_kcompactd) / NS_PER_MS, "ms")
    found["compaction_cpu_ms"] = (compaction / NS_PER_MS, "ms")
    found["compaction_cpu_ms_caller"] = ((compaction - by_kcompactd) / NS_PER_MS, "ms")
    found["compaction_cpu_ms_kcompactd"] = (by_kcompactd / NS_PER_MS, "ms")
    for name in ("thp_collapse_alloc", "thp_collapse_alloc_failed"):
        found[name] = (total[name] * 1.0, "blocks")
    for name in ("compact_stall", "compact_success", "compact_fail"):
        found[name] = (total[name] * 1.0, name)
    found["pages_migrated"] = (total["pages_migrated"] * 1.0, "pages")
    found["sharing_lost_bytes"] = (total["sharing_lost_pages"] * float(PAGE_SIZE_BYTES), "bytes")
    found["bloat_bytes"] = (total["bloat_pages"] * float(PAGE_SIZE_BYTES), "bytes")
    peak = pair.policy.integrals.peak_pages - pair.baseline.integrals.peak_pages
    held = pair.policy.integrals.page_seconds - pair.baseline.integrals.page_seconds
    found["extra_bytes_peak"] = (peak * float(PAGE_SIZE_BYTES), "bytes")
    found["extra_byte_seconds"] = (held * float(PAGE_SIZE_BYTES), "byte seconds")
    return {f"cost/{name}": value for name, value in found.items()}
