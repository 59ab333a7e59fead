"""Address translation: who runs, how much of that is spent in page walks, and what a mapping leaves of it.

A process that keeps c CPUs busy and spends the share s of its cycles in page walks, all its memory being mapped by small
pages, spends c s seconds a second on them. Of these a mapping leaves, for each part f of its memory,

    f x (reach of an entry / 4 KiB) ** -reach_exponent x (price of its walk / price of a walk to a small page at the start)

so that nothing is gained by who does not run, there is no cliff at the TLB's reach, and a walk costs the more the less of
the page tables in use fits the cache. The power of the reach is the square-root rule of cache misses.
Source of the law: A. Hartstein et al., "Cache miss behavior: is it sqrt(2)?", Computing Frontiers 2006 (exponents 0.3 to
0.7); benefit in shares of cycles: the kernel's own counters, dtlb_load_misses.walk_active over cycles.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.workloads.base import Workload
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER, NS_PER_S

WHO = ("root", "worker")
FORMS = ("small", "compound", "pmd")
"""compound: subpages of folios of PMD order; those of smaller folios have a form for each order (order_form())."""
PTE_BYTES = 8
GROUPS = (4, 16)
"""Ptes that share a TLB entry on CPUs that coalesce: AMD's Zen, arm64's contpte."""


def order_form(order: int) -> str:
    """Name the form of subpages of folios of an order below PMD order."""
    return f"order_{order}"


AMOUNTS = tuple(
    f"{who}_{form}{part}_s"
    for who in WHO
    for form in (*FORMS, *map(order_form, range(1, HPAGE_PMD_ORDER)))
    for part in ("", "_uncached")
    if form + part != "pmd_uncached"
)
"""What a run adds up: seconds of processes, by the form in which their memory is mapped; _uncached of them count for as
much as page tables did not fit the cache."""


class Forms(NamedTuple):
    """Ptes of order-0 pages and of subpages, and PMDs. Shapes: each (...)."""

    small: Ints
    compound: Ints
    pmds: Ints

    @property
    def ptes(self) -> Ints:
        """Ptes in use."""
        return self.small + self.compound

    @property
    def pages(self) -> Ints:
        """Pages that are mapped."""
        return self.ptes + HPAGE_PMD_NR * self.pmds


def forms_of(family: Family, rows: Ints) -> Forms:
    """Count what each row maps in which form. Shapes: (n,) -> each (n,)."""
    records, pmd = family.record_of[rows].astype(np.int64), family.pmd[rows]
    large = bits.count(family.compound_slots(records))
    small = bits.count(family.records.present[records]) - large
    return Forms(np.where(pmd, 0, small), np.where(pmd, 0, large), pmd.astype(np.int64))


ByOrder = Mapping[int, Ints]
"""Ptes of subpages of folios below PMD order, by order: they are among Forms.compound. Shapes: each (...)."""


def orders_of(family: Family, rows: Ints) -> dict[int, Ints]:
    """Count what each row maps of folios of each order below PMD order. Shapes: (n,) -> each (n,)."""
    found = {order: np.zeros(rows.size, np.int64) for order in sorted(family.runs)}
    for index, entry in family.walk(family.record_of[rows].astype(np.int64)) if found else ():
        layer = family.entries.layer[entry].astype(np.int64)
        orders = family.folios.order[family.layers.folio[layer]]
        pages = bits.count(family.entries.slots[entry] & family.layers.compound[layer])
        for order, ptes in found.items():
            ptes[index] += np.where(orders == order, pages, 0)
    return found


class RootMemory:
    """In which form the root's memory is mapped; looked up again only where something can have changed it."""

    def __init__(self, family: Family) -> None:
        self._rows = np.concatenate([family.rows_of(replicate, 0) for replicate in range(family.n_replicates)])
        self._seen: list[bytes] = []
        self.last = Forms(*np.zeros((3, family.n_replicates), np.int64))
        """What now() gave last."""
        self.orders: dict[int, Ints] = {}
        """What the root maps of folios below PMD order, as of then. Shapes: each (n_replicates,)."""

    def now(self, family: Family, counts: Counts) -> Forms:
        """Give the root's forms. Shapes: -> each (n_replicates,)."""
        gauges = [family.gauge[name].tobytes() for name in ("small_ptes", "compound_ptes", "pmds")]
        seen = gauges + [counts.total[name].tobytes() for name in _CHANGING]
        if seen != self._seen:
            by_row = forms_of(family, self._rows)
            self.last = Forms(*(form.reshape(family.n_replicates, -1).sum(axis=1) for form in by_row))
            by_order = orders_of(family, self._rows).items()
            self.orders = {order: ptes.reshape(family.n_replicates, -1).sum(axis=1) for order, ptes in by_order}
            self._seen = seen
        return self.last


