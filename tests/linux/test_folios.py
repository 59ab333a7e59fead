"""Are folios of any size found, counted once, and given the labels of tools/mm/thpmaps?"""

import numpy as np

from tests.linux.test_pagemap import FlagsOf, block
from thpsweep.linux.capture import folios
from thpsweep.linux.proc import kpage
from thpsweep.linux.proc.pagemap import Rows


def rows_of(*frames, huge=False):
    """Make rows of processes 0, 1, ... in region 5, each with the frames of its first slots."""
    table = np.zeros((len(frames), 512), np.uint32)
    for row, numbers in zip(table, frames, strict=True):
        row[: len(numbers)] = numbers
    n = len(frames)
    swapped, flags = np.zeros((n, 8), np.uint64), np.zeros(n, bool)
    return Rows(np.arange(n), np.full(n, 5), table, swapped, flags | huge, ~flags)


def census(words, rows):
    numbers = np.unique(rows.frames[rows.frames != 0]).astype(np.int64)
    found = kpage.find_folios(FlagsOf(words), numbers)
    return folios.count(rows, np.ones(len(rows.process), bool), numbers, found)


def test_head_and_size_of_each_frame():
    words = block(1024, 512) | block(2048, 16) | block(2064, 4) | {2068: 0} | block(2072, 8)
    frames = np.array([7, 1030, 2050, 2064, 2068, 2079, 2080])
    found = kpage.find_folios(FlagsOf(words), frames)
    heads, n_pages = found.of(frames)
    assert heads.tolist() == [7, 1024, 2048, 2064, 2068, 2072, 2080]
    assert n_pages.tolist() == [1, 512, 16, 4, 1, 8, 1]


def test_each_folio_is_one_lru_entry_whoever_maps_it():
    words = block(2048, 16) | block(2064, 16)
    rows = rows_of([*range(2048, 2064), 9], [*range(2048, 2080)])
    facts = folios.facts([census(words, rows)])
    assert facts["lru_entries"] == 3
    assert facts["anon-thp-pte-aligned-64kB"] == 64 + 128


def test_a_folio_at_another_offset_is_unaligned_and_a_part_of_one_is_partial():
    words = block(2048, 16) | block(2064, 16)
    rows = rows_of([0, *range(2048, 2064)], [*range(2064, 2070)])
    facts = folios.facts([census(words, rows)])
    assert facts["anon-thp-pte-unaligned-64kB"] == 64
    assert facts["anon-thp-pte-partial"] == 24


def test_a_folio_that_two_windows_saw_a_part_of_is_one():
    words = block(1024, 512)
    low = rows_of([])
    low.frames[0, 256:] = np.arange(1024, 1280)
    high = rows_of([*range(1280, 1536)])
    high.region[:] = 6
    facts = folios.facts([census(words, low), census(words, high)])
    assert (facts["lru_entries"], facts["anon-thp-pte-unaligned-2048kB"]) == (1, 2048)


def test_a_pmd_has_its_label():
    assert folios.facts([census(block(1024, 512), rows_of(range(1024, 1536), huge=True))]) == {
        "lru_entries": 1, "anon-thp-pmd-aligned-2048kB": 2048, "anon-thp-pte-aligned-2048kB": 0, "anon-thp-pte-partial": 0,
    }  # fmt: skip


def test_groups_of_contiguous_ptes_are_whole_aligned_and_in_order():
    """Of 16 slots: 8..11 at an aligned frame, 12..15 as well but a page later, 0..3 with a hole, 4..7 in another order."""
    frames = np.zeros((1, 512), np.uint32)
    frames[0, :16] = [64, 65, 0, 67, 81, 80, 82, 83, 100, 101, 102, 103, 201, 202, 203, 204]
    assert (folios.whole_groups(frames, 4), folios.whole_groups(frames, 16)) == (4, 0)
    frames[0, 32:64] = np.arange(1024, 1056)
    assert (folios.whole_groups(frames, 4), folios.whole_groups(frames, 16)) == (36, 32)
    frames[0, 32:64] += 4  # 16 of them begin where no group of 16 does
    assert (folios.whole_groups(frames, 4), folios.whole_groups(frames, 16)) == (36, 0)


def test_small_pages_and_subpages_count_alike_and_pmds_do_not():
    small, huge = rows_of([*range(64, 80)], [*range(2048, 2064)]), rows_of(range(1024, 1536), huge=True)
    parts = [census(block(2048, 16), small), census(block(1024, 512), huge)]
    assert folios.contiguity(parts) == {"ptes": 32, "ptes_in_groups_of_4": 32, "ptes_in_groups_of_16": 32}
    assert folios.contiguity([]) == {"ptes": 0}
