"""The scenario API itself: its example, and that random actions leave a state that adds up and betrays nobody."""

import doctest
import random
from collections.abc import Callable

import numpy as np
import pytest

from tests.model.replay import Replay, snapshot
from tests.reference.families import random_family, random_script
from thpsweep.model import bits, registry
from thpsweep.model.mm import madvise
from thpsweep.model.scenario import scenario
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario

ACTIVE = [name for name, cls in registry.options("mechanism").items() if cls.active]


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(scenario) == (0, 9)


def check(scene: Scenario) -> None:
    """Assert what holds between any two actions: contents, mapcounts and every total."""
    assert scene.intact
    snapshot(scene.family)  # asserts mapcounts, folio mappings and most gauges by walking every row
    small = large = 0
    for process in scene.living:
        frames, layers, slots = process.frames, scene.ledger.places(process._rows) >> 32, np.arange(1024) % 512
        assert np.array_equal(process.mapcounts > 0, frames != 0)
        subpages = (bits.expand(scene.family.layers.compound[layers])[np.arange(1024), slots] != 0) & (frames != 0)
        by_pte = ~np.repeat([process.is_huge(0), process.is_huge(1)], 512)
        small += int(np.count_nonzero((frames != 0) & ~subpages))
        large += int(np.count_nonzero(subpages & by_pte))
    assert scene.family.gauge["small_ptes"][0] == small
    assert scene.family.gauge["compound_ptes"][0] == large


def span(rng: random.Random) -> range:
    """Draw pages: a few, many, or a whole region."""
    first, step = rng.randrange(1024), rng.choice([1, 1, 3])
    length = rng.choice([1, 5, 60, 400, 512])
    return range(512, 1024) if length == 512 else range(first, min(1024, first + length * step), step)


def act(rng: random.Random, scene: Scenario, process: Process) -> None:
    """Do one random thing."""
    empty = [region for region in range(2) if not process.frames[region * 512 : region * 512 + 512].any()]
    for board in ("swapped", "zero"):
        empty = [region for region in empty if not process._has(board)[region * 512 : region * 512 + 512].any()]
    actions: list[Callable[[], object]] = [
        lambda: process.write(span(rng)),
        lambda: process.write(span(rng)),
        lambda: process.read(span(rng)),
        lambda: process.discard(span(rng)),
        lambda: process.page_out(span(rng)),
        lambda: process.split(rng.randrange(2)),
        lambda: process.collapse(rng.choice(ACTIVE), regions=[rng.randrange(2)]),
        lambda: scene.khugepaged(rng.choice(ACTIVE), full_scans=1, max_ptes_none=rng.choice([0, 400, 511])),
    ]
    if empty:
        actions.append(lambda: process.huge(empty[0]))
    if len(scene.processes) < scene.family.n_sharers:
        actions += [process.fork] * 2
    if len(scene.living) > 1:
        actions.append(process.exit)
    rng.choice(actions)()


@pytest.mark.parametrize("seed", range(30))
def test_random_actions_leave_a_state_that_adds_up(seed: int) -> None:
    rng = random.Random(seed)
    scene = Scenario(regions=2)
    scene.process().write(range(700))
    for _ in range(25):
        act(rng, scene, rng.choice(scene.living))
        check(scene)


def test_a_zap_costs_what_it_clears() -> None:
    scene = Scenario(regions=2)
    process = scene.process()
    process.huge(0)
    process.write(range(512, 522))
    process.discard(range(1024))
    count = {name: int(values[0]) for name, values in scene.counts.total.items()}
    assert (count["exit_pmds"], count["exit_ptes_small"], count["pmd_splits"]) == (1, 10, 0)
    assert (scene.pages_in_use, process.rss_kib) == (0, 0)
    process.huge(0)
    process.discard(range(100))
    count = {name: int(values[0]) for name, values in scene.counts.total.items()}
    assert (count["exit_ptes_compound"], count["pmd_splits"], count["huge_faults"]) == (100, 1, 2)
    assert (scene.pages_in_use, process.rss_kib) == (512, 412 * 4)


@pytest.mark.parametrize(("pages", "splits", "left"), [(512, 0, 0), (511, 1, 1), (1, 1, 511)])
def test_a_folio_is_split_only_where_a_part_is_paged_out(pages: int, splits: int, left: int) -> None:
    scene = Scenario()
    process = scene.process()
    process.huge()
    before = process.frames
    process.page_out(range(pages))
    assert (scene.counts.total["folio_splits"][0], scene.counts.total["swap_outs"][0]) == (splits, pages)
    assert (scene.pages_in_use, scene.lru_entries, process.swap_kib) == (left, left, 4 * pages)
    assert np.array_equal(process.frames[pages:], before[pages:]) and scene.intact


def test_a_partly_dead_folio_is_split_and_its_dead_pages_are_freed() -> None:
    scene = Scenario()
    process = scene.process()
    process.huge()
    process.discard(range(500))
    process.page_out(range(512))
    assert (scene.counts.total["folio_splits"][0], scene.counts.total["swap_outs"][0]) == (1, 12)
    assert scene.pages_in_use == 0


def test_pages_of_a_folio_that_another_still_maps_are_not_paged_out() -> None:
    scene = Scenario()
    process = scene.process()
    process.huge()
    child = process.fork()
    child.discard(range(511))
    process.page_out(range(100))
    assert process.swap_kib == 0 and process.is_huge()
    child.exit()
    process.page_out(range(100))
    assert process.swap_kib == 400


def test_thp_at_fault_needs_an_empty_page_table() -> None:
    process = Scenario().process()
    process.write([3])
    with pytest.raises(ValueError, match="empty page table"):
        process.huge()


@pytest.mark.parametrize("seed", range(10))
def test_replicates_take_advice_side_by_side(seed: int) -> None:
    drawn = random_family(seed, all_alive=True)
    replay = Replay(drawn, random_script(seed, drawn, 1)["khugepaged"], n_replicates=2)
    family, rng = replay.family, random.Random(seed)
    rows = np.concatenate([family.rows_of(replicate, 0) for replicate in range(2)])
    chosen = rng.sample(range(512), 200)
    boards = bits.from_pairs(rows.size, np.repeat(np.arange(rows.size), 200), np.tile(chosen, rows.size))
    madvise.page_out(family, replay.counts, rows, boards)
    assert snapshot(family, 0) == snapshot(family, 1)
    madvise.discard(family, replay.counts, rows, boards)
    assert snapshot(family, 0) == snapshot(family, 1)
    assert not (family.records.present[family.record_of[rows]] & boards).any()
