"""The slow twin's mechanisms against closed forms, and what a late reference undoes."""

import pytest

from tests.reference.shapes import (
    FULL,
    frames_of,
    parent_alone,
    ptes_changed,
    shared_by,
    write_slots,
)
from tests.reference.twin import Twin
from tests.reference.twin_scan import ALL_SHARERS

# ---- closed forms: N fully mapped sharers ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 16, 195])
def test_inplace_sets_and_restores_512_entries_a_sharer(n):
    twin = shared_by(n)
    assert twin.collapse("inplace", 0, 0) == ("SUCCEED", 512, True)
    assert twin.counts["migration_entries_set"] == twin.counts["ptes_restored"] == 512 * n
    assert (twin.counts["rmap_walks"], twin.counts["vmas_visited"]) == (2 * 512, 2 * 512 * n)
    assert (twin.counts["tlb_flushes"], twin.counts["pmd_writes"], twin.counts["global_syncs"]) == (1, 0, 0)


def test_195_sharers_are_the_hundred_thousand_of_the_seed_mail():
    twin = shared_by(195)
    twin.collapse("inplace", 0, 0)
    assert ptes_changed(twin) == {"ptes_restored": 99_840}
    assert twin.counts["migration_entries_set"] == 99_840


@pytest.mark.parametrize("n", [2, 16, 195])
def test_inplace_pmd_clears_another_512_a_sharer(n):
    twin = shared_by(n)
    twin.collapse("inplace_pmd", 0, 0)
    assert (
        twin.counts["migration_entries_set"] == twin.counts["ptes_restored"] == twin.counts["ptes_cleared"] == 512 * n
    )
    assert (twin.counts["pmd_writes"], twin.counts["tlb_flushes"], twin.counts["global_syncs"]) == (2 * n, 1 + n, n)
    assert twin.pmd_rows() == {(0, sharer) for sharer in range(n)}


def test_a_fresh_table_needs_no_global_sync():
    twin = shared_by(7)
    twin.collapse("inplace_pmd", 0, 0, deposit="fresh_table")
    assert (twin.counts["global_syncs"], twin.counts["pmd_writes"]) == (0, 14)


@pytest.mark.parametrize("n", [2, 16, 195])
def test_switch_changes_512_ptes_a_sharer_once(n):
    twin = shared_by(n)
    twin.collapse("switch", 0, 0)
    assert ptes_changed(twin) == {"ptes_switched": 512 * n}
    assert (twin.counts["tlb_flushes"], twin.counts["rmap_walks"], twin.counts["vmas_visited"]) == (n, 1, n)


@pytest.mark.parametrize(
    ("options", "flushes", "walks"),
    [
        ({"slots_per_slice": 512}, 7, 1),
        ({"slots_per_slice": 64}, 7 * 8, 1),
        ({"slots_per_slice": 100}, 7 * 6, 1),
        ({"slots_per_slice": 1}, 7 * 512, 1),
        ({"walk": "per_page", "slots_per_slice": 64}, 7 * 512, 512),
        ({"walk": "overwrite"}, 7, 1),
        ({"walk": "overwrite", "slots_per_slice": 64}, 7, 1),
    ],
)
def test_what_switch_flushes_depends_on_its_walk(options, flushes, walks):
    twin = shared_by(7)
    twin.collapse("switch", 0, 0, **options)
    assert (twin.counts["tlb_flushes"], twin.counts["rmap_walks"], twin.counts["vmas_visited"]) == (
        flushes, walks, 7 * walks,
    )  # fmt: skip
    assert ptes_changed(twin) == {"ptes_switched": 512 * 7}


@pytest.mark.parametrize("mechanism", ALL_SHARERS)
@pytest.mark.parametrize("n", [1, 5])
def test_all_sharers_mechanisms_take_511_entries_off_the_lru_and_keep_the_sharing(mechanism, n):
    twin = shared_by(n)
    before = twin.partition(0)
    assert twin.lru_entries() == 512
    twin.collapse(mechanism, 0, 0)
    assert (twin.lru_entries(), twin.pages_in_use()) == (1, 512)
    assert twin.partition(0) == before
    assert {twin.mapcount(0, s, slot) for s in range(n) for slot in FULL} == {n}
    assert (twin.counts["pages_copied"], twin.counts["bloat_pages"]) == (512, 0)


