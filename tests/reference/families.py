"""Draw small random families and event scripts as plain data, to replay on the twin and on what claims to equal it.

A script is {"khugepaged": {pages_to_scan, max_ptes_*}, "ticks": [tick, ...]}; a tick is
    {"tick": number, "exits": [sharer], "forks": [(parent, child)],
     "references": [(FOLL_PIN?, region, sharer, slot, until)], "writes": [(region, sharer, slot)],
     "reclaims": [(region, sharer, slot, young?)], "triggers": [trigger]}
and is played in this order; long references that end with a tick end before new ones begin. References of one kind, and
writes, have no duplicates but may name the dead. A trigger is one of
    {"do": "collapse", "mechanism", "region", "sharer", "arguments": {keyword: value}, "options": {name: value}}
    {"do": "khugepaged", "mechanism", "options", "inputs": {(region, sharer): (young, extra_reference, race_slot)},
     "locked": {(region, sharer) where a trylock of the mm fails}}
    {"do": "madvise", "mechanism", "options", "callers", "inputs"}
"""

import random
import types
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.reference.twin import Twin
from tests.reference.twin_frames import Row
from tests.reference.twin_khugepaged import Khugepaged, madvise
from tests.reference.twin_mechanisms import NOBODY
from thpsweep.units import HPAGE_PMD_NR

MECHANISMS = ("copy", "unshare", "inplace", "inplace_pmd", "switch", "switch_pmd", "retract", "shared_table")
OPTIONS = {
    "walk": ("per_page", "per_range"),
    "switch_walk": ("per_page", "per_range", "overwrite"),
    "slots_per_slice": (1, 7, 64, 512),
    "check": ("per_page", "after_batch"),
    "deposit": ("old_table", "fresh_table"),
    "order": (2, 3, 4, 6, 8),
}
OPTIONS_OF = {
    "none": (),
    "copy": ("order",),
    "unshare": (),
    "retract": ("walk",),
    "switch": ("switch_walk", "slots_per_slice", "order"),
    "switch_pmd": ("switch_walk", "slots_per_slice", "deposit"),
    "inplace": ("walk", "check", "order"),
    "inplace_pmd": ("walk", "check", "deposit"),
    "shared_table": ("walk", "check"),
}
Use = tuple[str, int]
"""What a sharer has in a slot: ("none", 0), ("swapped", 0), ("small", group) or ("folio", number)."""


class Family(NamedTuple):
    """Be the arguments of Twin: `Twin(*family)`."""

    n_regions: int
    n_sharers: int
    cells: list[tuple[int, tuple[int, ...], list[int], int]]
    swapped: dict[tuple[int, int], set[int]]
    pmd: set[tuple[int, int]]
    alive: set[int]
    orders: Mapping[int, int] = types.MappingProxyType({})
    """Order of each folio that is not of 2 MiB."""


# ---- families -------------------------------------------------------------------------------------------------------


def random_family(
    seed: int,
    *,
    max_regions: int = 3,
    max_sharers: int = 6,
    dense_share: float = 0.4,
    folio_share: float = 0.4,
    swapped_share: float = 0.4,
    all_alive: bool = False,
) -> Family:
    """Draw a family: dense and sparse regions, sharing of any shape, holes, swap, PMD-mapped and pte-mapped folios.

    `dense_share` of the regions use all 512 slots, `folio_share` have 2 MiB folios, `swapped_share` have swapped slots.
    """
    rng = random.Random(f"family {seed}")
    n_regions, n_sharers = rng.randint(1, max_regions), rng.randint(2, max_sharers)
    alive = set(range(n_sharers))
    if not all_alive and rng.random() < 0.7:  # the others are free to be forked
        alive = set(rng.sample(range(n_sharers), rng.randint(1, n_sharers)))
    slots_of: defaultdict[tuple[int, tuple[int, ...], int], list[int]] = defaultdict(list)
    swapped: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    pmd: set[tuple[int, int]] = set()
    orders: dict[int, int] = {}
    next_folio = 1
    for region in range(n_regions):
        folios = []
        if rng.random() < folio_share:
            folios = list(range(next_folio, next_folio + rng.choice((1, 1, 2))))
            next_folio += len(folios)
        with_swap = rng.random() < swapped_share
        uses_of, huge = _random_region(rng, sorted(alive), folios, with_swap, rng.random() < dense_share)
        pmd |= {(region, sharer) for sharer in huge}
        if rng.random() < folio_share / 2:
            small = _small_folios(rng, uses_of, next_folio)
            orders |= small
            next_folio += len(small)
        for slot, uses in uses_of.items():
            members: defaultdict[Use, list[int]] = defaultdict(list)
            for sharer, use in uses.items():
                members[use].append(sharer)
            for (kind, number), sharers in members.items():
                if kind == "swapped":
                    for sharer in sharers:
                        swapped[region, sharer].add(slot)
                elif kind != "none":
                    slots_of[region, tuple(sharers), number if kind == "folio" else 0].append(slot)
    cells = [(region, sharers, slots, folio) for (region, sharers, folio), slots in slots_of.items()]
    return Family(n_regions, n_sharers, cells, dict(swapped), pmd, alive, orders)


