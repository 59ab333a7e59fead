"""Counts x machine profile -> CPU time. The only place where an operation meets its price."""

from collections.abc import Mapping

import numpy as np

from thpsweep.model.accounting.translation import Law
from thpsweep.model.bits import Floats, Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.counts import Counts
from thpsweep.units import HPAGE_PMD_NR

COLLAPSE_PRICES = {
    "ptes_scanned": "pte_scan_ns",
    "collapses": "collapse_fixed_ns",
    "pages_copied": "copy_page_ns",
    "pages_cleared": "clear_page_ns",
    "pages_freed": "page_free_ns",
    "migration_entries_set": "migration_entry_set_ns",
    "ptes_restored": "migration_entry_restore_ns",
    "ptes_switched": "pte_switch_ns",
    "ptes_protected": "pte_protect_ns",
    "ptes_cleared": "pte_clear_ns",
    "ptes_cleared_compound": "pte_clear_compound_ns",
    "ptes_unmapped": "pte_unmap_ns",
    "ptes_refaulted": "migration_entry_restore_ns",
    "pmds_refaulted": "minor_fault_ns",
    "pmd_writes": "pmd_write_ns",
    "rmap_walks": "rmap_walk_ns",
    "tlb_flushes": "tlb_flush_ns",
}
CHANGED_BY_WALKS = ("migration_entries_set", "ptes_restored", "ptes_switched", "ptes_unmapped")
"""Ptes that rmap walks change; what remains of vmas_visited found nothing."""
FORK_PRICES = {
    "fork_ptes_small": "fork_pte_small_ns",
    "fork_ptes_compound": "fork_pte_compound_ns",
    "fork_pmds": "fork_pmd_ns",
}
EXIT_PRICES = {
    "exit_ptes_small": "exit_pte_small_ns",
    "exit_ptes_compound": "exit_pte_compound_ns",
    "exit_pmds": "exit_pmd_ns",
}
FAULT_PRICES = {
    "minor_faults": "minor_fault_ns",
    "cow_faults": "cow_fault_ns",
    "reuse_faults": "reuse_fault_ns",
    "reuse_pmds": "reuse_pmd_ns",
    "pmd_splits": "pmd_split_ns",
    "swap_ins": "swap_in_ns",
    "swap_cache_faults": "minor_fault_ns",
    "swap_copies": "copy_page_ns",
}

TABLE_FORK_PRICES = {"fork_tables": "fork_table_ns", "fork_pmds": "fork_pmd_ns"}
TABLE_EXIT_PRICES = {"exit_tables": "exit_table_ns", "exit_pmds": "exit_pmd_ns"}


def forks_ns(counts: Counts, machine: Profile, shares_tables: bool) -> Floats:
    """Price forks: by pte, or by table where tables are shared; copies of pinned pages on top. Units: ns."""
    copies = counts.total["fork_copies"] * machine.copy_page_ns
    return np.asarray(priced(counts, TABLE_FORK_PRICES if shares_tables else FORK_PRICES, machine) + copies)


def exits_ns(counts: Counts, machine: Profile, shares_tables: bool) -> Floats:
    """Price exits: by pte, or by table where tables are shared. Units: ns."""
    return priced(counts, TABLE_EXIT_PRICES if shares_tables else EXIT_PRICES, machine)


def faults_ns(counts: Counts, machine: Profile, shares_tables: bool) -> Floats:
    """Price faults; the first write to a shared table clears a new one, copies 512 ptes and flushes. Units: ns."""
    total = priced(counts, FAULT_PRICES, machine)
    if shares_tables:
        copy_ns = machine.clear_page_ns + HPAGE_PMD_NR * machine.fork_pte_small_ns + machine.tlb_flush_ns
        total = total + counts.total["tables_unshared"] * copy_ns
    return total


def priced(counts: Counts, prices: dict[str, str], machine: Profile) -> Floats:
    """Sum counts times prices, of which each may be an array of draws. Units: ns. Shapes: -> (n_replicates,)."""
    total: Floats = np.zeros(counts.table.shape[1:])
    for operation, price in prices.items():
        amounts = counts.total[operation]
        if np.count_nonzero(amounts):
            total = total + amounts * getattr(machine, price)
    return total


