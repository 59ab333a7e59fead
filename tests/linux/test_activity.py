"""Does watching a family of live processes find the writes, reads, lives and pins that they were told to make?"""

import contextlib
import ctypes
import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from thpsweep.errors import CaptureError
from thpsweep.linux.activity import checks, judge, lives, pins, reads, snapshot
from thpsweep.linux.activity.faults import Faults, tracing
from thpsweep.linux.activity.watch import WatchRequest, watch
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.live import build
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.proc.maps import Vma
from thpsweep.linux.proc.pagemap import decode
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES

pytestmark = [pytest.mark.live, pytest.mark.alone]

REGIONS, SECONDS = 4, 1.0
N = REGIONS * HPAGE_PMD_NR
WRITTEN, LATE, CHILD_READS = 37, 21, 300
WORKER_COLD = "worker_cold_writes_per_page_hour"


@pytest.fixture
def live(frames_are_shown, madvised):
    if build.compiler() is None:
        pytest.skip("no C compiler")
    with LiveFamily() as family:
        yield family


def watched_while(root, act, *, aside=False, seconds=SECONDS, **options):
    """Watch a family that acts in the middle of it; while it does, the watcher looks who lives only if it acts aside."""
    with ThreadPoolExecutor(1) as executor:
        acts = []

        def progress(passed_s):
            if passed_s > seconds / 4 and not acts:
                acts.append(executor.submit(act))
                if not aside:
                    acts[0].result()

        seen = watch(WatchRequest(root.pid, True, seconds, progress=progress, **options))
        acts[0].result()
    return seen


def family_of_two(live):
    root = live.start()
    memory = root.map(REGIONS)
    root.write(memory, range(N))
    child, _ = live.fork(root)
    return root, child, memory


def test_copied_pages_give_the_rate_of_the_closed_form(live):
    root, child, memory = family_of_two(live)
    seen = watched_while(root, lambda: child.write(memory, range(0, 2 * WRITTEN, 2)))
    found = {
        writer.is_root: (writer.pages.sum(), writer.written.sum(), writer.seconds)
        for writer in judge._lasting(seen, judge._changed(seen))
    }
    assert found[True][1] == 0 and found[False][1] == WRITTEN
    pages, _, seconds = found[False]
    assert pages >= N
    rates = judge.judge(seen).rates
    hot = rates["worker_hot_writes_per_page_hour"].value  # all in one region of four: told apart
    assert hot == pytest.approx(-math.log1p(-WRITTEN / HPAGE_PMD_NR) / seconds * 3600, rel=0.01)
    assert rates[WORKER_COLD].value == 0 and rates["root_cold_writes_per_page_hour"].value == 0


def test_hot_regions_come_first_in_the_layout(live):
    root, child, memory = family_of_two(live)
    seen = watched_while(root, lambda: child.write(memory, range(2 * HPAGE_PMD_NR, 2 * HPAGE_PMD_NR + 100)))
    layout = capture(root.pid, watched=judge.judge(seen))
    cells = zip(layout.cell_region, layout.cell_members, layout.cell_slots, strict=True)
    own = [(int(at), layout.members[who].tolist(), int(np.bitwise_count(slots).sum())) for at, who, slots in cells]
    assert (0, [False, True], 100) in own and (0, [True, False], 100) in own
    assert layout.activity.option("hot_regions") == pytest.approx(1 / layout.n_regions)