@pytest.mark.parametrize("n", [1, 2, 195])
def test_copy_costs_the_same_for_any_number_of_sharers_and_loses_the_sharing(n):
    twin = shared_by(n)
    twin.collapse("copy", 0, 0)
    assert ptes_changed(twin) == {"ptes_cleared": 512}
    assert (twin.counts["pmd_writes"], twin.counts["tlb_flushes"], twin.counts["global_syncs"]) == (2, 1, 1)
    assert twin.counts["sharing_lost_pages"] == (512 if n > 1 else 0)
    assert (twin.lru_entries(), twin.pages_in_use()) == ((513, 1024) if n > 1 else (1, 512))
    assert twin.exclusive(0, 0) == set(FULL)


def test_a_walk_over_the_range_replaces_one_walk_a_page():
    twin = shared_by(9)
    twin.collapse("inplace", 0, 0, walk="per_range")
    assert (twin.counts["rmap_walks"], twin.counts["vmas_visited"]) == (2, 18)
    for walk, walks in (("per_range", 1), ("per_page", 512)):
        twin = shared_by(9)
        twin.collapse("switch", 0, 0, walk=walk)
        assert (twin.counts["rmap_walks"], twin.counts["vmas_visited"]) == (walks, 9 * walks)


def test_a_page_is_looked_for_in_the_process_that_made_it_and_its_descendants():
    twin = parent_alone(range(10), n_sharers=4)
    twin.fork(0, 1)
    twin.fork(0, 2)
    twin.exit(1)
    write_slots(twin, 0, range(4))  # made after the fork: the child's VMA is in the tree all the same
    twin.fork(2, 3)
    write_slots(twin, 2, [20])  # the child's own: only its child is visited besides
    assert twin.visits(0, 0) == dict.fromkeys(range(10), 3)
    assert twin.visits(0, 2) == {**dict.fromkeys(range(10), 3), 20: 2}
    twin.exit(3)
    twin.collapse("inplace", 0, 0)
    assert twin.counts["vmas_visited"] == 2 * 10 * 2
    assert twin.counts["migration_entries_set"] == 4 * 1 + 6 * 2


@pytest.mark.parametrize("mechanism", ALL_SHARERS)
def test_a_subpage_inherits_its_sources_anon_vma(mechanism):
    twin = parent_alone(range(10))
    twin.fork(0, 1)
    write_slots(twin, 1, [20])
    twin.collapse(mechanism, 0, 1)
    frames = twin.rows[0, 1].frames
    assert {slot: len([s for s in twin.alive if frames[slot].anon_vma in twin.trees[s]]) for slot in (0, 20)} == {
        0: 2,
        20: 1,
    }


def test_a_child_takes_over_the_anon_vma_of_an_ancestor_that_is_gone():
    """mm/rmap.c anon_vma_clone(): not the root's, and none of which two children are left."""
    twin = parent_alone(range(1), n_sharers=5)
    twin.fork(0, 1)
    twin.fork(1, 2)
    twin.exit(1)
    twin.fork(2, 3)
    write_slots(twin, 3, [5])
    assert twin.visits(0, 3) == {0: 3, 5: 2}  # 2 is in the tree that 3 took over
    twin.fork(2, 4)
    write_slots(twin, 4, [6])
    assert twin.visits(0, 4) == {0: 4, 6: 1}


def test_switch_protects_exclusive_pages_before_it_copies():
    twin = parent_alone(n_sharers=3)
    twin.fork(0, 1)
    write_slots(twin, 0, range(100))
    twin.collapse("switch", 0, 0)
    assert (twin.counts["ptes_protected"], twin.counts["ptes_switched"]) == (100, 100 + 2 * 412)
    assert twin.counts["tlb_flushes"] == 1 + 2
    assert twin.exclusive(0, 0) == set()


def test_inplace_keeps_exclusive_pages_exclusive():
    twin = parent_alone()
    twin.fork(0, 1)
    write_slots(twin, 0, range(100))
    twin.collapse("inplace", 0, 0)
    assert twin.exclusive(0, 0) == set(range(100))


def test_a_scan_of_one_sharer_leaves_the_private_pages_of_another_alone():
    twin = parent_alone()
    twin.fork(0, 1)
    write_slots(twin, 1, range(12))
    twin.collapse("inplace", 0, 0)
    assert twin.counts["migration_entries_set"] == 512 + 500
    assert twin.compound(0, 1) == set(range(12, 512))
    assert twin.lru_entries() == 1 + 12


# ---- inplace_pmd: who may take a PMD ---------------------------------------------------------------------------------


def test_a_hole_over_somebody_elses_page_never_gets_a_pmd():
    twin = parent_alone(range(1, 511), n_sharers=3)
    twin.fork(0, 1)
    write_slots(twin, 0, [0])  # touched after the fork: a hole in sharer 1
    twin.fork(0, 2)
    twin.collapse("inplace_pmd", 0, 0)
    assert twin.pmd_rows() == {(0, 0), (0, 2)}
    assert twin.present(0, 1) == set(range(1, 511))