def _random_region(
    rng: random.Random, alive: list[int], folios: list[int], with_swap: bool, dense: bool
) -> tuple[dict[int, dict[int, Use]], dict[int, int]]:
    """Draw what each living sharer has in each used slot, and which sharers map which folio by a PMD."""
    huge = {sharer: rng.choice(folios) for sharer in alive if folios and rng.random() < 0.4}
    kinds = ["none", "small", "small", "small"] + ["folio"] * 3 * bool(folios) + ["swapped"] * with_swap
    patterns = [
        {sharer: _random_use(rng, rng.choice(kinds), folios) for sharer in alive}
        for _ in range(rng.choice((1, 1, 2, 3, 5)))
    ]
    if dense and rng.random() < 0.4:  # the plain case: everybody shares everything
        patterns[0] = {sharer: ("small", 0) for sharer in alive}
    slots = list(range(HPAGE_PMD_NR)) if dense else rng.sample(range(HPAGE_PMD_NR), rng.randint(0, 24))
    # The first pattern rules, the others take a few slots each: real regions are alike nearly everywhere.
    uses_of = {slot: dict(patterns[0]) for slot in sorted(slots)}
    for pattern in patterns[1:]:
        for slot in rng.sample(slots, min(len(slots), rng.choice((1, 2, 8, 64, 256)))):
            uses_of[slot] = dict(pattern)
    if huge:
        rest: dict[int, Use] = {sharer: ("none", 0) for sharer in alive}
        uses_of = {slot: uses_of.get(slot, dict(rest)) for slot in range(HPAGE_PMD_NR)}
        for uses in uses_of.values():
            uses.update({sharer: ("folio", number) for sharer, number in huge.items()})
    return uses_of, huge


def _small_folios(rng: random.Random, uses_of: dict[int, dict[int, Use]], first: int) -> dict[int, int]:
    """Let what some blocks' sharers have as one small frame a slot be folios below 2 MiB; give their orders."""
    orders: dict[int, int] = {}
    for _ in range(rng.choice((1, 3, 20))):
        if not uses_of:
            break
        order, group, slot = rng.choice((2, 3, 4, 4, 6, 8)), rng.choice((0, 0, 1)), rng.choice(sorted(uses_of))
        number, block = first + len(orders), range(slot >> order << order, (slot >> order) + 1 << order)
        for uses in (uses_of[slot] for slot in block if slot in uses_of):
            for sharer, use in uses.items():
                if use == ("small", group):
                    uses[sharer], orders[number] = ("folio", number), order
    return orders


def _random_use(rng: random.Random, kind: str, folios: list[int]) -> Use:
    if kind == "small":
        return kind, rng.choice((0, 0, 0, 1, 2))
    if kind == "folio":
        return kind, rng.choice(folios)
    return kind, 0


# ---- scripts --------------------------------------------------------------------------------------------------------