def test_pages_under_a_pmd_are_shared_one_by_one(thp, live):
    """A child wrote the first page of a folio that its parent maps by a PMD: pagemap would tell that of all pages."""
    root = live.start()
    memory = root.map(1)
    root.advise(memory, Advice.HUGEPAGE)
    root.write(memory, range(HPAGE_PMD_NR))
    child, _ = live.fork(root)
    child.write(memory, range(1))
    found = snapshot.snapshots([root.pid, child.pid], checks.zero_frame(), True)
    (row,) = np.flatnonzero(found[root.pid].region == memory.address // HPAGE_PMD_SIZE_BYTES)
    if not found[root.pid].huge[row]:
        pytest.skip("the kernel had no huge page to give")
    assert np.flatnonzero(~found[root.pid].shared[row]).tolist() == [0]


def test_writes_of_a_worker_that_came_and_went(live):
    root, _, memory = family_of_two(live)
    went = []

    def come_and_go():
        worker, _ = live.fork(root)
        went.append(worker.pid)
        time.sleep(4 * lives.POLL_S)
        worker.write(memory, range(0, 3 * LATE, 3))
        time.sleep(2 * lives.POLL_S)
        live.end(worker)

    seen = watched_while(root, come_and_go, aside=True, seconds=2 * SECONDS)
    if seen.faults is None:
        pytest.skip(seen.without["write faults"])
    (writer,) = judge._passing(seen)
    assert writer.written.sum() - LATE in range(3)  # its own stack or heap may be in a region, too
    assert [
        (life.process.pid, life.born_s is not None, life.died_s is not None) for life in seen.lives if life.died_s
    ] == [(went[0], True, True)]
    life = judge.judge(seen).rates["worker_life_s"]
    assert life.value == pytest.approx(
        seen.looked_s + 6 * lives.POLL_S, abs=0.3
    )  # one exit; the other lived all the time


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


def read_remotely(pid, address, n_bytes):
    """Read another process's memory by process_vm_readv(), as debuggers and profilers do: FOLL_PIN without FOLL_WRITE."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(n_bytes)
    ours = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), n_bytes)
    theirs = (ctypes.c_size_t * 2)(address, n_bytes)
    got = libc.process_vm_readv(
        ctypes.c_int(pid), ours, ctypes.c_ulong(1), theirs, ctypes.c_ulong(1), ctypes.c_ulong(0)
    )
    assert got == n_bytes, os.strerror(ctypes.get_errno())


def test_copies_for_get_user_pages_are_no_writes(live):
    root, child, memory = family_of_two(live)
    held = []

    def act():
        read_remotely(child.pid, memory.page(100), 50 * 4096)  # unshared: FOLL_PIN
        held.append(child.pin(memory, range(200, 230)))  # unshared: FOLL_PIN | FOLL_WRITE
        child.write(memory, range(300, 300 + WRITTEN))

    seen = watched_while(root, act)
    child.release(held[0])
    if seen.complete_faults is None:
        pytest.skip(seen.without.get("write faults", "write faults were lost"))
    changed = judge._changed(seen)[child.pid]
    assert (changed.written.sum(), changed.n_unwritten) == (WRITTEN, 50 + 30)
    assert any("80 shared pages were copied without a write fault" in line for line in judge.judge(seen).unseen)
    without = snapshot.changes(seen.before[child.pid], seen.after[child.pid], False)
    assert without.written.sum() == WRITTEN + 80  # which no page table tells apart


def test_touched_pages_are_counted(live):
    root, child, memory = family_of_two(live)
    many = child.map(16)  # drives what the child touched before out of its TLB
    child.write(many, range(many.n_pages))
    seen = watched_while(root, lambda: child.read(memory, range(CHILD_READS)))
    if "young bits" in seen.without:
        pytest.skip(seen.without["young bits"])
    assert seen.touched[1].acted == pytest.approx(CHILD_READS, rel=0.1)
    assert judge.judge(seen).rates["reads_per_page_hour"].value > 0


def test_young_bits_are_left_alone_if_told_so(live):
    root, _, _ = family_of_two(live)
    seen = watched_while(root, lambda: None, young=False)
    assert not seen.touched and "reads_per_page_hour" not in judge.judge(seen).rates


def test_pins_of_io_uring_are_found_with_their_length(live):
    root, child, memory = family_of_two(live)
    number = child.pin(memory, range(8, 40))
    seen = watched_while(root, lambda: None)
    child.release(number)
    assert sorted(each.buffers for each in seen.pins) == [(), (32,)]
    rates = judge.judge(seen).rates
    assert rates["pages_per_request"].value == 32
    held = rates["pins_per_process_hour"].value * judge.REQUEST_LIFE_S / 3600
    assert held == pytest.approx(0.5)  # one of two processes holds one


def test_pins_outside_captured_regions_are_not_placed():
    text = "SqMask:\t0x0\nUserBufs:\t2\n    0: 0x400000/8192\n    1: 0x7fff00000fff/2\nPollList:\n"
    assert pins.buffers(text, [(2, 3)]) == [2]
    assert pins.buffers(text, [(0, 1 << 30)]) == [2, 2]
    assert pins.buffers("UserBufs:\t0\n", [(0, 9)]) == []


def test_helpers_of_another_program_are_no_workers(live):
    root, _, _ = family_of_two(live)
    seen = watch(WatchRequest(os.getpid(), True, 0.2, young=False))  # the actors are our children, and another program
    assert root.pid not in {life.process.pid for life in seen.lives}


def test_referenced_counts_private_anonymous_vmas_only():
    text = """200000-600000 rw-p 00000000 00:00 0
Rss: 40 kB
Referenced: 12 kB
600000-a00000 r--s 00000000 00:00 7 /file
Rss: 400 kB
Referenced: 400 kB
"""
    assert reads.count(text.splitlines()) == reads.Touched(10, 3)


# --- interfaces that do nothing -----------------------------------------------------------------------------------------


def test_a_clear_refs_that_does_nothing_is_found_out(frames_are_shown, monkeypatch):
    monkeypatch.setattr(reads, "clear", lambda pid, what: None)
    assert "smaps says" in checks.young()
    assert "soft-dirty" in checks.soft_dirty()


def test_traced_faults_that_do_not_come_are_found_out(frames_are_shown, monkeypatch):
    monkeypatch.setattr(checks, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(Faults, "follow", lambda self, pids: None)
    monkeypatch.setattr(Faults, "drain", lambda self: None)
    try:
        with tracing() as tracer:
            assert "not all were told of" in checks.faults(tracer)
    except CaptureError as error:
        pytest.skip(str(error))


def test_a_pagemap_that_shows_no_copies_is_found_out(frames_are_shown, monkeypatch):
    monkeypatch.setattr(checks.Scratch, "write", lambda self, n_pages: None)
    with pytest.raises(CaptureError, match="writes cannot be watched"):
        checks.zero_frame()


def test_without_tracefs_it_says_what_is_not_seen(live, monkeypatch):
    @contextlib.contextmanager
    def refused():
        raise CaptureError("tracefs is not mounted and cannot be")
        yield

    monkeypatch.setattr("thpsweep.linux.activity.watch.tracing", refused)
    root, _, _ = family_of_two(live)
    found = judge.judge(watched_while(root, lambda: None))
    assert any("came or went" in sentence and "tracefs" in sentence for sentence in found.unseen)
    assert WORKER_COLD in found.rates


def test_nothing_of_the_trace_stays_behind(frames_are_shown):
    try:
        with tracing() as tracer:
            home = tracer.home
            assert home.is_dir()
    except CaptureError as error:
        pytest.skip(str(error))
    assert not home.exists()


def test_a_root_that_ends_meanwhile(live):
    root, _, _ = family_of_two(live)

    def end_it():
        os.kill(root.pid, signal.SIGKILL)
        while reads_as_alive(root.pid):  # a signal takes its time where CPUs are busy
            time.sleep(0.01)

    with pytest.raises(CaptureError, match="ended while it was watched"):
        watched_while(root, end_it)


def reads_as_alive(pid):
    """Tell whether a process has memory still."""
    try:
        return bool(Path(f"/proc/{pid}/maps").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return False
