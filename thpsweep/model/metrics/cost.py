"""What collapsing cost."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from thpsweep.model.accounting.prices import (
    FORK_PRICES,
    TABLE_FORK_PRICES,
    collapse_ns,
    collapse_ns_by_payer,
    compaction_ns,
    forks_ns,
    interrupts,
    split_ns,
)
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.metrics.base import Metric, Metrics, Pair, Run
from thpsweep.model.state.counts import LARGEST, PTE_UPDATES
from thpsweep.units import NS_PER_MS, PAGE_SIZE_BYTES, size


@dataclasses.dataclass
class Cost(Metric):
    """Count what collapsing took: operations, CPU time, memory."""

    def compute(self, pair: Pair, known: Metrics) -> Metrics:
        """Compute cost/."""
        del known
        return metrics(pair)

    def notes(self, pair: Pair, values: Mapping[str, Floats], replicates: slice) -> dict[str, str]:
        """Say what became of the sharing, and whether it fits the machine."""
        del replicates
        return facts(values) | fits(values, pair.machine.memory_bytes)


def metrics(pair: Pair) -> Metrics:
    """Compute cost/: operations, CPU time, memory. Shapes: each value (n_replicates,)."""
    counts, total = pair.policy.counts, pair.policy.counts.total
    by_name: Metrics = {}
    by_name["pte_updates"] = (counts.pte_updates * 1.0, "ptes")
    worst = np.sum([counts.largest[LARGEST[kind]] for kind in PTE_UPDATES if kind in LARGEST], axis=0)
    by_name["pte_updates_worst_region"] = (worst * 1.0, "ptes")
    for kind in PTE_UPDATES:
        by_name[kind] = (total[kind] * 1.0, "ptes")
    for name in LARGEST.values():
        by_name[name] = (counts.largest[name] * 1.0, "ptes")
    for name in ("rmap_walks", "vmas_visited", "tlb_flushes", "global_syncs", "pmd_writes", "collapses", "aborts"):
        by_name[name] = (total[name] * 1.0, name)
    for name, counter in counts.own.items():
        by_name[name] = (total[name] * 1.0, counter.unit)
    by_name["ipis"] = (interrupts(counts, pair.machine, pair.n_sharers)[1], "ipis")
    by_name["wasted_pte_updates"] = (total["wasted_pte_updates"] * 1.0, "ptes")
    by_name["ptes_scanned"] = (total["ptes_scanned"] * 1.0, "ptes")
    by_name["bytes_copied"] = (total["pages_copied"] * float(PAGE_SIZE_BYTES), "bytes")
    whole_ns = collapse_ns(counts, pair.machine, pair.n_sharers)
    by_name["cpu_ms"] = (whole_ns / NS_PER_MS, "ms")
    by_payer = collapse_ns_by_payer(counts, pair.machine, pair.n_sharers, pair.payer, whole_ns)
    by_name.update({f"cpu_ms_{payer}": (spent_ns / NS_PER_MS, "ms") for payer, spent_ns in by_payer.items()})
    compaction, by_kcompactd = (compaction_ns(counts, pair.machine, payer) for payer in ("", "kcompactd_"))
    by_name["direct_compaction_stall_ms"] = ((compaction - by_kcompactd) / NS_PER_MS, "ms")
    by_name["compaction_cpu_ms"] = (compaction / NS_PER_MS, "ms")
    by_name["compaction_cpu_ms_caller"] = ((compaction - by_kcompactd) / NS_PER_MS, "ms")
    by_name["compaction_cpu_ms_kcompactd"] = (by_kcompactd / NS_PER_MS, "ms")
    for name in ("thp_collapse_alloc", "thp_collapse_alloc_failed"):
        by_name[name] = (total[name] * 1.0, "blocks")
    for name in ("compact_stall", "compact_success", "compact_fail"):
        by_name[name] = (total[name] * 1.0, name)
    by_name["pages_migrated"] = (total["pages_migrated"] * 1.0, "pages")
    by_name["links_broken"] = (total["links_broken"] * 1.0, "links_broken")
    for name, unit in (("folio_splits", "folio_splits"), ("split_ptes", "ptes"), ("gup_redirects", "gup_redirects")):
        by_name[name] = (total[name] * 1.0, unit)
    by_name["split_cpu_ms"] = (split_ns(counts, pair.machine) / NS_PER_MS, "ms")
    lost, healed = sharing_pages(pair)
    by_name["sharing_lost_bytes"] = (lost * float(PAGE_SIZE_BYTES), "bytes")
    by_name["sharing_healed_bytes"] = (healed * float(PAGE_SIZE_BYTES), "bytes")
    by_name["stuck_bytes"] = (pair.policy.family.gauge["stuck_pages"] * float(PAGE_SIZE_BYTES), "bytes")
    by_name["bloat_bytes"] = (total["bloat_pages"] * float(PAGE_SIZE_BYTES), "bytes")
    by_name["bloat_freed_bytes"] = (total["zeroes_freed"] * float(PAGE_SIZE_BYTES), "bytes")
    peak = pair.policy.integrals.peak_pages - pair.baseline.integrals.peak_pages
    held = pair.policy.integrals.page_seconds - pair.baseline.integrals.page_seconds
    by_name["extra_bytes_peak"] = (peak * float(PAGE_SIZE_BYTES), "bytes")
    by_name["extra_byte_seconds"] = (held * float(PAGE_SIZE_BYTES), "byte seconds")
    by_name |= _memory(pair) | _forks(pair)
    return {f"cost/{name}": value for name, value in by_name.items()}


def _memory(pair: Pair) -> Metrics:
    """Give the most memory that the family took, page tables included: one for each row, mapped by ptes or deposited."""
    family = pair.policy.family
    tables = family.n_sharers * family.n_regions
    runs = {"memory_bytes_peak": pair.policy, "memory_bytes_peak_baseline": pair.baseline}
    return {name: ((run.integrals.peak_pages + tables) * float(PAGE_SIZE_BYTES), "bytes") for name, run in runs.items()}


def _forks(pair: Pair) -> Metrics:
    """Give the pause of one fork by the root, and what copy-on-write copied for each fork of the run."""
    by_name: Metrics = {}
    for suffix, run in (("", pair.policy), ("_baseline", pair.baseline)):
        by_name[f"fork_pause_ms{suffix}"] = (fork_pause_ns(pair, run) / NS_PER_MS, "ms")
        copied, forks = run.counts.total["cow_faults"] * float(PAGE_SIZE_BYTES), run.counts.total["forks"]
        each = np.divide(copied, forks, out=np.full(forks.size, np.nan), where=forks > 0)
        by_name[f"cow_bytes_per_fork{suffix}"] = (each, "bytes")
    return by_name


def fork_pause_ns(pair: Pair, run: Run) -> Floats:
    """Price the mean fork of a run; where there was none, one of the root's memory as it is at the end.

    Redis calls it latest_fork_usec. Units: ns. Shapes: -> (n_replicates,).
    """
    forks = run.counts.total["forks"]
    mean_ns = forks_ns(run.counts, pair.machine, pair.shares_tables) / np.maximum(forks, 1)
    maps = dict(zip(FORK_PRICES.values(), run.root, strict=True))
    if pair.shares_tables:
        tables = np.full(forks.size, run.family.n_regions) - run.root.pmds
        maps = dict(zip(TABLE_FORK_PRICES.values(), (tables, run.root.pmds), strict=True))
    last_ns = sum((amount * getattr(pair.machine, price) for price, amount in maps.items()), np.zeros(forks.size))
    return np.asarray(np.where(forks > 0, mean_ns, last_ns))


def facts(by_name: Mapping[str, Floats]) -> dict[str, str]:
    """Say in words what became of the sharing that private copies ended; nothing where none was lost."""
    lost, healed = (float(by_name[f"cost/sharing_{what}_bytes"].mean()) for what in ("lost", "healed"))
    if not lost:
        return {}
    return {
        "note_sharing": f"private copies ended the sharing of {size(lost)}; at the end {healed / lost:.0%} of it was no "
        "longer double, since recycled workers share the new pages, or since writes would have ended the sharing anyway"
        if healed > 0.005 * lost
        else f"private copies ended the sharing of {size(lost)}; at the end all of it was still double"
    }


def fits(by_name: Mapping[str, Floats], memory_bytes: float) -> dict[str, str]:
    """Say where the policy needs more memory than the machine has; nothing where it fits."""
    peak = float(by_name["cost/memory_bytes_peak"].max())
    if peak <= memory_bytes:
        return {}
    return {"note_does_not_fit": f"it would need {size(peak)}, and machine.memory_bytes is {size(memory_bytes)}"}


def sharing_pages(pair: Pair) -> tuple[Ints, Ints]:
    """Count the pages whose sharing private copies ended, and those of them that are no longer double at the end.

    Sharing heals where workers are recycled: those forked after the root's own collapse share its folios, and the old
    pages die with the workers that still mapped them. Double is what the policy holds more than the baseline, less
    bloat. Shapes: -> (n_replicates,), (n_replicates,).
    """
    total, policy, baseline = pair.policy.counts.total, pair.policy.family, pair.baseline.family
    lost = total["sharing_lost_pages"]
    double = policy.pages_in_use - baseline.pages_in_use - (total["bloat_pages"] - total["zeroes_freed"])
    return lost, lost - np.clip(double, 0, lost)
