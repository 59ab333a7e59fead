"""Does watching a family of live processes find the writes, reads, lives and pins that they were told to make?"""

import ctypes
import math
import os
import time

import numpy as np
import pytest

from tests.linux.watching import CHILD_READS, LATE, SECONDS, WORKER_COLD, WRITTEN, N, family_of_two, watched_while
from thpsweep.linux.activity import checks, judge, lives, pins, reads, snapshot
from thpsweep.linux.activity.watch import WatchRequest, watch
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.live.actor import Advice
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_SIZE_BYTES

pytestmark = [pytest.mark.live, pytest.mark.alone]


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