def random_script(
    seed: int,
    family: Family,
    n_ticks: int,
    *,
    mechanisms: tuple[str, ...] = MECHANISMS,
    triggers: tuple[str, ...] = ("collapse", "collapse", "collapse", "khugepaged", "madvise"),
    with_races: bool = True,
) -> dict[str, Any]:
    """Draw a script that fits the family: only the living exit, fork and collapse; limits are often met exactly.

    A twin runs along, so that limits and race slots can be drawn from the state that they will meet.
    """
    rng = random.Random(f"script {seed}")
    twin = Twin(*family)
    settings = {
        "pages_to_scan": rng.choice((1, 2, 100, 513, 514, 1026, 4096)),
        "max_ptes_none": rng.choice((0, 255, 256, 511, 511)),
        "max_ptes_swap": rng.choice((0, 1, 64, 511)),
        "max_ptes_shared": rng.choice((0, 255, 256, 511, 511)),
    }
    daemon = Khugepaged(**settings)
    ticks = []
    with_references = rng.random() < 0.6
    for number in range(n_ticks):
        tick: dict[str, Any] = {**NOTHING, "tick": number, "triggers": []}
        tick["exits"], tick["forks"] = _random_turnover(rng, twin)
        tick["references"] = _random_references(rng, twin, number) if with_references else []
        play_tick(twin, daemon, tick)
        writes = _random_writes(rng, twin)
        play_tick(twin, daemon, {**NOTHING, "writes": writes})
        tick["writes"] = writes
        tick["reclaims"] = _random_reclaims(rng, twin)
        play_tick(twin, daemon, {**NOTHING, "reclaims": tick["reclaims"]})
        for _ in range(rng.choice((0, 1, 1, 2))):
            trigger = _random_trigger(rng, twin, rng.choice(triggers), rng.choice(mechanisms), with_races)
            play_tick(twin, daemon, {**NOTHING, "triggers": [trigger]})
            tick["triggers"].append(trigger)
        ticks.append(tick)
    return {"khugepaged": settings, "ticks": ticks}


NOTHING: dict[str, Any] = {
    "tick": -1,
    "exits": [],
    "forks": [],
    "references": [],
    "writes": [],
    "reclaims": [],
    "triggers": [],
}


def play_tick(twin: Twin, daemon: Khugepaged, tick: dict[str, Any]) -> None:
    """Play one tick on the twin: exits, forks, ends and begins of long references, writes, triggers."""
    for sharer in tick["exits"]:
        twin.exit(sharer)
    for parent, child in tick["forks"]:
        twin.fork(parent, child)
    twin.expire(tick["tick"])
    twin.take_references(tick["references"])
    twin.write(tick["writes"])
    if tick["reclaims"]:
        twin.reclaim(tick["reclaims"], daemon.limits["max_ptes_none"])
    for trigger in tick["triggers"]:
        play_trigger(twin, daemon, trigger)


def play_trigger(twin: Twin, daemon: Khugepaged, trigger: dict[str, Any]) -> Any:
    """Play one trigger on the twin; return what the call returned."""
    mechanism, options = trigger["mechanism"], trigger["options"]
    if trigger["do"] == "collapse":
        return twin.collapse(mechanism, trigger["region"], trigger["sharer"], **trigger["arguments"], **options)
    drawn = trigger["inputs"]
    if trigger["do"] == "khugepaged":
        return daemon.pass_(twin, mechanism, options, lambda region, sharer: drawn[region, sharer], trigger["locked"])
    return madvise(twin, mechanism, options, lambda region, sharer: drawn[region, sharer], trigger["callers"])


def _random_turnover(rng: random.Random, twin: Twin) -> tuple[list[int], list[tuple[int, int]]]:
    alive = sorted(twin.alive)
    n_exits = rng.choice((0, 0, 0, 1, 1, 2))
    exits = rng.sample(alive, min(n_exits, len(alive) - 1))  # somebody has to stay to fork from
    forks = []
    living = [sharer for sharer in alive if sharer not in exits]
    for child in rng.sample(range(twin.n_sharers), twin.n_sharers):
        if child not in living and rng.random() < 0.4:
            forks.append((rng.choice(living), child))
            living.append(child)
    return exits, forks


def _random_references(rng: random.Random, twin: Twin, number: int) -> list[tuple[bool, int, int, int, int]]:
    """Draw a few long references, or a run of them, of one kind or of both; most in slots that are used."""
    wanted: dict[tuple[bool, int, int, int], int] = {}
    for _ in range(rng.choice((0, 0, 1, 2))):
        region, sharer = rng.choice(sorted(twin.rows))
        row = twin.rows[region, sharer]
        used = sorted(row.frames.keys() | row.swapped.keys()) or [7]
        first = rng.choice(used) if rng.random() < 0.9 else rng.randrange(HPAGE_PMD_NR)
        is_pin, until = rng.random() < 0.5, number + rng.choice((1, 1, 2, 3, 100))
        for slot in range(first, min(first + rng.choice((1, 1, 2, 64)), HPAGE_PMD_NR)):
            wanted[is_pin, region, sharer, slot] = until
    return sorted((*key, until) for key, until in wanted.items())


