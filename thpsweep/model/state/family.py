"""The state of a family of processes: who maps which frame, exactly, for any shape of sharing.

    row      one (region, sharer); points at a record, and is mapped by ptes or by one PMD
    record   what a row maps, slot by slot; rows that never diverged share one record (copy-on-write, as memory itself)
    entry    one step of a record's list: these slots are mapped to the frames of this layer
    layer    frames of one region that were introduced together: a generation. A frame is (layer, slot)
    folio    a large folio of any order; some slots of one or more layers are its subpages

A slot's mapcount is `reach` of its layer (rows whose record lists the layer) less `missing` (those of them that do not map
the slot). Where no row diverged nothing is missing, and no per-slot number is stored: this is also the sparse form.
Pages in swap keep their place in a layer: swapping.py.
Replicates stand side by side on the region axis: region = replicate * n_regions + region of the family.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.state.anon_vmas import AnonVmas
from thpsweep.model.state.rules import Rules
from thpsweep.model.state.tables import Entries, Folios, Layers, Missing, Pins, Records
from thpsweep.units import HPAGE_PMD_NR

GAUGES = (
    "small_frames",
    "small_ptes",
    "folios",
    "folio_pages",
    "compound_ptes",
    "pmds",
    "isolated",
    "orphans",
    "stuck_pages",
)
"""State totals, kept up to date by every change; folio_pages are all pages of the folios, mapped or not; compound_ptes
leaves out what a PMD maps; isolated are small frames that are off the LRU; orphans are unmapped order-0 pages, kept by a
long reference, and not among the small_frames; stuck_pages are pages of living folios that lost their last mapping.
"""


class Family:
    """Rows, records, layers and folios of all replicates, and the totals that follow from them.

    Shapes: record_of (n_replicates * n_regions * n_sharers,) in row order region-major; pmd likewise;
    alive, registered (n_replicates, n_sharers); gauge[name] (n_replicates,).
    """

    def __init__(self, n_replicates: int, n_regions: int, n_sharers: int) -> None:
        self.n_replicates, self.n_regions, self.n_sharers = n_replicates, n_regions, n_sharers
        n_rows = n_replicates * n_regions * n_sharers
        self.record_of = np.zeros(n_rows, np.int32)
        self.pmd = np.zeros(n_rows, bool)
        self.alive = np.zeros((n_replicates, n_sharers), bool)
        self.registered = np.tile(np.arange(n_sharers), (n_replicates, 1))
        """When each mm was registered with khugepaged: it scans them in this order, and a new one comes last."""
        self._n_registered = n_sharers
        self.anon_vmas = AnonVmas(self.alive)
        self.rules = Rules()
        """What the kernel of the version that is modelled does."""
        self.records, self.entries, self.layers = Records(), Entries(), Layers()
        self.missing, self.folios, self.pins = Missing(), Folios(), Pins()
        self.next_frame = 1
        self.swaps = False
        """Whether a row has ever held a swap pte: swapping.py."""
        self.holds_zeroes = False
        """Whether some page has ever been cleared that no process had written: zeroed.py."""
        self.runs: dict[int, Ints] = {}
        """Of each order below PMD order that a folio ever had: each region's run of that order, 0 for none."""
        self.linking = False
        """Whether old pages were ever linked to copies (linking.py)."""
        self.no_pmd: Bools | None = None
        """Rows that a PMD must not map, as userfaultfd write-protects ptes of theirs; None where there are none."""
        self.write_faults: Ints | None = None
        """Write faults of each row so far, where a policy wants to know; None where none does."""
        self.gauge = {name: np.zeros(n_replicates, np.int64) for name in GAUGES}
        self.unsettled: list[Ints] = []
        """Folios that lost mappings, whose MM slots have still to be looked at: mm_slots.settle()."""

    # ---- addresses -------------------------------------------------------------------------------------------------
    def rows_of(self, replicate: int, sharer: int) -> Ints:
        """List a sharer's rows, one a region. Shapes: -> (n_regions,)."""
        regions = np.arange(replicate * self.n_regions, (replicate + 1) * self.n_regions)
        return regions * self.n_sharers + sharer

    def register(self, replicate: int, sharer: int) -> None:
        """Put a new mm at the end of khugepaged's list. Source: mm/khugepaged.c __khugepaged_enter() (v6.18)."""
        self.registered[replicate, sharer] = self._n_registered
        self._n_registered += 1

    def region_of(self, rows: Ints) -> Ints:
        """Give the region of each row."""
        return rows // self.n_sharers

    def replicate_of(self, rows: Ints) -> Ints:
        """Give the replicate of each row."""
        return rows // (self.n_sharers * self.n_regions)

    def adjust(self, gauge: str, rows: Ints, amounts: Ints) -> None:
        """Add amounts, one a row, to a gauge of the rows' replicates."""
        if self.n_replicates == 1:
            self.gauge[gauge][0] += int(amounts.sum())
        else:
            np.add.at(self.gauge[gauge], self.replicate_of(rows), amounts)

    def sums(self, rows: Ints, chosen: Bools) -> Ints:
        """Count the chosen rows of each replicate; rows may repeat. Shapes: (n,), (n,) -> (n_replicates,)."""
        if self.n_replicates == 1:
            return np.array([np.count_nonzero(chosen)])
        return np.bincount(self.replicate_of(rows[chosen]), minlength=self.n_replicates)

    # ---- reading ---------------------------------------------------------------------------------------------------
    def walk(self, records: Ints) -> Iterator[tuple[Ints, Ints]]:
        """Step through the records' lists together: (index into records, entry), until all have ended."""
        index = np.arange(records.size)
        entry = self.records.head.take(records).astype(np.int64)
        while True:
            if not entry.all():
                going = bits.where(entry)
                index, entry = index.take(going), entry.take(going)
            if not index.size:
                return
            yield index, entry
            entry = self.entries.next.take(entry).astype(np.int64)

    def mapcounts(self, layers: Ints, slots: Ints) -> Ints:
        """Give the mapcount of each frame (layer, slot). Shapes: (k,), (k,) -> (k,)."""
        missing = self.missing.ptes.reshape(-1).take(
            self.layers.missing.take(layers).astype(np.int64) * HPAGE_PMD_NR + slots
        )
        return (self.layers.reach.take(layers) - missing).astype(np.int64)

    def mapcount_sums(self, layers: Ints, boards: Boards) -> Ints:
        """Sum the mapcounts of the given slots of each layer. Shapes: (n,), (n, 8) -> (n,)."""
        sums = self.layers.reach[layers] * bits.count(boards)
        partial = bits.where(self.layers.missing[layers])
        if partial.size:
            lists = self.missing.ptes[self.layers.missing[layers[partial]]]
            sums[partial] -= np.einsum("ij,ij->i", lists, bits.expand(boards[partial]), dtype=np.int64)
        return sums

    def multi_mapped(self, layers: Ints, boards: Boards) -> Boards:
        """Keep of each board the slots whose frame has more than one mapping. Shapes: (n,), (n, 8) -> (n, 8)."""
        reach = self.layers.reach[layers]
        multi = np.where((reach > 1)[:, None], boards, np.uint64(0))
        partial = bits.where((reach > 1) & (self.layers.missing[layers] != 0))
        if partial.size:
            missing = self.missing.ptes[self.layers.missing[layers[partial]]]
            multi[partial] &= bits.pack(reach[partial, None] - missing > 1)
        return multi

    def compound_slots(self, records: Ints) -> Boards:
        """Give the slots of each record that map a subpage of any folio. Shapes: (n,) -> (n, 8)."""
        boards = bits.empty(records.size)
        for index, entry in self.walk(records):
            boards[index] |= bits.at(self.entries.slots, entry) & bits.at(
                self.layers.compound, self.entries.layer[entry]
            )
        return boards

    @property
    def lru_entries(self) -> Ints:
        """Folios on the LRU, of any order. Shapes: -> (n_replicates,)."""
        return self.gauge["small_frames"] - self.gauge["isolated"] + self.gauge["orphans"] + self.gauge["folios"]

    @property
    def pages_in_use(self) -> Ints:
        """Pages of anonymous memory; a partly dead folio keeps all that it has. Shapes: -> (n_replicates,)."""
        return self.gauge["small_frames"] + self.gauge["orphans"] + self.gauge["folio_pages"]

    @property
    def pmd_mapped_fraction(self) -> npt.NDArray[np.float64]:
        """Share of the mapped pages that a PMD maps. Shapes: -> (n_replicates,)."""
        by_pmd = self.gauge["pmds"] * HPAGE_PMD_NR
        mapped = by_pmd + self.gauge["small_ptes"] + self.gauge["compound_ptes"]
        return np.asarray(by_pmd / np.maximum(mapped, 1))

    @property
    def state_bytes(self) -> int:
        """Bytes of the state's arrays."""
        tables = (self.records, self.entries, self.layers, self.missing, self.folios, self.pins)
        return self.record_of.nbytes + self.pmd.nbytes + sum(table.state_bytes for table in tables)

    def own_anon_vmas(self, rows: Ints) -> Ints:
        """Give the anon_vma that new pages of rows belong to. Shapes: (n,) -> (n,)."""
        return np.asarray(self.anon_vmas.own[self.replicate_of(rows), rows % self.n_sharers])

    # ---- primitive changes -----------------------------------------------------------------------------------------
    def missing_rows(self, layers: Ints) -> Ints:
        """Give the missing-row of each layer, making it where there is none; duplicates among layers are allowed."""
        rows = self.layers.missing.take(layers)
        if not rows.all():
            lacking = np.unique(layers[rows == 0])
            self.layers.missing[lacking] = self.missing.take(lacking.size)
            rows = self.layers.missing.take(layers)
        return rows.astype(np.int64)

    def away_rows(self, layers: Ints) -> Ints:
        """Give the row that counts the swap ptes of each of the distinct layers, making it where there is none."""
        lacking = layers[self.layers.away[layers] == 0]
        self.layers.away[lacking] = self.missing.take(lacking.size)
        return self.layers.away[layers].astype(np.int64)

    def away_counts(self, layers: Ints, slots: Ints) -> Ints:
        """Count the swap ptes for each page (layer, slot). Shapes: (k,), (k,) -> (k,)."""
        return self.missing.ptes[self.layers.away[layers], slots].astype(np.int64)

    def away_slots(self, layers: Ints) -> Boards:
        """Give the slots of each layer that a row holds a swap pte for. Shapes: (n,) -> (n, 8)."""
        boards = bits.empty(layers.size)
        some = bits.where(self.layers.away[layers])
        if some.size:
            boards[some] = bits.pack(self.missing.ptes[self.layers.away[layers[some]]] > 0)
        return boards

    def other_slots(self, layers: Ints, slots: Boards) -> Bools:
        """Tell which layers have pages besides these slots, in memory or in swap. Shapes: (n,), (n, 8) -> (n,)."""
        others = self.layers.slots[layers] | self.away_slots(layers) if self.swaps else self.layers.slots[layers]
        return bits.any_slot(others & ~slots)

    def new_layers(
        self, slots: Boards, reach: Ints, folio: Ints, compound: Boards, common: Bools, anon_vmas: Ints
    ) -> Ints:
        """Introduce layers. Shapes: (n, 8), (n,), (n,), (n, 8), (n,), (n,) -> (n,)."""
        layers = self.layers.take(reach.size)
        bits.put(self.layers.slots, layers, slots)
        bits.put(self.layers.compound, layers, compound)
        self.layers.reach[layers], self.layers.folio[layers], self.layers.common[layers] = reach, folio, common
        self.layers.anon_vma[layers] = anon_vmas
        return layers

    def list_layer(self, records: Ints, layers: Ints, slots: Boards) -> Ints:
        """Put a new entry at the head of each record's list; reach is the caller's to set. Records are distinct."""
        entries = self.entries.take(records.size)
        bits.put(self.entries.slots, entries, slots)
        self.entries.layer[entries], self.entries.next[entries] = layers, self.records.head.take(records)
        self.records.head[records] = entries
        return entries

    def list_behind(self, records: Ints, layers: Ints, slots: Boards) -> Ints:
        """Put a new entry behind the head of each record's list, which stays where most is found; else as list_layer()."""
        head = self.records.head[records]
        listed = bits.where(head)
        entries = self.list_layer(records, layers, slots)
        self.records.head[records[listed]] = head[listed]
        self.entries.next[entries[listed]] = self.entries.next[head[listed]]
        self.entries.next[head[listed]] = entries[listed]
        return entries

    def orphan(self, rows: Ints, layers: Ints, dead: Boards) -> None:
        """Keep pages that lost their last mapping but have long references: no layer has them any more.

        Shapes: (n,), (n, 8); layers are distinct.
        """
        held = bits.where(bits.any_slot(dead & self.layers.held[layers])) if self.pins.in_use else layers[:0]
        if not held.size:
            return
        rows, layers = rows[held], layers[held]
        boards = dead[held] & self.layers.held[layers]
        self.adjust("orphans", rows, bits.count(boards & ~bits.at(self.layers.compound, layers)))
        self.layers.held[layers] &= ~boards
        pins, at = self.pins.live(), np.full(self.layers.reach.size, -1)
        at[layers] = np.arange(layers.size)
        pins = pins[at[self.pins.layer[pins]] >= 0]
        gone = bits.expand(boards)[at[self.pins.layer[pins]], self.pins.slot[pins]] != 0
        self.pins.layer[pins[gone]] = 0
