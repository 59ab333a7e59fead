"""Layouts made slot by slot, with dicts and sets: the independent way to the arrays of `Layout`."""

from collections import defaultdict

import numpy as np

from thpsweep.model.capture.layout import Layout

P = 512


def board(slots):
    """Set the bits of some slots: bit i % 64 of word i // 64."""
    words = [0] * 8
    for slot in slots:
        words[slot // 64] |= 1 << slot % 64
    return np.array(words, np.uint64)


def slots_of(words):
    """List the slots of a board."""
    return [slot for slot in range(P) if int(words[slot // 64]) >> slot % 64 & 1]


def layout_of(tables, *, swapped=(), huge=(), parent=None, n_regions=None, outside=None, provenance=None):
    """Build a layout from one dict a process: (region, slot) -> (folio, name of a frame); folio 0 is a small page.

    `swapped` holds (process, region, slot), `huge` (process, region); `outside` maps (region, members, folio) to a count.
    """
    n_processes = len(tables)
    n_regions = n_regions or 1 + max(region for table in tables for region, _ in table)
    mappers = defaultdict(set)
    for process, table in enumerate(tables):
        for (region, slot), frame in table.items():
            mappers[region, slot, frame].add(process)
    cells = defaultdict(list)
    for (region, slot, frame), members in mappers.items():
        cells[region, tuple(sorted(members)), frame[0]].append(slot)
    keys = sorted(cells)
    sets = sorted({members for _, members, _ in keys})
    rows = np.zeros((len(sets), n_processes), bool)
    for number, members in enumerate(sets):
        rows[number, list(members)] = True

    def boards(places):
        return np.array(
            [[board(s for p, r, s in places if (p, r) == (process, region)) for region in range(n_regions)]
             for process in range(n_processes)]
        )  # fmt: skip

    return Layout(
        present=boards([(process, *place) for process, table in enumerate(tables) for place in table]),
        swapped=boards(list(swapped)),
        huge=np.array([[(p, r) in huge for r in range(n_regions)] for p in range(n_processes)]),
        cell_region=np.array([region for region, _, _ in keys], np.int32),
        cell_members=np.array([sets.index(members) for _, members, _ in keys], np.int32),
        cell_slots=np.array([board(cells[key]) for key in keys], np.uint64).reshape(-1, 8),
        cell_folio=np.array([folio for _, _, folio in keys], np.int32),
        cell_outside=np.array([(outside or {}).get(key, 0) for key in keys], np.int32),
        members=rows,
        parent=np.array(parent or [0] * n_processes, np.int32),
        provenance=provenance or {"program": "made up", "processes": n_processes},
    )


def random_layout(rng, n_processes, n_regions):
    """Draw a layout: sharing of every shape, holes, swap, and up to two 2 MiB folios a region, mapped whole or in part."""
    tables, swapped, huge = [{} for _ in range(n_processes)], [], set()
    folio = 0
    for region in range(n_regions):
        _draw_small_pages(rng, region, tables, swapped)
        for _ in range(rng.integers(0, 3)):
            folio += 1
            for process in range(n_processes):
                share = rng.choice([0.0, 0.0, 0.3, 1.0, 1.0])
                slots = np.flatnonzero(rng.random(P) < share).tolist()
                if not slots or (process, region) in huge:
                    continue
                tables[process] |= {(region, slot): (folio, "sub") for slot in slots}
                if share == 1.0 and rng.random() < 0.6:
                    huge.add((process, region))
    swapped = [(p, r, s) for p, r, s in swapped if (r, s) not in tables[p]]
    outside = _Outside(rng)
    numbers = {old: new for new, old in enumerate(sorted({f for t in tables for f, _ in t.values()} - {0}), 1)} | {0: 0}
    tables = [{place: (numbers[frame[0]], frame[1]) for place, frame in table.items()} for table in tables]
    parent = [0, *(int(rng.integers(0, child)) for child in range(1, n_processes))]
    return layout_of(tables, swapped=swapped, huge=huge, parent=parent, n_regions=n_regions, outside=outside)


class _Outside(dict):
    """Draw how many mappers outside of the tree a cell has."""

    def __init__(self, rng):
        super().__init__()
        self.rng = rng

    def __bool__(self):
        return True

    def get(self, key, default=None):
        return int(self.rng.choice([0, 0, 0, 1, 7]))


def _draw_small_pages(rng, region, tables, swapped):
    """Give runs of slots, and single ones, a random partition of the processes into sharers, holes and swap entries."""
    slot = 0
    while slot < P:
        run = int(rng.choice([1, 2, 30, 200]))
        labels = rng.integers(-2, len(tables) + 1, len(tables))
        if rng.random() < 0.4:
            labels[:] = 1  # all share
        for process, label in enumerate(labels.tolist()):
            for place in range(slot, min(slot + run, P)):
                if label > 0:
                    tables[process][region, place] = (0, label)
                elif label == -1:
                    swapped.append((process, region, place))
        slot += run
