"""The slow twin's forks, exits and writes against what a live kernel did."""

import pytest

from tests.reference.shapes import (
    FULL,
    frames_of,
    parent_alone,
    parent_huge,
    shared_by,
    write_slots,
)
from tests.reference.twin import Twin

# ---- fork, exit, write: who is split, who reuses (measured on a live kernel) -----------------------------------------


def test_a_write_to_a_shared_huge_page_splits_only_the_writer():
    twin = parent_huge()
    twin.fork(0, 1)
    write_slots(twin, 1, [3])
    assert twin.pmd_rows() == {(0, 0)}
    assert (twin.counts["pmd_splits"], twin.counts["cow_faults"], len(twin.compound(0, 1))) == (1, 1, 511)
    write_slots(twin, 0, [3])  # mapped once now, but the folio is shared: the parent splits and copies as well
    assert twin.pmd_rows() == set()
    assert (twin.counts["pmd_splits"], twin.counts["cow_faults"]) == (2, 2)


def test_the_second_write_after_a_split_only_copies():
    twin = parent_huge()
    twin.fork(0, 1)
    write_slots(twin, 1, [3])
    write_slots(twin, 1, [4, 5])
    assert (twin.counts["pmd_splits"], twin.counts["cow_faults"]) == (1, 3)


def test_many_writes_of_one_tick_split_a_row_once():
    twin = parent_huge()
    twin.fork(0, 1)
    write_slots(twin, 1, range(40))
    assert (twin.counts["pmd_splits"], twin.counts["cow_faults"]) == (1, 40)


def test_the_survivor_of_a_shared_huge_page_keeps_its_pmd():
    twin = parent_huge()
    twin.fork(0, 1)
    twin.exit(1)
    write_slots(twin, 0, [3, 4])
    assert twin.pmd_rows() == {(0, 0)}
    assert twin.counts["reuse_pmds"] == 1
    assert twin.exclusive(0, 0) == set(FULL)
    assert not twin.counts["pmd_splits"] and not twin.counts["cow_faults"] and not twin.counts["reuse_faults"]


def test_the_survivor_of_shared_small_pages_reuses_the_same_frames():
    twin = parent_alone(range(8))
    twin.fork(0, 1)
    twin.exit(1)
    old = dict(twin.rows[0, 0].frames)
    write_slots(twin, 0, range(3))
    assert twin.rows[0, 0].frames == old
    assert (twin.counts["reuse_faults"], twin.exclusive(0, 0)) == (3, {0, 1, 2})


def test_the_survivor_of_a_pte_mapped_folio_reuses_page_by_page():
    twin = shared_by(2)
    twin.collapse("inplace", 0, 0)
    twin.exit(1)
    write_slots(twin, 0, range(3))
    assert (twin.counts["reuse_faults"], twin.counts["cow_faults"], twin.exclusive(0, 0)) == (3, 0, {0, 1, 2})


def test_two_who_write_one_page_in_one_tick_both_copy():
    twin = shared_by(2, [9])
    twin.write({(0, 0, 9), (0, 1, 9)})
    assert (twin.counts["cow_faults"], twin.counts["reuse_faults"], twin.pages_in_use()) == (2, 0, 2)


def test_in_two_ticks_the_second_one_reuses():
    twin = shared_by(2, [9])
    write_slots(twin, 0, [9])
    write_slots(twin, 1, [9])
    assert (twin.counts["cow_faults"], twin.counts["reuse_faults"], twin.pages_in_use()) == (1, 1, 2)


def test_an_exclusive_page_is_written_without_a_fault_until_the_next_fork():
    twin = parent_alone(range(4))
    write_slots(twin, 0, range(4))
    assert not twin.counts
    twin.fork(0, 1)
    write_slots(twin, 0, range(4))
    assert twin.counts["cow_faults"] == 4


def test_the_dead_do_not_write():
    twin = shared_by(2, range(4))
    twin.exit(1)
    before = frames_of(twin)
    write_slots(twin, 1, range(6))
    assert frames_of(twin) == before


def test_first_touch_and_swap_in_are_told_apart():
    twin = Twin(1, 1, [(0, (0,), [0], 0)], {(0, 0): {1}})
    write_slots(twin, 0, [1, 2])
    assert twin.counts == {"swap_ins": 1, "minor_faults": 1}
    assert (twin.exclusive(0, 0), twin.swapped(0, 0)) == ({0, 1, 2}, set())


@pytest.mark.parametrize("form", ["small", "compound"])
def test_half_written_then_child_gone(form):
    # Live kernel, with page tables: small 772 -> 514 pages in use, compound 772 -> 771.
    twin = parent_alone() if form == "small" else parent_huge()
    twin.fork(0, 1)
    write_slots(twin, 0, range(256))
    assert twin.pages_in_use() == 768
    twin.exit(1)
    assert twin.pages_in_use() == (512 if form == "small" else 768)


def test_a_folio_goes_with_its_last_mapping():
    twin = parent_huge()
    twin.fork(0, 1)
    write_slots(twin, 0, FULL)
    assert (twin.lru_entries(), twin.pages_in_use()) == (513, 1024)
    twin.exit(1)
    assert (twin.lru_entries(), twin.pages_in_use()) == (512, 512)


def test_fork_and_exit_count_by_the_form_of_the_mapping():
    cells = [(0, (0,), FULL, 1), (1, (0,), range(30), 2), (1, (0,), range(30, 35), 0)]
    twin = Twin(2, 2, cells, {(1, 0): {100}}, {(0, 0)}, {0})
    twin.fork(0, 1)
    twin.exit(1)
    assert twin.counts == {
        "forks": 1,
        "exits": 1,
        **{
            f"{verb}_{form}": n
            for verb in ("fork", "exit")
            for form, n in (("pmds", 1), ("tables", 1), ("ptes_compound", 30), ("ptes_small", 5))
        },
    }


def test_a_child_forked_after_copy_shares_the_huge_page():
    twin = shared_by(2)
    twin.collapse("copy", 0, 0)
    twin.exit(1)
    twin.fork(0, 1)
    assert twin.pmd_rows() == {(0, 0), (0, 1)}
    assert (twin.lru_entries(), twin.pages_in_use()) == (1, 512)
