"""The slow twin on random families: invariants, and mechanisms that have to end alike."""

import pytest
from hypothesis import given

from tests.reference.families import play_tick, play_trigger, random_family, random_script
from tests.reference.shapes import (
    FAMILIES,
    SEEDS,
    frames_of,
    shared_by,
    write_slots,
)
from tests.reference.twin import Twin
from tests.reference.twin_khugepaged import Khugepaged
from tests.reference.twin_scan import ONE_MM

# ---- random families -------------------------------------------------------------------------------------------------


@FAMILIES
@given(SEEDS)
def test_invariants_hold_after_every_step_of_a_random_script(seed):
    family = random_family(seed)
    script = random_script(seed, family, 5)
    twin, daemon = Twin(*family), Khugepaged(**script["khugepaged"])
    for tick in script["ticks"]:
        triggers = tick["triggers"]
        play_tick(twin, daemon, {**tick, "triggers": []})
        twin.check_invariants()
        for trigger in triggers:
            play_trigger(twin, daemon, trigger)
            twin.check_invariants()


@FAMILIES
@given(SEEDS)
def test_a_script_replays_to_the_same_counts_and_state(seed):
    family = random_family(seed)
    script = random_script(seed, family, 3)
    assert script == random_script(seed, random_family(seed), 3)
    ends = []
    for _ in range(2):
        twin, daemon = Twin(*family), Khugepaged(**script["khugepaged"])
        for tick in script["ticks"]:
            play_tick(twin, daemon, tick)
        ends.append((twin.counts, twin.outcomes, twin.snapshot()))
    assert ends[0] == ends[1]


def but_for_swap(rows, before):
    """Leave out what was in swap before: an attempt that fails later has read it."""
    return {
        key: ({s: f for s, f in frames.items() if s not in before[key][1]}, exclusive - before[key][1].keys(), pmd)
        for key, (frames, _, exclusive, pmd) in rows.items()
    }


@FAMILIES
@given(SEEDS)
def test_what_does_not_succeed_leaves_every_pte_as_found(seed):
    family = random_family(seed)
    script = random_script(seed, family, 4, triggers=("collapse",))
    twin, daemon = Twin(*family), Khugepaged(**script["khugepaged"])
    for tick in script["ticks"]:
        play_tick(twin, daemon, {**tick, "triggers": []})
        for trigger in tick["triggers"]:
            before = frames_of(twin)
            outcome, _, _ = play_trigger(twin, daemon, trigger)
            if outcome == "PAGE_COUNT" and trigger["mechanism"] == "unshare":
                continue  # what it unshared before it met the reference stays unshared
            assert outcome == "SUCCEED" or but_for_swap(frames_of(twin), before) == but_for_swap(before, before)


@FAMILIES
@given(SEEDS)
def test_all_sharers_mechanisms_part_nobody_and_the_others_only_the_caller(seed):
    family = random_family(seed)
    script = random_script(seed, family, 4, triggers=("collapse",))
    twin, daemon = Twin(*family), Khugepaged(**script["khugepaged"])
    for tick in script["ticks"]:
        play_tick(twin, daemon, {**tick, "triggers": []})
        for trigger in tick["triggers"]:
            region, caller = trigger["region"], trigger["sharer"]
            before, others = twin.partition(region), frames_of(twin)
            outcome, _, _ = play_trigger(twin, daemon, trigger)
            if outcome != "SUCCEED":
                continue
            if trigger["mechanism"] in ONE_MM:
                others.pop((region, caller))
                assert {key: value for key, value in frames_of(twin).items() if key in others} == others
            else:
                after = twin.partition(region)
                assert all(groups <= after[slot] for slot, groups in before.items())


@FAMILIES
@given(SEEDS)
def test_switch_ends_where_inplace_ends_but_for_exclusive_pages(seed):
    family = random_family(seed, folio_share=0.0, swapped_share=0.0)
    ends, filled = [], []
    for mechanism in ("inplace", "switch"):
        twin = Twin(*family)
        sharer = min(twin.alive)
        outcome, _, _ = twin.collapse(mechanism, 0, sharer)
        end = twin.snapshot()
        sources = twin.present(0, sharer)
        exclusive = end.pop("exclusive")
        filled.append({key: slots - sources if key == (0, sharer) else slots for key, slots in exclusive.items()})
        ends.append((outcome, end))
    assert ends[0] == ends[1]
    assert filled[0] == filled[1]


def test_a_process_reads_what_it_wrote_after_everything():
    # The checker itself: a page table that leads to another's page is found.
    twin = shared_by(2, [4])
    write_slots(twin, 1, [4])
    twin.rows[0, 0].frames[4].content = twin.rows[0, 1].frames[4].content
    with pytest.raises(AssertionError, match="reads"):
        twin.check_invariants()


@pytest.mark.parametrize(("young", "outcome"), [(255, "LACK_REFERENCED_PAGE"), (256, "SUCCEED")])
def test_half_must_be_young_where_a_page_is_swapped(young, outcome):
    """Seen on Linux 6.18: with 64 swapped and 255 young refused, with 256 young collapsed."""
    twin = Twin(1, 1, [(0, (0,), range(64, 512), 0)], {(0, 0): set(range(64))})
    assert twin.collapse("copy", 0, 0, khugepaged=True, max_ptes_swap=64, young=young)[0] == outcome


@FAMILIES
@given(SEEDS)
def test_unshare_ends_where_copy_ends(seed):
    family = random_family(seed)
    ends = []
    for mechanism in ("copy", "unshare"):
        twin = Twin(*family)
        outcome, progress, attempted = twin.collapse(mechanism, 0, min(twin.alive))
        ends.append((outcome, progress, attempted, twin.snapshot(), twin.counts["sharing_lost_pages"]))
    assert ends[0] == ends[1]


def test_a_late_reference_leaves_unshare_with_pages_of_its_own():
    twin = shared_by(3, range(512))
    assert twin.collapse("unshare", 0, 1, race_slot=100)[0] == "PAGE_COUNT"
    assert twin.partition(0)[7] == {frozenset({0, 2}), frozenset({1})}
    assert (twin.counts["ptes_unshared"], twin.counts["sharing_lost_pages"]) == (512, 512)
    assert twin.counts["migration_entries_set"] == twin.counts["ptes_restored"] == 101
    assert twin.counts["wasted_pte_updates"] == 512 + 2 * 101
    assert (twin.counts["pmd_writes"], twin.lru_entries()) == (0, 1024)


def test_retract_maps_a_pmd_only_where_nothing_else_is_mapped():
    twin = shared_by(4, range(512))
    write_slots(twin, 1, [9])
    assert twin.collapse("retract", 0, 0)[0] == "SUCCEED"
    assert twin.pmd_rows() == {(0, 0), (0, 2), (0, 3)}
    assert twin.counts["ptes_cleared"] == 4 * 512 - 1
    assert (twin.counts["ptes_refaulted"], twin.counts["page_tables_freed"]) == (511, 3)
    assert (twin.counts["pmd_writes"], twin.counts["tlb_flushes"]) == (6, 4)


def test_retract_leaves_a_hole_over_a_page_alone():
    twin = Twin(1, 2, [(0, (0, 1), range(511), 0), (0, (0,), [511], 0)])
    assert twin.collapse("retract", 0, 0)[0] == "SUCCEED"
    assert twin.pmd_rows() == {(0, 0)}
    twin.check_invariants()