@pytest.mark.parametrize(("max_ptes_none", "rows"), [(2, {(0, 0), (0, 1)}), (1, set())])
def test_a_slot_without_a_source_is_filled_within_max_ptes_none(max_ptes_none, rows):
    twin = shared_by(2, range(1, 511))
    outcome, _, _ = twin.collapse("inplace_pmd", 0, 0, max_ptes_none=max_ptes_none)
    assert outcome == ("SUCCEED" if rows else "EXCEED_NONE_PTE")
    assert twin.pmd_rows() == rows
    assert twin.counts["filled_ptes"] == 2 * len(rows)
    twin.check_invariants()  # the filled pages read zero


def test_a_private_page_keeps_a_row_from_its_pmd():
    twin = shared_by(3)
    write_slots(twin, 2, [7])
    twin.collapse("inplace_pmd", 0, 0)
    assert twin.pmd_rows() == {(0, 0), (0, 1)}
    assert (twin.counts["ptes_cleared"], twin.counts["pmd_writes"]) == (1024, 4)


def test_partly_exclusive_pages_keep_a_row_from_its_pmd():
    twin = shared_by(2)
    write_slots(twin, 0, [7])
    twin.collapse("inplace_pmd", 0, 0)
    assert twin.pmd_rows() == set()


def test_a_swapped_slot_keeps_a_row_from_its_pmd():
    twin = Twin(1, 2, [(0, (0, 1), range(511), 0)], {(0, 1): {511}})
    twin.collapse("inplace_pmd", 0, 0)
    assert twin.pmd_rows() == {(0, 0)}


# ---- a reference that arrives during the attempt ---------------------------------------------------------------------


@pytest.mark.parametrize(("check", "frozen"), [("per_page", 101), ("after_batch", 512)])
def test_a_late_reference_undoes_what_inplace_has_frozen(check, frozen):
    twin = shared_by(3)
    before = frames_of(twin)
    assert twin.collapse("inplace", 0, 0, race_slot=100, check=check) == ("PAGE_COUNT", 512, True)
    assert frames_of(twin) == before
    assert twin.counts == {
        "ptes_scanned": 512,
        "aborts": 1,
        "migration_entries_set": 3 * frozen,
        "ptes_restored": 3 * frozen,
        "wasted_pte_updates": 6 * frozen,
        "rmap_walks": 2 * frozen,
        "vmas_visited": 6 * frozen,
        "tlb_flushes": 1,
    }


def test_a_reference_to_the_very_first_page_wastes_that_page_with_a_check_a_page():
    """A count can be trusted once the page's own entries are set: mm/migrate.c folio_migrate_mapping()."""
    twin = shared_by(3, range(5, 60))
    twin.collapse("inplace", 0, 0, race_slot=5)
    assert twin.counts["migration_entries_set"] == twin.counts["ptes_restored"] == 3


def test_a_walk_over_the_range_is_one_walk_a_round_in_an_abort_too():
    twin = shared_by(3)
    twin.collapse("inplace", 0, 0, race_slot=100, walk="per_range")
    assert (twin.counts["rmap_walks"], twin.counts["vmas_visited"]) == (2, 6)


def test_a_late_reference_costs_copy_two_pmd_writes_a_flush_and_a_sync():
    twin = shared_by(3)
    before = frames_of(twin)
    assert twin.collapse("copy", 0, 0, race_slot=511) == ("PAGE_COUNT", 512, True)
    assert twin.counts == {"ptes_scanned": 512, "aborts": 1, "pmd_writes": 2, "tlb_flushes": 1, "global_syncs": 1}
    assert frames_of(twin) == before


def test_a_late_reference_leaves_switch_an_orphan():
    twin = shared_by(3)
    assert twin.collapse("switch", 0, 0, race_slot=100)[0] == "SUCCEED"
    assert (twin.counts["orphan_pages"], twin.counts["aborts"], twin.lru_entries()) == (1, 0, 1)


@pytest.mark.parametrize("mechanism", ["copy", *ALL_SHARERS])
def test_a_reference_to_a_slot_without_a_page_meets_nobody(mechanism):
    twin = shared_by(3, range(100))
    assert twin.collapse(mechanism, 0, 0, race_slot=100)[0] == "SUCCEED"
    assert (twin.counts["aborts"], twin.counts["orphan_pages"]) == (0, 0)
