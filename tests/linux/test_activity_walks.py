"""Are page walks told from young bits: of a simulated TLB whose misses are counted, and of a live process that counts?"""

import collections
import dataclasses
import math
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.model.layouts import layout_of
from tests.model.points import option
from thpsweep.linux.activity import checks, judge, reads, walks
from thpsweep.linux.activity.reads import Interval
from thpsweep.linux.activity.task_clock import TaskClock, refused
from thpsweep.linux.activity.walks import Walked, per_cpu_s
from thpsweep.linux.activity.watch import WatchRequest, watch
from thpsweep.linux.capture.priced import priced
from thpsweep.model import registry
from thpsweep.model.capture.activity import WALKS, Activity, Rate

ENTRIES = 256
ACCESS_S = 1e-6


def walked(lengths, wall_s=1.0):
    """Make a process's intervals of (pages, seconds) pairs, each length a list of repetitions."""
    return Walked(tuple(tuple(Interval(n, s, s) for n, s in length) for length in lengths), wall_s)


def simulated(pages, accesses_of_length, repetitions=6):
    """Run accesses through an LRU TLB; give intervals as young bits show them, and the misses a second.

    Young bits are cleared without a flush, so that only a miss marks a page: what the kernel and the CPU do.
    """
    tlb, at, misses, lengths = collections.OrderedDict(), 0, 0, []

    def run(n):
        nonlocal at, misses
        young = set()
        for page in pages[at : at + n]:
            if page in tlb:
                tlb.move_to_end(page)
                continue
            misses += 1
            young.add(page)
            tlb[page] = None
            if len(tlb) > ENTRIES:
                tlb.popitem(last=False)
        at += n
        return len(young)

    run(20_000)
    at_first, misses = at, 0
    for n in accesses_of_length:
        lengths.append([(run(n), n * ACCESS_S) for _ in range(repetitions)])
    return walked(lengths), misses / ((at - at_first) * ACCESS_S)


LENGTHS = [64, 128, 256, 512, 1024, 2048, 4096]
N_ACCESSES = 20_000 + 6 * sum(LENGTHS)


def drawn(law):
    rng = np.random.default_rng(3)
    if law == "uniform":
        return rng.integers(0, 4096, N_ACCESSES)
    if law == "zipf":
        weights = 1 / np.arange(1, 4097)
        return rng.choice(4096, N_ACCESSES, p=weights / weights.sum())
    if law == "sweep":
        return np.arange(N_ACCESSES) % 1024
    hot, cold = rng.integers(0, 100, N_ACCESSES), 100 + rng.integers(0, 20_000, N_ACCESSES)
    return np.where(
        rng.random(N_ACCESSES) < 0.9, hot, cold
    )  # 100 pages that stay in the TLB, and rare ones that do not


@pytest.mark.parametrize("law", ["uniform", "zipf", "sweep", "hot and cold"])
def test_the_misses_of_a_simulated_tlb_are_found(law, monkeypatch):
    monkeypatch.setattr(walks, "LEAST_REACH", ENTRIES)
    intervals, misses = simulated(drawn(law).tolist(), LENGTHS)
    found = per_cpu_s([intervals], ENTRIES)
    assert found.value == pytest.approx(misses, rel=0.12)
    assert found.low * (1 - 1e-9) <= misses <= found.high * (1 + 1e-9)  # of a sweep each interval says the same


def test_they_are_the_slope_of_the_working_set_function_at_the_reach_of_the_tlb(monkeypatch):
    """Denning's theorem where W(t) is known: n (1 - (1 - 1 / n) ** t) of n pages that are accessed alike, of which the slope
    at W = C is (1 - C / n) for each access, up to 1 / n: the misses of an LRU TLB."""
    monkeypatch.setattr(walks, "LEAST_REACH", ENTRIES)
    n = 4096
    at = math.log(1 - ENTRIES / n) / math.log(1 - 1 / n)
    slope = n * ((1 - 1 / n) ** at - (1 - 1 / n) ** (at + 1)) / ACCESS_S
    intervals, misses = simulated(drawn("uniform").tolist(), LENGTHS)
    assert misses == pytest.approx(slope, rel=0.02)
    assert per_cpu_s([intervals], ENTRIES).value == pytest.approx(slope, rel=0.1)


def test_a_working_set_that_fits_walks_to_nothing():
    found = per_cpu_s([walked([[(0, 0.01)] * 6])], 2048)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(-math.log(0.025) / 0.06)  # none seen in 60 ms


def test_more_pages_than_a_tlb_holds_give_a_lower_bound_alone():
    found = per_cpu_s([walked([[(3000, 0.001), (3100, 0.001), (2900, 0.001)]])], 2048)
    assert found.value == pytest.approx(3e6) and found.high is None and "no upper bound" in found.how
    assert 2.5e6 < found.low < 3e6


def test_long_intervals_in_which_pages_come_again_do_not_lower_it():
    short, long = [(400, 4e-4)] * 6, [(1000, 0.1)] * 6
    assert per_cpu_s([walked([short, long])], 2048).value == pytest.approx(1e6)


def test_processes_count_by_the_cpu_time_that_they_take():
    busy, idle = walked([[(400, 4e-3)] * 6]), walked([[(10, 1e-3)] * 6])
    both = per_cpu_s([busy, idle], 2048)
    assert both.value == pytest.approx((24 * 1e5 + 6 * 1e4) / 30)
    assert per_cpu_s([walked([[(0, 0.0)] * 6])], 2048) is None


def test_what_an_interval_can_have_been_widens_the_range():
    exact = per_cpu_s([walked([[(100, 1e-3)] * 6])], 2048)
    blurred = per_cpu_s([Walked((tuple(Interval(100, 5e-4, 2e-3) for _ in range(6)),), 1.0)], 2048)
    assert (exact.low, exact.high) == pytest.approx((1e5, 1e5))
    assert (blurred.low, blurred.high) == pytest.approx((5e4, 2e5))


