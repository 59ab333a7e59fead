"""New pages wait in a batch of the CPU that got them; what another CPU does with them hangs on that, and on no model."""

import os

import numpy as np
import pytest

from tests.linux.live import bench_or_skip
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.proc.kpage import FrameTable
from thpsweep.linux.proc.memory import memory_state
from thpsweep.linux.validate.interference import InterferenceWatch
from thpsweep.linux.validate.on_kernel import OnKernel
from thpsweep.linux.validate.run import validate
from thpsweep.linux.validate.steps import Case, CaseStep, end, fork, page_out, start, write
from thpsweep.profiles import default_file, load

pytestmark = [pytest.mark.live, pytest.mark.alone]

KPF_LRU = np.uint64(1 << 5)
NEW = range(20)  # fewer than a batch holds
PAGED_OUT = Case("paged_out", "new pages", (start("p"),), (write("p", NEW), page_out("p", NEW)))
REUSED = Case(
    "reused", "new pages that a child that is gone shared",
    (start("p"),), (write("p", NEW), fork("p", "c"), end("c"), write("p", NEW)),
)  # fmt: skip
TRIES = 40


@pytest.fixture(scope="module")
def bench():
    with bench_or_skip("frames", "swap") as found:
        yield found


@pytest.fixture
def cpus():
    """Give two CPUs; we ourselves stay on the second one, or our own new pages would push others out of a batch."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("only one CPU")
    os.sched_setaffinity(0, allowed[1:2])
    yield allowed[:2]
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def apart(cpus, monkeypatch):
    """Have the first step that is asked done on one CPU, and all later ones on another; no interference is reported."""
    plain = OnKernel.do

    def do(self: OnKernel, step: CaseStep):
        first = step is self._case.question[0]
        for actor in (self._idler, *self._actors.values()):  # who forks or exits there drains a batch, or fills it
            os.sched_setaffinity(actor.pid, {cpus[0] if first and actor is not self._idler else cpus[1]})
        return plain(self, step)

    monkeypatch.setattr(OnKernel, "do", do)
    monkeypatch.setattr(InterferenceWatch, "_damon", lambda self: [])


def differences(case: Case, bench: Bench) -> list[str]:
    return validate([case], load(default_file()), bench, rounds=1)[0].lines


def off_lru(pid: int, memory) -> int:
    frames = np.sort(memory_state(pid, memory).frames)
    with FrameTable("kpageflags") as flags:
        return int(np.count_nonzero((flags.read(frames[frames != 0]) & KPF_LRU) == 0))


def test_after_a_drain_no_page_waits(bench, cpus) -> None:
    seen = []
    for _ in range(TRIES):
        with LiveFamily() as family:
            actor = family.start()
            os.sched_setaffinity(actor.pid, cpus[:1])
            memory = actor.map(1)
            actor.write(memory, NEW)
            seen.append(off_lru(actor.pid, memory))
            bench.drain_lru()
            assert off_lru(actor.pid, memory) == 0
    assert any(seen), "no page waited before"


def test_the_model_agrees_wherever_the_process_ran_before(bench, apart) -> None:
    assert [differences(PAGED_OUT, bench) for _ in range(5)] == [[]] * 5
    assert [differences(REUSED, bench) for _ in range(5)] == [[]] * 5


@pytest.mark.parametrize(
    ("case", "says"), [(PAGED_OUT, "pages swapped on one side only"), (REUSED, "kept their frame")]
)
def test_without_the_drain_it_would_not(case: Case, says: str, bench, apart, monkeypatch) -> None:
    monkeypatch.setattr(Bench, "drain_lru", lambda self: None)
    for _ in range(TRIES):
        lines = differences(case, bench)
        if lines:
            assert any(says in line for line in lines)
            return
    pytest.fail(f"in {TRIES} runs no page waited in the other CPU's batch")
