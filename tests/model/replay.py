"""Replay the twin's scripts on the vectorised model, and read the model's state in the twin's terms."""

from collections import defaultdict
from typing import Any

import numpy as np

from tests.reference.families import Family as Drawn
from thpsweep.model import bits, registry
from thpsweep.model.bits import Ints
from thpsweep.model.capture.start import Start, populate
from thpsweep.model.collapse.scan import VisitConditions
from thpsweep.model.mechanisms.visit import ScanLimits
from thpsweep.model.mm.fault import write
from thpsweep.model.mm.fork import exit, fork
from thpsweep.model.mm.gup import expire, pin, reference
from thpsweep.model.mm.vmscan import reclaim
from thpsweep.model.mm.zeroed import wrote
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.state.folios import folios_at
from thpsweep.model.triggers.base import Collapser
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR


def boards(slots_of: list[list[int]]) -> bits.Boards:
    """Turn lists of slots into boards."""
    index = np.repeat(np.arange(len(slots_of)), [len(slots) for slots in slots_of])
    slot = np.array([slot for slots in slots_of for slot in slots], np.int64)
    return bits.from_pairs(len(slots_of), index.astype(np.int64), slot)


def start_of(drawn: Drawn) -> Start:
    """Give every sharer a class of its own; the dead map nothing."""
    n, k = drawn.n_regions, drawn.n_sharers
    cells = drawn.cells
    classes = np.zeros((len(cells), k), bool)
    for number, (_, members, _, _) in enumerate(cells):
        classes[number, list(members)] = True
    swapped, pmd = np.zeros((k, n, 8), np.uint64), np.zeros((k, n), bool)
    for (region, sharer), slots in drawn.swapped.items():
        swapped[sharer, region] = boards([sorted(slots)])[0]
    for region, sharer in drawn.pmd:
        pmd[sharer, region] = True
    return Start(
        n_regions=n,
        class_of=np.arange(k),
        cell_region=np.array([cell[0] for cell in cells], np.int64),
        cell_slots=boards([list(cell[2]) for cell in cells]),
        cell_folio=np.array([cell[3] for cell in cells], np.int64),
        cell_classes=classes,
        swapped=swapped,
        pmd=pmd,
        cell_order=np.array([drawn.orders.get(cell[3], 9) for cell in cells], np.int64),
    )


