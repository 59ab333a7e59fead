"""Are writes to private pages seen by their soft-dirty bits, and nothing else taken for them?"""

import numpy as np
import pytest

from tests.linux.watching import REGIONS, watched_while
from thpsweep.linux.activity import checks, judge, snapshot
from thpsweep.linux.proc.maps import Vma
from thpsweep.linux.proc.pagemap import decode
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES

pytestmark = [pytest.mark.live, pytest.mark.alone]


def snapshot_of(frames, *, shared=None, dirty=None, huge=False, vma=(0, 1 << 40), vma_dirty=False, at_s=0.0):
    """Make the snapshot of region 5; all pages are shared, and none soft-dirty, unless told otherwise."""
    flags = np.zeros((1, 512), bool)
    return snapshot.PageTableSnapshot(
        at_s, np.array([5]), frames, ~flags if shared is None else shared, flags, flags if dirty is None else dirty,
        np.array([huge]), np.array([vma]), np.array([vma_dirty]),
    )  # fmt: skip


def test_a_frame_that_migrated_in_all_sharers_is_no_write():
    before = np.arange(1, 513, dtype=np.uint32)[None]
    moved, copied = before.copy(), before.copy()
    moved[0, :10] += 1000
    copied[0, :10] += 1000
    copied[0, 20] = 9999
    every = {
        1: snapshot.changes(snapshot_of(before), snapshot_of(moved), False),
        2: snapshot.changes(snapshot_of(before), snapshot_of(copied), False),
    }
    assert [each.written.tolist() for each in every.values()] == [[10], [11]]
    kept = snapshot.without_moves(every)
    assert [(each.written.tolist(), each.page.tolist()) for each in kept.values()] == [([0], []), ([1], [5 * 512 + 20])]


def test_a_collapsed_region_is_no_write():
    frames, flags = np.arange(1, 513, dtype=np.uint32)[None], np.zeros((1, 512), bool)
    before, after = snapshot_of(frames), snapshot_of(frames + 512, shared=flags, huge=True, at_s=1.0)
    assert not snapshot.changes(before, after, False).written.any()


def test_soft_dirty_bits_show_writes_to_private_pages_where_there_are_some():
    present, exclusive, dirty = 1 << 63, 1 << 56, 1 << 55
    row = np.zeros(512, np.uint64)
    row[:3] = [present | exclusive | 7, present | exclusive | 8, present | 9]
    later = row.copy()
    later[[1, 2]] |= np.uint64(dirty)

    def look(entries):
        seen = decode(entries)
        shared = (seen.frames != 0) & ~seen.exclusive
        return snapshot_of(seen.frames, shared=shared, dirty=seen.dirty)

    changed = snapshot.changes(look(row), look(later), True)
    assert (changed.at_risk.tolist(), changed.written.tolist()) == ([3], [2])
    assert snapshot.changes(look(row), look(later), False).at_risk.tolist() == [1]


@pytest.mark.parametrize(
    "later",
    [{"vma_dirty": True}, {"vma": (0, 2 << 40)}, {"huge": True}],
    ids=["VM_SOFTDIRTY", "another VMA", "one bit for 512 pages"],
)
def test_soft_dirty_bits_that_say_nothing_of_single_pages_are_not_taken(later):
    """One page of the region is shared and copied, all of its soft-dirty bits are set: only the copy shows a write."""
    frames, every = np.arange(1, 513, dtype=np.uint32)[None], np.ones((1, 512), bool)
    shared = np.arange(512)[None] == 7
    copied = np.where(shared, 9999, frames).astype(np.uint32)
    before = snapshot_of(frames, shared=shared, huge=later.get("huge", False))
    changed = snapshot.changes(before, snapshot_of(copied, shared=~every, dirty=every, **later), True)
    assert (changed.at_risk.tolist(), changed.written.tolist(), changed.by_copies.tolist()) == ([1], [1], [True])


@pytest.fixture
def soft_dirty(frames_are_shown):
    """Skip where the kernel has no soft-dirty bits."""
    if why := checks.soft_dirty():
        pytest.skip(why)


def test_memory_that_nobody_wrote_is_not_called_written_when_its_vma_grows(soft_dirty, live):
    root = live.start()
    low, high = sorted((root.map(1), root.map(1)), key=lambda memory: memory.address)
    if high.address - low.address > 2 * HPAGE_PMD_SIZE_BYTES:
        pytest.skip("the kernel put the second mapping elsewhere: the VMAs do not merge")
    root.write(low, range(HPAGE_PMD_NR))
    changed = judge._changed(watched_while(root, lambda: root.map(REGIONS)))[root.pid]
    assert changed.written.sum() <= HPAGE_PMD_NR // 8


def test_flags_of_a_vma_are_read_where_all_of_a_region_is_dirty(live, monkeypatch):
    """A kernel without soft-dirty bits stands for one that has them: its entries and VmFlags are made up."""
    root = live.start()
    memory = root.map(2)
    root.write(memory, range(2 * HPAGE_PMD_NR))
    first = memory.address // HPAGE_PMD_SIZE_BYTES
    decode_entries = snapshot.decode

    def all_dirty(entries):
        seen = decode_entries(entries)
        seen.dirty[:] = True
        return seen

    vma = Vma(memory.address, memory.address + HPAGE_PMD_SIZE_BYTES, {}, frozenset({"sd"}))
    monkeypatch.setattr(snapshot, "decode", all_dirty)
    monkeypatch.setattr(snapshot, "anonymous_vmas", lambda pid: [vma])
    taken = snapshot.take(root.pid, checks.zero_frame(), True, soft_dirty=True)
    marked = dict(zip(taken.region.tolist(), taken.vma_dirty.tolist(), strict=True))
    assert (marked[first], marked[first + 1]) == (True, False)