def _random_reclaims(rng: random.Random, twin: Twin) -> list[tuple[int, int, int, bool]]:
    """Draw where reclaim comes to: mostly nowhere, sometimes to a page or two, sometimes to many."""
    wanted = {}
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        region, sharer = rng.choice(sorted(twin.rows))
        used = sorted(twin.rows[region, sharer].frames) or [7]
        for slot in rng.sample(used, min(len(used), rng.choice((1, 1, 3, 64)))):
            wanted[region, sharer, slot] = rng.random() < 0.2
    # A folio is young or not, whichever page of it reclaim comes for.
    judged: dict[object, bool] = {}
    for (region, sharer, slot), young in wanted.items():
        frame = twin.rows[region, sharer].frames.get(slot)
        if frame is not None:
            wanted[region, sharer, slot] = judged.setdefault(frame.folio or frame, young)
    return sorted((*key, young) for key, young in wanted.items())


def _random_writes(rng: random.Random, twin: Twin) -> list[tuple[int, int, int]]:
    writes: set[tuple[int, int, int]] = set()
    for key, row in twin.rows.items():
        used = sorted(row.frames.keys() | row.swapped.keys())
        how = rng.choice(("no", "no", "no", "few used", "few used", "few", "half", "all used", "all"))
        if how == "few used" and used:
            slots = rng.sample(used, min(len(used), rng.randint(1, 5)))
        elif how == "few":
            slots = rng.sample(range(HPAGE_PMD_NR), rng.randint(1, 3))
        elif how == "half":
            slots = used[: len(used) // 2]
        elif how == "all used":
            slots = used
        elif how == "all" and rng.random() < 0.2:
            slots = list(range(HPAGE_PMD_NR))
        else:
            slots = []
        writes |= {(*key, slot) for slot in slots}
    return sorted(writes)


def _random_trigger(rng: random.Random, twin: Twin, do: str, mechanism: str, with_races: bool) -> dict[str, Any]:
    drawn = {name: rng.choice(OPTIONS[name]) for name in OPTIONS_OF[mechanism] if rng.random() < 0.5}
    options = {name.removeprefix("switch_"): value for name, value in drawn.items()}
    trigger: dict[str, Any] = {"do": do, "mechanism": mechanism, "options": options}
    if do == "collapse":
        region, sharer = rng.randrange(twin.n_regions), rng.choice(sorted(twin.alive))
        row = twin.rows[region, sharer]
        young, extra_reference, race_slot = _random_inputs(rng, row, with_races)
        arguments: dict[str, Any] = {"young": young, "extra_reference": extra_reference, "race_slot": race_slot}
        arguments["khugepaged"] = rng.random() < 0.7
        if arguments["khugepaged"]:
            arguments.update(_random_limits(rng, row))
        return {**trigger, "region": region, "sharer": sharer, "arguments": arguments}
    if do == "madvise":
        trigger["callers"] = rng.choice(("all", "root"))
    if do == "khugepaged":
        places = [(r, s) for r in range(twin.n_regions + 1) for s in range(twin.n_sharers)]
        trigger["locked"] = set(rng.sample(places, rng.choice((0, 0, 1, len(places) // 4))))
    # Also for those who do not live: a daemon of its own may look them up in any order.
    return {**trigger, "inputs": {key: _random_inputs(rng, row, with_races) for key, row in twin.rows.items()}}


def _random_inputs(rng: random.Random, row: Row, with_races: bool) -> tuple[int, bool, int]:
    race_slot = NOBODY
    if with_races and rng.random() < 0.25:
        present = sorted(row.frames)
        race_slot = rng.choice(present) if present and rng.random() < 0.8 else rng.randrange(HPAGE_PMD_NR)
    young = rng.choice((0, 1, 255, 256, 512, 512, 512, 512, 512, 512))
    return young, rng.random() < 0.1, race_slot


def _random_limits(rng: random.Random, row: Row) -> dict[str, int]:
    """Draw limits: free ones, or the very count that the scan will meet, or one less."""
    shared = sum(f.mapcount > 1 if f.folio is None else f.folio.maybe_mapped_shared() for f in row.frames.values())
    met = {
        "max_ptes_none": len(row.none_slots()),
        "max_ptes_swap": len(row.swapped),
        "max_ptes_shared": shared,
    }
    limits = {}
    for name, count in met.items():
        limits[name] = rng.choice((HPAGE_PMD_NR - 1, HPAGE_PMD_NR, count, count, max(0, count - 1)))
        if rng.random() < 0.1:
            limits[name] = rng.randint(0, HPAGE_PMD_NR)
    return limits