def interrupts(counts: Counts, machine: Profile, n_sharers: int) -> tuple[Floats, Floats]:
    """Expect how often a flush or a global sync waits for other CPUs, and how many CPUs these interrupt in all, the sharers
    running on all other CPUs.

    A flush of one mm finds it on one other CPU with probability others / sharers, at most; a family-wide one finds some
    sharer on each of min(CPUs - 1, sharers - 1); a global sync goes to every other online CPU.
    Shapes: -> (n_replicates,) senders, (n_replicates,) receivers.
    """
    others = machine.cpus - 1
    family, syncs = counts.total["family_flushes"], counts.total["global_syncs"]
    own = (counts.total["tlb_flushes"] - family) * found_elsewhere(machine, n_sharers)
    at_once = min(others, n_sharers - 1)
    senders = own + family * float(at_once > 0) + syncs * float(others > 0)
    return senders, own + family * float(at_once) + syncs * float(others)


def found_elsewhere(machine: Profile, n_sharers: int) -> float:
    """Expect on how many other CPUs a flush of one mm finds it: it runs on one at most."""
    return min(1.0, (machine.cpus - 1) / n_sharers)


def interrupts_ns(counts: Counts, machine: Profile, n_sharers: int) -> Floats:
    """Price interrupts: a sender's round trip, however many answer it, and each receiver's time. Units: ns."""
    senders, receivers = interrupts(counts, machine, n_sharers)
    return np.asarray(senders * machine.ipi_ns + receivers * machine.ipi_receiver_ns)


def collapse_ns(counts: Counts, machine: Profile, n_sharers: int) -> Floats:
    """Price everything that collapsing did. A VMA visit that changes no pte has a price of its own.

    A refaulted pte is priced as a restored migration entry (measured: 270 ns; a minor fault on shmem 300 ns a page),
    a page that is unshared as a CoW fault less what is counted for it elsewhere: its copy and its flush. Compaction for
    the collapses is part of it, kcompactd's too. Units: ns.
    """
    changed = np.sum([counts.total[kind] for kind in CHANGED_BY_WALKS], axis=0)
    idle_visits = np.maximum(0, counts.total["vmas_visited"] - changed)
    total = priced(counts, COLLAPSE_PRICES, machine) + idle_visits * machine.vma_visit_ns
    unshare_ns = np.maximum(0.0, machine.cow_fault_ns - machine.copy_page_ns - machine.tlb_flush_ns)
    elsewhere = counts.total["ptes_unmapped"] + counts.total["ptes_cleared_compound"]
    total = total - elsewhere * machine.pte_clear_ns  # they are among ptes_cleared
    total = (
        total + counts.total["ptes_unshared"] * unshare_ns + compaction_ns(counts, machine) + own_ns(counts, machine)
    )
    return np.asarray(total + interrupts_ns(counts, machine, n_sharers))


def own_ns(counts: Counts, machine: Profile) -> Floats:
    """Price the counters of a mechanism's own. Units: ns. Shapes: -> (n_replicates,)."""
    prices = {name: counter.price for name, counter in counts.own.items() if counter.price is not None}
    each_ns = {name: getattr(machine, p) if isinstance(p, str) else p for name, p in prices.items()}
    nothing = np.zeros(counts.table.shape[1:])
    return np.asarray(sum((counts.total[name] * ns for name, ns in each_ns.items()), nothing))


PAYERS = ("khugepaged", "caller", "interrupted", "touching", "kcompactd")


def collapse_ns_by_payer(
    counts: Counts, machine: Profile, n_sharers: int, payer: str, whole_ns: Floats
) -> dict[str, Floats]:
    """Cut whole_ns = collapse_ns() by who spends it: they add up to it.

    interrupted: CPUs that flushes and syncs reach, and their senders' waits; touching: tasks that map again what `retract`
    unmapped; kcompactd: what it moved; the rest is the payer's, khugepaged's or the caller's. Units: ns.
    """
    total = counts.total
    refaults = total["ptes_refaulted"] * machine.migration_entry_restore_ns
    spent = {
        "interrupted": interrupts_ns(counts, machine, n_sharers),
        "touching": refaults + total["pmds_refaulted"] * machine.minor_fault_ns,
        "kcompactd": compaction_ns(counts, machine, "kcompactd_"),
    }
    rest = whole_ns - sum(spent.values())
    nothing = np.zeros_like(rest)
    return {name: spent.get(name, np.maximum(0.0, rest) if name == payer else nothing) for name in PAYERS}