def test_amd_says_how_many_entries_there_are(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nTLB size\t: 3072 4K pages\n")
    assert walks.reach(cpuinfo) == 3072
    cpuinfo.write_text("processor\t: 0\n")
    assert walks.reach(cpuinfo) == walks.USUAL_REACH


@pytest.mark.parametrize(("n_ptes", "lost"), [(10_000, 0.0), (131_072, 0.5)])
def test_the_share_of_cycles_is_walks_at_the_price_of_the_machine(n_ptes, lost):
    prices = {"page_walk_ns": 20.0, "page_walk_uncached_ns": 80.0, "page_table_cache_bytes": 524_288.0}
    machine = registry.build("machine", {**option("machine", "milan_vm"), **prices})
    found = walks.share(Rate(1e6, 5e5, 2e6, "seen"), machine, n_ptes)
    assert found.value == pytest.approx(1e6 * (20 + 60 * lost) / 1e9)
    assert (found.low, found.high) == pytest.approx((5e5 * 20 / 1e9, 2e6 * 80 / 1e9))
    assert walks.share(Rate(1e9, 1e9, None, ""), machine, n_ptes).value == 1.0


def test_a_layout_takes_the_share_along():
    plain = layout_of([{(0, 1): (0, "a")}])
    machine = registry.build("machine", option("machine", "milan_vm"))
    assert priced(plain, machine) is plain
    seen = dataclasses.replace(plain, activity=Activity(1.0, {WALKS: Rate(1e6, 9e5, None, "")}, ()))
    share = priced(seen, machine).activity.rates["page_walk_share"]
    assert share.value == pytest.approx(1e6 * machine.page_walk_ns / 1e9) and share.high is None


SWEEPER = """
import mmap, sys, time
n, pause = int(sys.argv[1]), int(sys.argv[2])
memory = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for page in range(n): memory[page * 4096] = 1
print(flush=True)
while True:
    begun = time.process_time()
    for page in range(0, n * 4096, 4096):
        memory[page]
        for _ in range(pause): pass
    print(time.monotonic(), n / (time.process_time() - begun), file=sys.stderr, flush=True)
"""


@pytest.fixture
def sweeps():
    started = []

    def start(n_pages, pause):
        command = [sys.executable, "-c", SWEEPER, str(n_pages), str(pause)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def counted(process, begin_s):
    """End it after a further sweep; give the touches a second of CPU that it counted since then, of all sweeps the mean."""
    time.sleep(0.2)
    process.kill()
    sweeps = [line.split() for line in process.communicate()[1].splitlines()]
    return float(np.mean([float(rate) for at_s, rate in sweeps[:-1] if float(at_s) > begin_s]))


def young_or_skip():
    if why := checks.young():
        pytest.skip(f"young bits: {why}")
    if why := refused():
        pytest.skip(why)


@pytest.mark.live
@pytest.mark.alone
def test_a_process_that_sweeps_more_than_a_tlb_holds_walks_at_every_touch(sweeps):
    young_or_skip()
    process = sweeps(16_384, 100)
    begin_s = time.monotonic()
    found = per_cpu_s([Walked(reads.intervals(process.pid, 2048), time.monotonic() - begin_s)], 2048)
    truth = counted(process, begin_s)
    print(f"\n{found.value:.3g} [{found.low:.3g}, {found.high}] page walks a second, {truth:.3g} touches: {found.how}")
    assert found.value == pytest.approx(truth, rel=0.35)
    assert found.low <= 1.1 * truth and (found.high is None or found.high >= 0.9 * truth)


@pytest.mark.live
@pytest.mark.alone
def test_one_that_sweeps_a_few_pages_walks_hardly_ever(sweeps):
    young_or_skip()
    process = sweeps(64, 100)
    begin_s = time.monotonic()
    found = per_cpu_s([Walked(reads.intervals(process.pid, 2048), time.monotonic() - begin_s)], 2048)
    assert found.value < 0.2 * counted(process, begin_s)


@pytest.mark.live
@pytest.mark.alone
def test_a_window_tells_it_and_says_what_it_cannot_see(sweeps):
    young_or_skip()
    process = sweeps(16_384, 100)
    found = judge.judge(watch(WatchRequest(process.pid, True, 0.5)))
    truth = counted(process, time.monotonic() - 0.6)  # page walks are counted last
    assert found.rates[WALKS].value == pytest.approx(truth, rel=0.35)
    assert any("anonymous memory alone" in line for line in found.unseen)


@pytest.mark.live
@pytest.mark.alone
def test_the_cpu_time_of_a_running_process_is_told_between_two_ticks(sweeps):
    """Its CPU-time clock stands still for up to a tick: on Linux 6.18 four of five such readings did not move."""
    young_or_skip()
    with TaskClock(sweeps(64, 100).pid) as clock:
        readings = []
        for _ in range(40):
            readings.append(clock.seconds)
            until = time.perf_counter() + 5e-4
            while time.perf_counter() < until:
                pass
    assert np.count_nonzero(np.diff(readings) > 0) >= 20  # it may have to share its CPU


def test_intervals_in_which_no_cpu_time_was_seen_say_nothing():
    lengths = [[(300, 0.0)] * 6, [(400, 4e-4)] * 6]
    assert per_cpu_s([walked(lengths)], 2048).value == pytest.approx(1e6)


@pytest.mark.live
def test_the_cpu_time_of_a_process_that_has_ended_is_asked_in_vain():
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(reads.VanishedError):
        TaskClock(process.pid)
