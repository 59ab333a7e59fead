"""How long locks were held, and how long others waited for them."""

import dataclasses
import itertools

import numpy as np

from thpsweep.model.accounting.locks import CLASSES
from thpsweep.model.bits import Floats
from thpsweep.model.metrics.base import Metric, Metrics, Pair, Run
from thpsweep.model.state.counts import Counts
from thpsweep.units import NS_PER_MS, NS_PER_S

FAULTS = ("minor_faults", "huge_faults", "cow_faults", "reuse_faults", "reuse_pmds")
"""Faults that touches make; swap-ins come on top, as the baseline counts them: a collapse reads pages too."""

NOBODY = "nobody"
WAITERS = {
    "mmap_read": "forks of one mm",
    "mmap_write": "forks of one mm",
    "vma_read": "forks of one mm",
    "vma_write": "faults of one mm",
    "anon_vma_read": "forks and exits",
    "anon_vma_write": "forks and exits",
    "folio": NOBODY,
    "empty_pmd": NOBODY,
    "pmd": NOBODY,
    "pte": NOBODY,
}
"""Who waits for a class, by counted events. A fork write-locks the parent's mm and VMAs; fork and exit write-lock the
anon_vma root. A fault takes that lock once in a VMA's life, and folio_referenced() only tries it, so neither waits.
Accesses to what HIDDEN names come on top; page-table locks spin too briefly to count.
Source: kernel/fork.c dup_mmap(), mm/rmap.c anon_vma_fork(), unlink_anon_vmas(), folio_referenced() (v6.7)."""


@dataclasses.dataclass
class Contention(Metric):
    """Say how long locks were held, and what others waited for them."""

    def compute(self, pair: Pair, known: Metrics) -> Metrics:
        """Compute the holds and stalls of cost/."""
        del known
        return metrics(pair)


def metrics(pair: Pair) -> Metrics:
    """Compute cost/: hold times by lock class, total and largest, and the waits that follow from them.

    With Poisson arrivals of rate r, a hold of length h is met by r h tasks on average, each at a moment uniform in h
    (arrivals see time averages), so that it waits for h / 2 on average: r h^2 / 2 in all, and h at worst. Rates are those
    of the whole run. A task that waits arrives no more meanwhile, which is left out for faults, forks and exits: an upper
    bound where r h is not small against the number of tasks. Accesses to hidden pages have it (locks.waits_ns()). All
    pages of a region count as frozen from its first to its last entry.
    call_mean_max_ms is how long a caller was inside madvise(MADV_COLLAPSE) for one region, direct compaction included: the
    mean of a tick's calls, failed ones among them, in the tick in which it was largest. The longest call is not shorter,
    nor is the worst stall. It is 0 under khugepaged, which nobody waits for in that way.
    Totals are what the policy adds to the baseline, where reclaim may split folios too; the largest hold is the policy's,
    if it is larger than the baseline's.
    Source: Wolff, doi:10.1287/opre.30.2.223; Kleinrock, Queueing Systems 1 (1975), 5.2, with a hold that is deterministic.
    Shapes: values (n_replicates,).
    """
    policy, baseline = pair.policy.locks, pair.baseline.locks
    total_ns = policy.total_ns_by_class - baseline.total_ns_by_class
    max_ns = _beyond(policy.max_ns_by_class, baseline.max_ns_by_class)
    by_name: Metrics = {}
    for lock, total_ms, max_ms in zip(CLASSES, total_ns / NS_PER_MS, max_ns / NS_PER_MS, strict=True):
        by_name[f"lock_hold_{lock}_ms"] = (total_ms, "ms")
        by_name[f"lock_hold_{lock}_max_ms"] = (max_ms, "ms")
    (stall_ns, worst_ns), (before_ns, before_worst_ns) = (_stalls(pair, run) for run in (pair.policy, pair.baseline))
    by_name["stall_ms"] = ((stall_ns - before_ns) / NS_PER_MS, "ms")
    call_ns = mean_call_ns(pair)
    by_name["call_mean_max_ms"] = (call_ns / NS_PER_MS, "ms")
    by_name["stall_max_ms"] = (np.maximum(_beyond(worst_ns, before_worst_ns), call_ns) / NS_PER_MS, "ms")
    return {f"cost/{name}": value for name, value in by_name.items()}


def mean_call_ns(pair: Pair) -> Floats:
    """Give the mean time of a call of madvise() for one region in the tick in which that was largest.

    Units: ns. Shapes: -> (n_replicates,).
    """
    cpu_time = pair.policy.cpu_time
    if pair.payer != "caller":
        return np.zeros(cpu_time.collapsing.shape[1])
    spent_ns, attempts = (np.diff(sums, axis=0, prepend=0.0) for sums in (cpu_time.collapsing, cpu_time.attempts))
    return np.asarray(np.divide(spent_ns, attempts, out=np.zeros(spent_ns.shape), where=attempts > 0).max(axis=0))


def _beyond(value: Floats, other: Floats) -> Floats:
    return np.where(value > other, value, 0.0)


def _stalls(pair: Pair, run: Run) -> tuple[Floats, Floats]:
    """Sum up what everybody waits in a run, and give the longest wait. Units: ns. Shapes: -> (n_replicates,) each."""
    per_ns, locks = arrivals_per_ns(pair, run), run.locks
    zero = np.zeros(run.family.n_replicates)
    stall_ns, worst_ns = zero.copy(), zero.copy()
    for lock in itertools.compress(CLASSES, locks.max_ns_by_class.any(axis=1)):
        waited = per_ns.get(WAITERS[lock], zero) * locks.squares[lock] / 2 + locks.waited_ns[lock]
        stall_ns += waited
        worst_ns = np.maximum(worst_ns, np.where(waited > 0, locks.max_ns[lock], 0.0))
    return stall_ns, worst_ns


def arrivals_per_ns(pair: Pair, run: Run) -> dict[str, Floats]:
    """Give the mean rate of each kind of waiter over a run. Units: per ns. Shapes: -> each (n_replicates,)."""
    total, run_ns = run.counts.total, pair.duration_s * NS_PER_S
    faults = _sum(run.counts, FAULTS) + pair.baseline.counts.total["swap_ins"]
    return {
        "faults of one mm": faults / (run_ns * pair.n_sharers),
        "forks of one mm": total["forks"] / (run_ns * pair.n_sharers),
        "forks and exits": (total["forks"] + total["exits"]) / run_ns,
    }


def _sum(counts: Counts, names: tuple[str, ...]) -> Floats:
    return np.asarray(np.sum([counts.total[name] for name in names], axis=0) * 1.0)
