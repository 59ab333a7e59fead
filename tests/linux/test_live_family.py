"""Live processes do what they are told, and nothing of them is left."""

import os
import time

import numpy as np
import pytest

from thpsweep.errors import LiveError
from thpsweep.linux.live import build
from thpsweep.linux.live.actor import Actor, Advice
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.proc.memory import memory_state

pytestmark = pytest.mark.live


@pytest.fixture
def live(madvised):
    if build.compiler() is None:
        pytest.skip("no C compiler")
    with LiveFamily() as family:
        yield family


def test_a_child_shares_what_was_written_before_the_fork(live, frames_are_shown) -> None:
    parent = live.start()
    memory = parent.map(2)
    parent.write(memory, range(0, 100))
    child, _ = live.fork(parent)
    parent.write(memory, range(90, 110))
    child.write(memory, range(0, 10))
    mine, its = memory_state(parent.pid, memory).frames, memory_state(child.pid, memory).frames
    assert np.flatnonzero(mine).tolist() == list(range(110)) and np.flatnonzero(its).tolist() == list(range(100))
    assert np.flatnonzero((mine == its) & (mine != 0)).tolist() == list(range(10, 90))


def test_smaps_and_the_zero_page(live, frames_are_shown) -> None:
    actor = live.start()
    memory = actor.map(1)
    actor.write(memory, range(10))
    actor.read(memory, range(20))
    seen = memory_state(actor.pid, memory)
    assert np.count_nonzero(seen.frames) == 10 and seen.kib["Rss"] == seen.kib["Pss"] == 40
    assert np.flatnonzero(seen.alone).tolist() == list(range(10))


def test_pieces_are_timed_one_by_one(live) -> None:
    actor = live.start()
    memory = actor.map(1)
    reply = actor.write(memory, range(0, 512, 2), per_piece=100)
    assert len(reply.cpu_ns) == len(reply.wall_ns) == 3 and all(ns > 0 for ns in reply.wall_ns)


def test_errno_is_told(live) -> None:
    actor = live.start()
    memory = actor.map(1)
    assert actor.tell("advise", memory.address + 1, 4096, int(Advice.DONTNEED), 0).error == "EINVAL"
    with pytest.raises(LiveError, match="Invalid argument"):
        actor.do("advise", memory.address + 1, 4096, int(Advice.DONTNEED), 0)


def test_an_unknown_command_is_refused(live) -> None:
    assert live.start().tell("dance").error == "ENOSYS"


def test_a_pin_and_a_reference_are_taken_and_given_back(live) -> None:
    actor = live.start()
    memory = actor.map(1)
    actor.write(memory, range(512))
    for take in (actor.pin, actor.splice):
        number = take(memory, range(3, 5))
        actor.release(number)


def test_all_processes_end_with_the_family() -> None:
    if build.compiler() is None:
        pytest.skip("no C compiler")
    with LiveFamily() as family:
        parent = family.start()
        child, _ = family.fork(parent)
        grandchild, _ = family.fork(child)
        pids = [actor.pid for actor in (parent, child, grandchild)]
        family.end(child)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_without_a_compiler(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LiveError, match="no C compiler"):
        build.actor_binary()


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path) -> None:
    (tmp_path / "thpsweep").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LiveError, match="XDG_CACHE_HOME"):
        build.actor_binary()


@pytest.mark.parametrize("accepted", [False, True])
def test_a_start_that_is_interrupted_leaves_no_process(monkeypatch, accepted: bool) -> None:
    if build.compiler() is None:
        pytest.skip("no C compiler")
    started: list[Actor] = []

    def interrupted(self: LiveFamily) -> Actor:
        if accepted:
            started.append(adopt(self))
            self.actors.clear()  # as if it had been interrupted before it was listed
        raise KeyboardInterrupt

    adopt = LiveFamily._adopt
    monkeypatch.setattr(LiveFamily, "_adopt", interrupted)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), LiveFamily() as family:
        family.start()
    assert time.monotonic() - begun < 2.5  # it ended by itself, not by being killed
    assert not any(alive(actor.pid) for actor in started)