class Replay:
    """Play scripts for the twin on one replicate of the model (or on several, all alike)."""

    def __init__(self, drawn: Drawn, settings: dict[str, int], n_replicates: int = 1) -> None:
        self.family = Family(n_replicates, drawn.n_regions, drawn.n_sharers)
        populate(self.family, start_of(drawn))
        self.family.alive[:] = [sharer in drawn.alive for sharer in range(drawn.n_sharers)]
        self.counts = Counts(n_replicates)
        self.daemon = registry.build(
            "trigger", {"kind": "khugepaged", "scan_sleep_millisecs": 1000, **clipped(settings)}
        )
        self.cursors = self.daemon.begin(n_replicates)
        self.outcomes = np.zeros((n_replicates, len(ScanResult)), np.int64)
        self.returned: list[tuple[str, int, bool]] = []

    def tick(self, tick: dict[str, Any]) -> None:
        """Play one tick: exits, forks, ends and begins of long references, writes, triggers."""
        family = self.family
        for replicate in range(family.n_replicates):
            for sharer in tick["exits"]:
                exit(family, self.counts, replicate, sharer)
            for parent, child in tick["forks"]:
                fork(family, self.counts, replicate, parent, child)
        expire(family, tick["tick"])
        self.take_references(tick["references"])
        keys = self.keys(tick["writes"])
        if keys.size:
            write(family, self.counts, keys)
            wrote(family, keys)
        if tick["reclaims"]:
            self.reclaim(tick["reclaims"])
        for trigger in tick["triggers"]:
            self.trigger(trigger)

    def keys(self, places: list[tuple[int, int, int]]) -> Ints:
        """Give the keys of (region, sharer, slot) in every replicate, ascending."""
        family = self.family
        one = np.array([(r * family.n_sharers + s) * HPAGE_PMD_NR + slot for r, s, slot in places], np.int64)
        span = family.n_regions * family.n_sharers * HPAGE_PMD_NR
        return np.concatenate([np.sort(one) + span * replicate for replicate in range(family.n_replicates)])

    def take_references(self, wanted: list[tuple[bool, int, int, int, int]]) -> None:
        """Take long references, pins first."""
        for kind, take in ((True, pin), (False, reference)):
            some = sorted(w[1:] for w in wanted if w[0] is kind)
            until = np.tile(np.array([w[3] for w in some], np.int64), self.family.n_replicates)
            keys = self.keys([w[:3] for w in some])
            take(self.family, self.counts, keys, until)
            if kind:
                wrote(self.family, keys)

    def reclaim(self, wanted: list[tuple[int, int, int, bool]]) -> None:
        """Let reclaim come to pages, of which some are said to be young."""
        judged = {item[:3]: item[3] for item in wanted}
        n, k = self.family.n_regions, self.family.n_sharers

        def young(rows: Ints, slots: Ints, mappings: Ints, large: np.ndarray) -> np.ndarray:
            del mappings, large
            return np.array(
                [judged[r // k % n, r % k, s] for r, s in zip(rows.tolist(), slots.tolist(), strict=True)], bool
            )

        reclaim(self.family, self.counts, self.keys(list(judged)), young, self.daemon.max_ptes_none)

    def trigger(self, trigger: dict[str, Any]) -> None:
        """Play one trigger."""
        mechanism = registry.build("mechanism", {"kind": trigger["mechanism"], **trigger["options"]})
        if trigger["do"] == "collapse":
            self._collapse(mechanism, trigger)
            return
        collapser = Collapser(self.family, self.counts, mechanism, self._chances(trigger["inputs"]))
        if trigger["do"] == "khugepaged":
            collapser.locked = lambda tick, replicates, sharers, regions: np.array(
                [place in trigger["locked"] for place in zip(regions.tolist(), sharers.tolist(), strict=True)], bool
            )
            self.daemon.act(self.cursors, collapser, 0, 1.0)
        else:
            advise = registry.build("trigger", {"kind": "madvise", "at_s": [0.0], "callers": trigger["callers"]})
            advise.act(advise.begin(1), collapser, 0, 1.0)
        self.outcomes += collapser.outcomes

    def _collapse(self, mechanism: Any, trigger: dict[str, Any]) -> None:
        family, given = self.family, trigger["arguments"]
        limits = ScanLimits(**{name: value for name, value in given.items() if name.startswith("max_ptes")})
        row = trigger["region"] * family.n_sharers + trigger["sharer"]
        rows = row + np.arange(family.n_replicates) * family.n_regions * family.n_sharers
        inputs = {
            (trigger["region"], trigger["sharer"]): (given["young"], given["extra_reference"], given["race_slot"])
        }
        collapser = Collapser(family, self.counts, mechanism, self._chances(inputs))
        found = collapser.scan(rows, limits, 0, khugepaged=given["khugepaged"])
        results = collapser.attempt(found, limits)
        self.returned.append((ScanResult(results[0]).name, int(found.progress[0]), bool(found.passed[0])))
        self.outcomes += collapser.outcomes

    def _chances(self, inputs: dict[tuple[int, int], tuple[int, bool, int]]) -> Any:
        def chances(rows: Ints, tick: int, khugepaged: bool) -> VisitConditions:
            del tick
            n = self.family.n_sharers
            drawn = [inputs[int(row) // n % self.family.n_regions, int(row) % n] for row in rows]
            young = np.array([item[0] if khugepaged else HPAGE_PMD_NR for item in drawn], np.int64)
            referenced = np.array([item[1] for item in drawn], bool)
            return VisitConditions(young, referenced, np.array([item[2] for item in drawn], np.int64))

        return chances


def clipped(settings: dict[str, int]) -> dict[str, int]:
    """Keep the limits in the range that the trigger takes."""
    return {name: min(value, 511) if name.startswith("max_ptes") else value for name, value in settings.items()}


def slots(board: np.ndarray) -> set[int]:
    """List the slots of one board."""
    return {int(slot) for slot in np.flatnonzero(bits.expand(board[None])[0])}


def links(family: Family, replicate: int) -> set[tuple[int, int]]:
    """List the frames of copies (layer, slot) that a link holds."""
    held = set()
    for old in family.layers.live():
        copies = int(family.layers.link[old])
        if copies and family.folios.region[family.layers.folio[copies]] // family.n_regions == replicate:
            held |= {(copies, slot) for slot in slots(family.layers.slots[old])}
    return held


def _folio_at(family: Family, layer: int, slot: int) -> int:
    """Give the folio of a subpage."""
    return int(folios_at(family, np.array([layer]), np.array([slot]))[0])


def snapshot(family: Family, replicate: int = 0) -> dict[str, object]:
    """Read the state of one replicate as Twin.snapshot() gives it, by walking every row's list in plain Python."""
    n, k = family.n_regions, family.n_sharers
    partition: dict[int, dict[int, set[frozenset[int]]]] = {region: {} for region in range(n)}
    folios: dict[int, frozenset[frozenset[tuple[int, int]]]] = {}
    mm_slots: dict[frozenset[tuple[int, int, int]], tuple[object, ...]] = {}
    exclusive, visits, swapped, zero, zeroed, pmd = {}, {}, {}, {}, {}, set()
    small_frames, folio_ids = set(), set()
    in_swap: dict[tuple[int, int], int] = defaultdict(int)
    cached: set[tuple[int, int, int]] = set()
    held, attached = links(family, replicate), family.anon_vmas.attached()[replicate]
    for region in range(n):
        mappers: dict[tuple[int, int], set[int]] = defaultdict(set)
        folio_maps: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for sharer in range(k):
            row = (replicate * n + region) * k + sharer
            record = int(family.record_of[row])
            sole = family.records.rows[record] == 1 and record != 0
            exclusive[region, sharer] = slots(family.records.exclusive[record]) if sole else set()
            swapped[region, sharer] = slots(family.records.swapped[record])
            zero[region, sharer] = slots(family.records.zero[record])
            visits[region, sharer], zeroed[region, sharer] = {}, set()
            if family.pmd[row]:
                pmd.add((region, sharer))
            present: set[int] = set()
            swap_ptes: set[int] = set()
            entry = int(family.records.head[record])
            while entry:
                layer = int(family.entries.layer[entry])
                mine = slots(family.entries.slots[entry])
                assert not present & mine, "a slot is mapped once"
                assert mine <= slots(family.layers.slots[layer]), "only live frames are mapped"
                present |= mine
                compound = slots(family.layers.compound[layer])
                for slot in mine:
                    mappers[layer, slot].add(sharer)
                    if slot in compound:
                        folio_maps[_folio_at(family, layer, slot)].add((sharer, slot))
                    else:
                        small_frames.add((layer, slot))
                if family.holds_zeroes:
                    zeroed[region, sharer] |= mine & slots(family.layers.zeroed[layer])
                walked = int(attached[int(family.layers.anon_vma[layer])])
                visits[region, sharer].update(dict.fromkeys(mine - compound, walked))
                for slot in slots(family.entries.swapped[entry]) if family.swaps else ():
                    in_swap[layer, slot] += 1
                    swap_ptes |= {slot}
                    if slot in slots(family.layers.slots[layer]):
                        cached.add((region, layer, slot))
                entry = int(family.entries.next[entry])
            assert swap_ptes == swapped[region, sharer], "swapped is the union of the list"
            assert present == slots(family.records.present[record]), "present is the union of the list"
        for (layer, slot), sharers in mappers.items():
            partition[region].setdefault(slot, set()).add(frozenset(sharers))
            counted = int(family.mapcounts(np.array([layer]), np.array([slot]))[0])
            assert counted == len(sharers) + ((layer, slot) in held), "mapcounts add up; a link counts as one"
        for folio, mapped in folio_maps.items():
            n_links = sum(_folio_at(family, *place) == folio for place in held)
            assert family.folios.mapped[folio] == len(mapped) + n_links, "a folio's mappings add up"
            owners = [int(column[folio]) - 1 for column in (family.folios.mm_0, family.folios.mm_1)]
            mm_slots[frozenset((region, *pair) for pair in mapped)] = (
                *(None if owner < 0 else owner for owner in owners),
                bool(family.folios.maybe_shared[folio]),
                int(family.folios.order[folio]),
            )
        folio_ids |= set(folio_maps)
        folios[region] = frozenset(frozenset(mapped) for mapped in folio_maps.values())
    folio_ids |= {_folio_at(family, *place) for place in held}
    small_frames |= {place[1:] for place in cached}
    for (layer, slot), holders in in_swap.items():
        assert family.away_counts(np.array([layer]), np.array([slot]))[0] == holders, "swap ptes add up"
    references, orphans = set(), set()
    pins = family.pins
    for number in pins.live():
        region, sharer = divmod(int(pins.row[number]) - replicate * n * k, k)
        if not 0 <= region < n:
            continue
        references |= {
            (number, bool(pins.is_pin[number]), region, sharer, int(pins.slot[number]), int(pins.until[number]))
        }
        if pins.folio[number]:
            folio_ids.add(int(pins.folio[number]))
        elif not pins.layer[number]:
            orphans.add(int(pins.frame[number]))
    assert family.gauge["orphans"][replicate] == len(orphans)
    assert family.gauge["small_frames"][replicate] == len(small_frames)
    assert family.gauge["folios"][replicate] == len(folio_ids)
    assert family.gauge["folio_pages"][replicate] == sum(1 << int(family.folios.order[folio]) for folio in folio_ids)
    assert family.gauge["pmds"][replicate] == len(pmd)
    return {
        "alive": {int(sharer) for sharer in np.flatnonzero(family.alive[replicate])},
        "partition": {r: {slot: frozenset(sets) for slot, sets in by_slot.items()} for r, by_slot in partition.items()},
        "folios": folios,
        "mm_slots": mm_slots,
        "pmd": pmd,
        "exclusive": exclusive,
        "visits": visits,
        "swapped": swapped,
        "cached": sorted((region, slot) for region, _, slot in cached),
        "zero": zero,
        "zeroed": zeroed,
        "references": sorted(item[1:] for item in references),
        "stuck_pages": int(family.gauge["stuck_pages"][replicate]),
        "lru_entries": int(family.lru_entries[replicate]),
        "pages_in_use": int(family.pages_in_use[replicate]),
    }
