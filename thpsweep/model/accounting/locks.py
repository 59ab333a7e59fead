"""Who is kept out, and for how long: each mechanism's lock sequence as data, times the machine's price list.

Derived from what a run counts; nobody in the run really waits, so nothing here feeds back into it.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from thpsweep.model.accounting.prices import found_elsewhere
from thpsweep.model.accounting.translation import Forms, Rates, walks_per_ns
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.family import Family
from thpsweep.model.workloads.base import Workload
from thpsweep.units import HPAGE_PMD_NR

ONCE = "once"
"""Cut of a lock that is held from the first to the last of consecutive steps."""

CLASSES = {
    "mmap_read": "mmap_lock of one mm, for read",
    "mmap_write": "mmap_lock of one mm, for write",
    "vma_read": "lock of one VMA, for read",
    "vma_write": "lock of one VMA, for write",
    "anon_vma_read": "rwsem of the anon_vma root, for read (i_mmap_rwsem for `retract`)",
    "anon_vma_write": "rwsem of the anon_vma root, for write",
    "folio": "folio locks and migration entries of one region, in every mm that maps it",
    "empty_pmd": "no lock: one mm's PMD is empty, and whoever touches its region faults into the VMA lock",
    "pmd": "page-table lock of a PMD",
    "pte": "page-table lock of a pte table",
}
"""Lock class -> what is held."""

HIDDEN = {"folio": "frozen", "empty_pmd": "hidden"}
"""Classes that even reads wait for -> measure of the mappings that cannot be used meanwhile, by hold."""


@dataclasses.dataclass(frozen=True)
class LockStep:
    """One step of a collapse: what is held, and what work is done meanwhile.

    holds: lock class -> ONCE, or the measure that says into how many equal holds the step's work is cut.
    work: priced operation (see hold_prices) -> measure. Measures are what the mechanism tells of each region.
    """

    name: str
    holds: Mapping[str, str]
    work: Mapping[str, str]


PROTECT = LockStep("write-protect", {"pte": ONCE}, {"protect": "protected", "own_flush": "protecting"})
"""What comes first where pages of the scanned mm may be writable and nothing is frozen (protecting.py)."""


SCAN = LockStep("scan", {"mmap_read": ONCE}, {"scan": "scanned"})
"""What every trigger does before an attempt: the lock is held from one attempt to the next, over all regions between."""

SPLIT = LockStep(
    "split",
    {"anon_vma_write": ONCE, "folio": ONCE},
    {"rmap_walk": "split_walks", "set_entry": "split_ptes", "restore": "split_ptes"},
)
"""Reclaim's split of a folio: migration entries in everybody who maps it, and back.
Source: mm/huge_memory.c __folio_split(), unmap_folio(), remap_page() (v6.18)."""


@dataclasses.dataclass
class Span:
    """Consecutive steps through which a class is held in the same way; work is (operation, measure)."""

    lock: str
    cut: str
    work: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class _Work:
    """What spans add where certain measures are given: (measure, price of one), and for each lock the measure of what it
    hides."""

    cut: str
    priced: list[tuple[str, float]]
    locks: dict[str, str | None]


def spans(sequence: tuple[LockStep, ...]) -> list[Span]:
    """Join consecutive steps that hold a class in the same way."""
    joined: list[Span] = []
    still: dict[tuple[str, str], Span] = {}
    for step in sequence:
        held = {}
        for key in step.holds.items():
            if key not in still:
                joined.append(Span(*key, work=[]))
            held[key] = still.get(key, joined[-1])
            held[key].work.extend(step.work.items())
        still = held
    return joined


def measures_of(sequence: tuple[LockStep, ...]) -> set[str]:
    """Name the measures that a mechanism with this sequence tells."""
    named = {measure for step in sequence for measure in (*step.work.values(), *step.holds.values())}
    hidden = {HIDDEN[lock] for step in sequence for lock in step.holds if lock in HIDDEN}
    return (named | hidden) - {ONCE}


def hold_prices(machine: Profile, n_sharers: int) -> dict[str, float]:
    """Price what is done while something is held, interrupts included as prices.interrupts() expects them.

    The machine's pte_clear_ns is measured over isolation and clearing together: isolating a page gets the price of a look
    at a pte, a lower bound, and clearing the rest. collapse_fixed_ns, the allocation above all, is spent before any lock
    is taken. Units: ns.
    """
    others = machine.cpus - 1
    flush_ns = machine.tlb_flush_ns
    own_ns = machine.ipi_ns * found_elsewhere(machine, n_sharers)
    return {
        "scan": machine.pte_scan_ns,
        "rmap_walk": machine.rmap_walk_ns,
        "idle_visit": machine.vma_visit_ns,
        "set_entry": machine.migration_entry_set_ns,
        "restore": machine.migration_entry_restore_ns,
        "switch": machine.pte_switch_ns,
        "protect": machine.pte_protect_ns,
        "clear_compound": machine.pte_clear_compound_ns,
        "unmap": machine.pte_unmap_ns,
        "isolate": min(machine.pte_scan_ns, machine.pte_clear_ns),
        "clear_isolated": max(0.0, machine.pte_clear_ns - machine.pte_scan_ns),
        "clear_isolated_compound": max(0.0, machine.pte_clear_compound_ns - machine.pte_scan_ns),
        "free": machine.page_free_ns,
        "unshare": max(machine.cow_fault_ns, machine.copy_page_ns + flush_ns) + own_ns,
        "swap_in": machine.swap_in_ns,
        "copy": machine.copy_page_ns,
        "zero": machine.clear_page_ns,
        "pmd_write": machine.pmd_write_ns,
        "own_flush": flush_ns + own_ns,
        "family_flush": flush_ns + machine.ipi_ns * float(min(others, n_sharers - 1) > 0),
        "global_sync": machine.ipi_ns * float(others > 0),
    }


_ALWAYS = [*spans((SCAN,)), *spans((SPLIT,))]
"""What is done under every mechanism."""


class Locks:
    """Holds of a run by lock class, added up as mechanisms tell what they did.

    squares are sums of squared hold times, waited_ns what accesses to hidden pages wait in all.
    Shapes: each [class] (n_replicates,), each `by_class` (n_classes, n_replicates). Units: ns, ns2, ns.
    """

    def __init__(self, family: Family, sequence: tuple[LockStep, ...], machine: Profile, workload: Workload) -> None:
        self._family = family
        self._spans = [*spans(sequence), *_ALWAYS]
        self._known = measures_of((*sequence, SCAN, SPLIT))
        self._prices = hold_prices(machine, family.n_sharers)
        self._rates, self._machine = Rates.of(workload), machine
        self._walks_per_page_ns: Floats = np.zeros(family.n_replicates)
        self._works: dict[frozenset[str], list[_Work]] = {}
        tables = np.zeros((4, len(CLASSES), family.n_replicates))
        self.total_ns, self.max_ns, self.squares, self.waited_ns = (dict(zip(CLASSES, t, strict=True)) for t in tables)
        self.total_ns_by_class, self.max_ns_by_class = tables[:2]

    def begin(self, uncached: Floats) -> None:
        """Spread the page walks of the mean process over what it maps before the first tick.

        uncached: share of the page tables in use that the cache does not hold then, with small pages alone; a table that
        processes share counts once (Meter.begin()). Shapes: (n_replicates,).
        """
        gauge = self._family.gauge
        everyone = Forms(gauge["small_ptes"], gauge["compound_ptes"], gauge["pmds"])
        walks = walks_per_ns(self._rates, self._machine, self._family.n_sharers, uncached)
        self._walks_per_page_ns = walks * self._family.n_sharers / np.maximum(everyone.pages, 1)

    def record(self, rows: Ints, measures: Mapping[str, Ints]) -> None:
        """Add the holds of attempts, or of one part of them, one after the other: how calls are cut changes no sum.

        Shapes: rows (n,), each measure (n,). Raises: ValueError for a measure that no step names.
        """
        named = frozenset(measures)
        if named not in self._works:
            self._works[named] = self._works_of(named)
        if not rows.size:
            return
        replicates = self._family.replicate_of(rows)
        for work in self._works[named]:
            whole_ns = functools.reduce(np.add, (measures[measure] * price_ns for measure, price_ns in work.priced))
            cuts = 1.0 if work.cut == ONCE else np.maximum(measures[work.cut], 1)
            each_ns = whole_ns / cuts
            total_ns, squares = cuts * each_ns, cuts * each_ns**2
            for lock, hides in work.locks.items():
                np.add.at(self.total_ns[lock], replicates, total_ns)
                np.add.at(self.squares[lock], replicates, squares)
                np.maximum.at(self.max_ns[lock], replicates, each_ns)
                if hides is not None:
                    rates = self._walks_per_page_ns[replicates]
                    np.add.at(self.waited_ns[lock], replicates, cuts * waits_ns(measures[hides], each_ns, rates))

    def _works_of(self, named: frozenset[str]) -> list[_Work]:
        """Choose the spans in which something of what is given is done; locks are held together while they can be.

        Each lock's spans stay in their order: sums of floats depend on it.
        """
        if not named <= self._known:
            raise ValueError(f"no step names {', '.join(sorted(named - self._known))}")
        works: list[_Work] = []
        for span in self._spans:
            priced = [(measure, self._prices[operation]) for operation, measure in span.work if measure in named]
            if not priced:
                continue
            hides = HIDDEN.get(span.lock)
            new = _Work(span.cut, priced, {span.lock: hides if hides is None or hides in named else "split_ptes"})
            same = [work for work in works if (work.cut, work.priced) == (span.cut, priced)]
            if same and not any(span.lock in work.locks for work in works):
                same[0].locks.update(new.locks)
            else:
                works.append(new)
        return works


def waits_ns(hidden_ptes: Ints, hold_ns: Floats, walks_per_page_ns: Floats) -> Floats:
    """Expect what processes wait for pages of theirs that are hidden meanwhile, so many mappings of one region in all.

    A process that walks the page table to one of its k hidden pages at rate r meets the hold of length h after an
    exponential time, and waits for the rest of it: h - (1 - exp(-r h)) / r, at most h. Page walks, of small pages, are
    the accesses that are known (translation.py): others find the page in the TLB until it is flushed.
    Units: ns. Shapes: each (n,).
    """
    pages = np.minimum(hidden_ptes, HPAGE_PMD_NR)
    processes = np.divide(hidden_ptes, pages, out=np.zeros(hold_ns.size), where=pages > 0)
    met = walks_per_page_ns * pages * hold_ns
    waited = np.where(met < 1e-6, met / 2, 1 + np.expm1(-met) / np.maximum(met, 1e-6))
    return np.asarray(processes * hold_ns * waited)