def compaction_ns(counts: Counts, machine: Profile, payer: str = "") -> Floats:
    """Price the pages that compaction moved: two rmap walks and a copy each, and set and restore of each mapping.

    payer: `kcompactd_` for its part, nothing for all of it. Units: ns.
    """
    pages, ptes = counts.total[f"{payer}pages_migrated"], counts.total[f"{payer}ptes_migrated"]
    page_ns = 2 * machine.rmap_walk_ns + machine.copy_page_ns
    pte_ns = machine.migration_entry_set_ns + machine.migration_entry_restore_ns
    return np.asarray(pages * page_ns + ptes * pte_ns)


def aging_visits(gauge: Mapping[str, Ints], reclaim: str) -> dict[str, Ints]:
    """Count what one round of LRU aging visits in the memory as it is, by its price.

    classic: folios, one rmap walk each, and each mapping. mglru: page tables, entry by entry, and folios that it sorts.
    none: nothing, as anonymous memory is not scanned without swap.
    Source: mm/vmscan.c shrink_inactive_list() -> folio_referenced(); walk_pte_range(), walk_pmd_range_locked(),
    sort_folio(); get_scan_count() (v6.18).
    """
    folios = gauge["small_frames"] + gauge["folios"]
    if reclaim == "classic":
        return {
            "age_folio_ns": folios,
            "age_small_pte_ns": gauge["small_ptes"],
            "age_compound_pte_ns": gauge["compound_ptes"],
            "age_pmd_ns": gauge["pmds"],
        }
    if reclaim == "mglru":
        ptes = gauge["small_ptes"] + gauge["compound_ptes"]
        return {"mglru_folio_ns": folios, "mglru_pte_ns": ptes, "mglru_pmd_ns": gauge["pmds"]}
    return {}


def at_prices(amounts: Mapping[str, Ints | Floats], machine: Profile) -> Floats:
    """Sum amounts, each named by its price. Units: ns."""
    return np.asarray(sum((amount * getattr(machine, price) for price, amount in amounts.items()), np.zeros(1)))


def reclaim_ns(counts: Counts, machine: Profile) -> Floats:
    """Price what reclaim did beside aging: pages written to swap, and folios split for it. Units: ns.

    swap_out_ns holds one mapping; each further one is priced as a migration entry that is set.
    """
    written = counts.total["swap_outs"] * machine.swap_out_ns
    unmapped = np.maximum(0, counts.total["swap_out_ptes"] - counts.total["swap_outs"]) * machine.migration_entry_set_ns
    return np.asarray(written + unmapped + split_ns(counts, machine))


def split_ns(counts: Counts, machine: Profile) -> Floats:
    """Price the splits of folios alone: an rmap walk to set a migration entry over every pte, one to restore. Units: ns.

    Source: mm/huge_memory.c unmap_folio(), remap_page() (v6.18).
    """
    per_pte_ns = machine.migration_entry_set_ns + machine.migration_entry_restore_ns
    walks_ns = counts.total["folio_splits"] * (2 * machine.rmap_walk_ns)
    return np.asarray(counts.total["split_ptes"] * per_pte_ns + walks_ns)


def spent_ns(
    counts: Counts, aged: Mapping[str, Floats], translated: Mapping[str, Floats], law: Law, shares_tables: bool
) -> dict[str, Floats]:
    """Price what processes and reclaim did, collapsing aside, by kind. Units: ns. Shapes: -> each (..., n_replicates)."""
    machine = law.machine
    return {
        "fork": forks_ns(counts, machine, shares_tables),
        "exit": exits_ns(counts, machine, shares_tables),
        "refault": faults_ns(counts, machine, shares_tables),
        "reclaim": at_prices(aged, machine) + reclaim_ns(counts, machine),
        "tlb": law.ns(translated),
    }
