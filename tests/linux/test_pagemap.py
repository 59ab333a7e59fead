"""Are page table entries and flags of frames read as the kernel documents them?"""

import numpy as np
import pytest

from tests.model.layouts import slots_of
from thpsweep.errors import CaptureError
from thpsweep.linux.proc import kpage
from thpsweep.linux.proc.pagemap import Rows, _decode, boards

PRESENT, SWAP, FILE, GUARD, EXCLUSIVE, SOFT_DIRTY = (1 << bit for bit in (63, 62, 61, 58, 56, 55))
MIGRATION_TYPE = 25


def decoded(entries):
    """Decode one region whose first entries are given and whose others are empty."""
    row = np.zeros(512, np.uint64)
    row[: len(entries)] = entries
    n = np.zeros(1, np.int64)
    rows = Rows(n, n, np.ones((1, 512), np.uint32), np.zeros((1, 8), np.uint64), np.zeros(1, bool), np.ones(1, bool))
    _decode(row, rows, slice(0, 1))
    return rows


def test_flags_do_not_leak_into_the_frame():
    rows = decoded([PRESENT | EXCLUSIVE | SOFT_DIRTY | 0xFFFFFFFF, PRESENT | 5])
    assert rows.frames[0, :3].tolist() == [0xFFFFFFFF, 5, 0]


def test_file_pages_are_none():
    assert not decoded([PRESENT | FILE | 5]).frames.any()


def test_swap_is_not_present():
    rows = decoded([PRESENT | 5, SWAP | 1 << 40 | 3])
    assert (rows.frames[0, :2].tolist(), slots_of(rows.swapped[0]), bool(rows.settled[0])) == ([5, 0], [1], True)


def test_a_page_under_migration_is_not_settled():
    rows = decoded([SWAP | 7 << 5 | MIGRATION_TYPE])
    assert (rows.swapped.any(), bool(rows.settled[0])) == (False, False)


def test_a_guard_page_is_none():
    rows = decoded([SWAP | GUARD | 31])
    assert (rows.swapped.any(), rows.frames.any(), bool(rows.settled[0])) == (False, False, True)


def test_frames_above_32_bits_are_refused():
    with pytest.raises(CaptureError, match="above 16 TiB"):
        decoded([PRESENT | 1 << 32])


def test_high_bits_of_a_swap_offset_are_no_frame():
    assert slots_of(decoded([SWAP | 1 << 50]).swapped[0]) == [0]


def test_boards_set_bit_i_of_word_i():
    slots = np.random.default_rng(1).random((5, 512)) < 0.3
    assert [slots_of(row) for row in boards(slots)] == [np.flatnonzero(row).tolist() for row in slots]


class FlagsOf:
    """Stand for /proc/kpageflags with the words of a dict."""

    def __init__(self, words):
        self.words = words

    def read(self, frames):
        return np.array([self.words.get(frame, 0) for frame in frames.tolist()], np.uint64)


HEAD, TAIL = 1 << 15, 1 << 16


def block(first, n_frames):
    """Spell the flags of one folio."""
    return {first: HEAD} | {first + i: TAIL for i in range(1, n_frames)}


def test_only_a_folio_of_512_frames_is_one():
    words = block(1024, 512)
    for first in range(2048, 2560, 16):
        words |= block(first, 16)
    words |= block(4096, 511)
    frames = np.array([1030, 1500, 2050, 4100])
    assert kpage.pmd_folio_heads(FlagsOf(words), frames).tolist() == [1024]


def test_frame_table_reads_what_it_is_asked_for(frames_are_shown, tmp_path):
    rng = np.random.default_rng(2)
    words = rng.integers(0, 2**63, 50_000, dtype=np.uint64)
    (tmp_path / "table").write_bytes(words.tobytes())
    frames = np.unique(rng.integers(0, 60_000, 2_000))
    expected = [int(words[frame]) if frame < len(words) else 0 for frame in frames.tolist()]
    with kpage.FrameTable(f"..{tmp_path}/table") as table:
        assert table.read(frames).tolist() == expected