_CHANGING = ("collapses", "ptes_switched", "ptes_restored", "folio_splits", "pmd_splits", "swap_outs")
"""What makes ptes of one form ptes of another while the family's totals may stay the same."""


class Rates(NamedTuple):
    """Options of a workload that count for nothing but address translation (workloads/base.py)."""

    root_cpu_share: float
    worker_cpu_share: float
    page_walk_share: float
    reach_exponent: float
    contiguous_4: float = 0.0
    contiguous_16: float = 0.0
    """Shares of the ptes that are in whole groups of so many contiguous pages before anything is collapsed: no options, but
    known of a captured tree."""

    @classmethod
    def of(cls, workload: Workload) -> "Rates":
        """Take them from a workload."""
        options = (float(getattr(workload, name)) for name in cls.options())
        return cls(*options, *(workload.contiguous(size) for size in GROUPS))

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Name those that are options."""
        return cls._fields[: -len(GROUPS)]

    def recorded(self) -> dict[str, float]:
        """Give them by name, what is only known of a captured tree where it is known."""
        return {name: value for name, value in self._asdict().items() if value or name in self.options()}

    def as_it_is(self, group: Floats | float) -> Floats:
        """Give the misses of memory before anything is collapsed, where a CPU coalesces so many ptes, by those without."""
        share = np.where(
            np.asarray(group) > 4, self.contiguous_16, np.where(np.asarray(group) > 1, self.contiguous_4, 0.0)
        )
        return np.asarray(1.0 - share + share * np.asarray(group, np.float64) ** -self.reach_exponent)


def busy(rates: Rates, machine: Profile, n_sharers: int) -> tuple[Floats, Floats]:
    """Give the CPUs that the root, and each worker, keeps busy: together not more than the machine has."""
    root, worker = np.asarray(rates.root_cpu_share), np.asarray(rates.worker_cpu_share)
    wanted = root + (n_sharers - 1) * worker
    scale = np.minimum(1.0, machine.cpus / np.maximum(wanted, 1e-300))
    return root * scale, worker * scale


def tables_bytes(root: Forms, workers: Forms, rates: Rates) -> Floats:
    """Count the bytes of ptes that compete for the cache: of processes that run, each of which has its own tables."""
    mine = root.ptes if rates.root_cpu_share else 0 * root.ptes
    theirs = workers.ptes if rates.worker_cpu_share else 0 * workers.ptes
    return np.asarray((mine + theirs) * float(PTE_BYTES))


def shared_ptes(family: Family, rates: Rates) -> Ints:
    """Count the ptes of tables that processes which run use, where forks share tables: each once. Rows share a table
    exactly where they share a record. Shapes: -> (n_replicates,)."""
    n_sharers = family.n_sharers
    runs = np.full(n_sharers, bool(rates.worker_cpu_share))
    runs[0] = bool(rates.root_cpu_share)
    rows = np.flatnonzero(~family.pmd & np.tile(runs, family.pmd.size // n_sharers))
    replicate = np.full(len(family.records.rows), -1)
    replicate[family.record_of[rows]] = family.replicate_of(rows)
    used = np.flatnonzero(replicate >= 0)
    ptes = bits.count(family.records.present[used])
    return np.bincount(replicate[used], ptes, family.n_replicates).astype(np.int64)


def uncached(table_bytes: Floats, machine: Profile) -> Floats:
    """Give the share of page-table bytes in use that the cache does not hold."""
    return np.maximum(0.0, 1.0 - machine.page_table_cache_bytes / np.maximum(table_bytes, 1.0))


def small_uncached(root: Forms, workers: Forms, machine: Profile, rates: Rates) -> Floats:
    """Give uncached() as it would be with small pages alone: where page_walk_share is defined."""
    mine, theirs = (Forms(forms.pages, 0 * forms.pages, 0 * forms.pages) for forms in (root, workers))
    return uncached(tables_bytes(mine, theirs, rates), machine)


def process_seconds(
    root: Forms,
    workers: Forms,
    n_workers: Ints,
    machine: Profile,
    rates: Rates,
    tick_s: float,
    table_bytes: Floats | None = None,
    below: tuple[ByOrder, ByOrder] = ({}, {}),
) -> dict[str, Floats]:
    """Split the time of all processes by how their memory is mapped: AMOUNTS. Shapes: each (...) -> each (...).

    table_bytes: of ptes that compete for the cache, where processes share tables. below: what the root, and the workers,
    map of folios below PMD order.
    """
    share = uncached(tables_bytes(root, workers, rates) if table_bytes is None else table_bytes, machine)
    amounts: dict[str, Floats] = {}
    for who, forms, n, orders in (("root", root, 1, below[0]), ("worker", workers, n_workers, below[1])):
        each_s = n * tick_s / np.maximum(forms.pages, 1)
        compound = forms.compound - sum(orders.values())
        pages_of = dict(zip(FORMS, (forms.small, compound, HPAGE_PMD_NR * forms.pmds), strict=True))
        pages_of |= {order_form(order): ptes for order, ptes in orders.items()}
        for form, pages in pages_of.items():
            amounts[f"{who}_{form}_s"] = pages * each_s
            if form != "pmd":
                amounts[f"{who}_{form}_uncached_s"] = pages * each_s * share
    return amounts


@dataclasses.dataclass(frozen=True)
class Law:
    """What turns seconds of processes into CPU time of page walks; all numbers may be arrays of draws.

    small_uncached: at the start, with small pages alone. Shapes: (n_replicates,).
    """

    machine: Profile
    rates: Rates
    n_sharers: int
    small_uncached: Floats

    def walk_ns(self, share: Floats) -> Floats:
        """Price a walk to a pte where this share of the page tables is not in the cache."""
        cached_ns = self.machine.page_walk_ns
        return np.asarray(cached_ns + (self.machine.page_walk_uncached_ns - cached_ns) * share)

    def unit_ns(self, amounts: Mapping[str, Floats]) -> Floats:
        """Price translation as if all cycles were page walks (page_walk_share = 1). Units: ns."""
        machine, exponent = self.machine, self.rates.reach_exponent
        group = machine.tlb_coalesce
        misses = {"small": 1.0, "compound": group**-exponent, "pmd": float(HPAGE_PMD_NR) ** -exponent}
        for order in range(1, HPAGE_PMD_ORDER):
            if f"root_{order_form(order)}_s" in amounts:
                misses[order_form(order)] = np.where(1 << order >= np.asarray(group), misses["compound"], 1.0)
        as_it_is = self.rates.as_it_is(group)  # page_walk_share is that of the memory as it is
        misses = {form: left if form == "small" else np.minimum(1.0, left / as_it_is) for form, left in misses.items()}
        cached_ns, more_ns = machine.page_walk_ns, machine.page_walk_uncached_ns - machine.page_walk_ns
        total: Floats = np.zeros(1)
        for who, cpus in zip(WHO, busy(self.rates, machine, self.n_sharers), strict=True):
            for form, left in misses.items():
                spent = amounts[f"{who}_{form}_s"] * cached_ns + amounts.get(f"{who}_{form}_uncached_s", 0.0) * more_ns
                total = total + cpus * left * spent
        return np.asarray(total * (NS_PER_S / self.walk_ns(self.small_uncached)))

    def ns(self, amounts: Mapping[str, Floats]) -> Floats:
        """Price translation. Units: ns."""
        return np.asarray(self.unit_ns(amounts) * self.rates.page_walk_share)


def walks_per_ns(rates: Rates, machine: Profile, n_sharers: int, share: Floats) -> Floats:
    """Give how often the mean process walks the page table with small pages alone: at least so often does it need a page.

    share: uncached(). Units: per ns.
    """
    root, worker = busy(rates, machine, n_sharers)
    mean = (root + (n_sharers - 1) * worker) / n_sharers
    law = Law(machine, rates, n_sharers, share)
    return np.asarray(mean * rates.page_walk_share / law.walk_ns(share))
