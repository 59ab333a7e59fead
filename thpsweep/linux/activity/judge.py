"""Turn what a window showed into the rates of the `captured` workload, and say what it could not show."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.activity import counters, walks
from thpsweep.linux.activity.lives import POLL_S
from thpsweep.linux.activity.rates import Exposed, clustering, hottest, mean_span, per_page_hour
from thpsweep.linux.activity.snapshot import Changes, changes, without_moves
from thpsweep.linux.activity.watch import WindowSeen
from thpsweep.model.capture.activity import WALKS, Activity, Rate
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

REQUEST_LIFE_S = 600.0
"""How long a pin is taken to be held, as `request_life_s` of conf/workload/captured.yaml: that does not show."""

NEVER_SEEN = (
    "FOLL_GET references (vmsplice, O_DIRECT under way): no interface shows them",
    "reads page by page: only how many pages of a VMA were touched",
    "how long pins are held, and pins of other kinds than VmPin counts",
)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WrittenPages:
    """How many pages of each region of a process could have shown a write, in how many seconds, and did. Shapes: (n,)."""

    is_root: bool
    region: Ints
    pages: Ints
    written: Ints
    seconds: float


@dataclass(frozen=True)
class Judged:
    """Hold the activity as far as it does not depend on a layout, and the numbers of the hot regions."""

    watched_s: float
    rates: dict[str, Rate]
    unseen: tuple[str, ...]
    hot: Ints

    def activity(self, n_hot: int, n_regions: int) -> Activity:
        """Complete it for a layout in which so many of the regions are hot; none can be told where no write shows."""
        if not any(name.endswith("_writes_per_page_hour") for name in self.rates):
            return Activity(self.watched_s, self.rates, self.unseen)
        how = "regions whose pages are written at another rate than the rest"
        share = n_hot / n_regions
        return Activity(self.watched_s, {"hot_regions": Rate(share, share, share, how), **self.rates}, self.unseen)


def judge(seen: WindowSeen) -> Judged:
    """Estimate all rates that the window allows."""
    changed = _changed(seen)
    writers = [*_lasting(seen, changed), *_passing(seen)]
    hot = _hot(writers)
    estimates = {
        **_writes(writers, hot, seen.soft_dirty),
        "write_clustering": _clustering(writers, hot),
        "reads_per_page_hour": per_page_hour(
            seen.touched, "pages that smaps calls Referenced after young bits were cleared"
        ),
        "swap_outs_per_page_hour": _swap(seen),
        WALKS: walks.per_cpu_s(seen.walked, seen.tlb_entries),
        **_lives(seen),
        **_pins(seen),
    }
    rates = {name: rate for name, rate in estimates.items() if rate is not None}
    unseen = (*_unseen(seen, rates), *_misleading(seen, changed))
    return Judged(seen.end_s - seen.begin_s, rates, unseen, hot)


def _changed(seen: WindowSeen) -> dict[int, Changes]:
    """Compare the two snapshots of processes that were there all the time."""
    faults = seen.complete_faults
    return without_moves(
        {
            pid: changes(seen.before[pid], after, seen.soft_dirty, None if faults is None else faults.of(pid))
            for pid, after in seen.after.items()
        }
    )


def _lasting(seen: WindowSeen, changed: Mapping[int, Changes]) -> Iterator[WrittenPages]:
    """Take the writes of processes that were there all the time."""
    for pid, each in changed.items():
        seconds = seen.after[pid].at_s - seen.before[pid].at_s
        yield WrittenPages(pid == seen.root, each.region, each.at_risk, each.written, seconds)


def _passing(seen: WindowSeen) -> Iterator[WrittenPages]:
    """Take what is known of workers that came or went: their faults on the pages that they had, or got from the root."""
    if seen.faults is None:
        return
    root, end_s = seen.before[seen.root], seen.looked_s
    for life in seen.lives:
        pid = life.process.pid
        if pid in seen.after:
            continue
        had = seen.before.get(pid, root)
        pages = had.shared if pid in seen.before else had.frames != 0
        slots = np.flatnonzero(pages)
        numbers = np.repeat(had.region * HPAGE_PMD_NR, HPAGE_PMD_NR)[slots] + slots % HPAGE_PMD_NR
        wrote = np.intersect1d(seen.faults.of(pid), numbers, assume_unique=True)
        row = np.searchsorted(had.region, wrote // HPAGE_PMD_NR)
        began_s = life.born_s or 0.0
        seconds = (end_s if life.died_s is None else life.died_s) - began_s
        yield WrittenPages(False, had.region, pages.sum(axis=1), np.bincount(row, minlength=len(had.region)), seconds)


def _hot(writers: list[WrittenPages]) -> Ints:
    """Name the regions that are written at another rate than the rest."""
    region = np.concatenate([np.zeros(0, np.int64), *(writer.region for writer in writers)])
    numbers, index = np.unique(region, return_inverse=True)
    written, exposure_s = np.zeros(len(numbers), np.int64), np.zeros(len(numbers))
    np.add.at(written, index, np.concatenate([region[:0], *(writer.written for writer in writers)]))
    np.add.at(exposure_s, index, np.concatenate([np.zeros(0), *(writer.pages * writer.seconds for writer in writers)]))
    some = np.flatnonzero(exposure_s > 0)
    return np.asarray(numbers[some[hottest(written[some], exposure_s[some])]])


def _writes(writers: list[WrittenPages], hot: Ints, soft_dirty: bool) -> dict[str, Rate | None]:
    how = "soft-dirty pages" if soft_dirty else "copied pages among those that others map too"
    rates: dict[str, Rate | None] = {}
    for process in ("root", "worker"):
        for name in ("hot", "cold"):
            groups = [_part(each, hot, name == "hot") for each in writers if each.is_root == (process == "root")]
            rates[f"{process}_{name}_writes_per_page_hour"] = per_page_hour(groups, how)
    return rates


def _clustering(writers: list[WrittenPages], hot: Ints) -> Rate | None:
    """Estimate which share of the regions, hot ones aside, takes no writes, where they are not even over all pages."""
    regions = np.unique(np.concatenate([np.zeros(0, np.int64), *(writer.region for writer in writers)]))
    cold = regions[~np.isin(regions, hot)]
    pages, written = np.zeros((2, len(writers), cold.size), np.int64)
    for number, writer in enumerate(writers):
        mine = np.isin(writer.region, cold)
        at = np.searchsorted(cold, writer.region[mine])
        pages[number, at], written[number, at] = writer.pages[mine], writer.written[mine]
    return clustering(
        pages, written, "how many pages of each region were written, against pages that are written alike"
    )


def _part(writer: WrittenPages, hot: Ints, is_hot: bool) -> Exposed:
    chosen = np.isin(writer.region, hot) == is_hot
    return Exposed(int(writer.pages[chosen].sum()), int(writer.written[chosen].sum()), writer.seconds)


def _swap(seen: WindowSeen) -> Rate | None:
    groups = []
    for pid, after in seen.after.items():
        before = seen.before[pid]
        each = changes(before, after, False)
        groups.append(Exposed(int(each.present.sum()), int(each.swapped_out.sum()), after.at_s - before.at_s))
    return per_page_hour(groups, "pages that were present and are swapped out")


def _lives(seen: WindowSeen) -> dict[str, Rate | None]:
    """Estimate how long workers live, and how long their places stay empty."""
    end_s = seen.looked_s
    lived_s = sum((life.died_s if life.died_s is not None else end_s) - (life.born_s or 0.0) for life in seen.lives)
    exits = sorted(life.died_s for life in seen.lives if life.died_s is not None)
    births = sorted(life.born_s for life in seen.lives if life.born_s is not None)
    if not seen.lives:
        return {}
    if not exits:
        how = f"no exit in {lived_s:.0f} s of workers' lives: they live on"
        return {"worker_life_s": Rate(0.0, 0.0, None, how)}
    life = mean_span(lived_s, len(exits), f"{len(exits)} exits in {lived_s:.0f} s of workers' lives")
    gaps = _gaps(exits, births)
    if not gaps:
        return {"worker_life_s": life}
    low, high = min(gaps), max(gaps)
    gap = Rate(
        sum(gaps) / len(gaps),
        low,
        high,
        f"from an exit to the next fork, {len(gaps)} times, the shortest to the longest",
    )
    return {"worker_life_s": life, "worker_gap_s": gap}


def _gaps(exits: list[float], births: list[float]) -> list[float]:
    """Pair each exit with the first fork after it that is left. What falls into one look counts as no gap."""
    gaps, left = [], list(births)
    for at_s in exits:
        following = [born_s for born_s in left if born_s >= at_s]
        if following:
            left.remove(following[0])
            gaps.append(max(0.0, following[0] - at_s))
    return gaps


def _pins(seen: WindowSeen) -> dict[str, Rate | None]:
    """Spread what is held over requests that are held for REQUEST_LIFE_S each, so that on average as much is held."""
    n_pages = sum(each.pages for each in seen.pins)
    lengths = [min(length, HPAGE_PMD_NR) for each in seen.pins for length in each.buffers]
    if not n_pages:
        return {"pins_per_process_hour": Rate(0.0, 0.0, None, "VmPin is 0 in all processes")}
    held_s = f"taken to be held {REQUEST_LIFE_S:.0f} s each"
    how = f"{n_pages} pages pinned (VmPin), {len(lengths)} io_uring buffers in captured regions; {held_s}"
    length = max(1, round(sum(lengths) / len(lengths))) if lengths else None
    held = n_pages / (length or _USUAL_PAGES) / len(seen.pins)
    rate = held * S_PER_HOUR / REQUEST_LIFE_S
    rates: dict[str, Rate | None] = {"pins_per_process_hour": Rate(rate, rate, rate, how)}
    if length:
        rates["pages_per_request"] = Rate(length, min(lengths), max(lengths), "mean length of io_uring's buffers")
    return rates


_USUAL_PAGES = 16
"""Pages of a request where no length is seen, as `pages_per_request` of conf/workload/captured.yaml."""


def _unseen(seen: WindowSeen, rates: dict[str, Rate]) -> Iterator[str]:
    """List in sentences what was not seen."""
    yield from NEVER_SEEN
    yield from _unseen_walks(seen, rates)
    if "frames" in seen.without:
        yield f"writes, and pages that were swapped out ({seen.without['frames']})"
    elif not seen.soft_dirty:
        yield f"writes to pages that are private to a process already ({seen.without['soft-dirty']})"
    if "young bits" in seen.without:
        yield f"reads ({seen.without['young bits']})"
    if "write faults" in seen.without and "frames" not in seen.without:
        yield f"writes of workers that came or went meanwhile ({seen.without['write faults']})"
    if seen.faults is not None and seen.faults.lost:
        yield f"{seen.faults.lost} write faults: the trace buffer ran over"
    yield f"workers that live less than {POLL_S:g} s"
    for process in ("root", "worker"):
        if f"{process}_cold_writes_per_page_hour" not in rates and "frames" not in seen.without:
            yield f"writes of the {process}: no page of it could have shown one"


def _unseen_walks(seen: WindowSeen, rates: Mapping[str, Rate]) -> Iterator[str]:
    """Say what is not known of page walks."""
    if WALKS not in rates:
        reasons = (seen.without.get(name) for name in ("young bits", "CPU time"))
        why = next(
            filter(None, reasons), "no process ran while they were looked at" if seen.walked else "not looked at"
        )
        yield f"cycles in page walks (page_walk_share): {counters.page_walks()}; nor by young bits ({why})"
        return
    yield (
        f"cycles in page walks by a counter ({counters.page_walks()}): young bits show walks to anonymous memory alone, of "
        f"the first {len(seen.walked)} processes, in intervals no shorter than clearing and reading takes, and twice walked "
        f"pages once: none are expected below the TLB's {seen.tlb_entries} entries, which threads do not share"
    )


def _misleading(seen: WindowSeen, changed: Mapping[int, Changes]) -> Iterator[str]:
    """Say where changes of page tables do not tell writes from what else makes them."""
    if n_regions := sum(int(each.by_copies.sum()) for each in changed.values()):
        yield (
            f"writes to private pages of {n_regions} regions: their VMA was made, merged, moved or grown meanwhile, which "
            "marks all of its pages soft-dirty, or a PMD has one bit for all of them"
        )
    if n_pages := sum(each.n_unwritten for each in changed.values()):
        yield (
            f"what the kernel does in a process's name: {n_pages} shared pages were copied without a write fault "
            "(process_vm_readv, O_DIRECT, futexes, io_uring buffers) and do not count as written"
        )
    if seen.complete_faults is None and not seen.soft_dirty and "frames" not in seen.without:
        yield (
            "whether a copied page was written, or copied for get_user_pages() (process_vm_readv, O_DIRECT, futexes, "
            f"io_uring buffers): all count as written ({seen.without.get('write faults', 'write faults were lost')})"
        )
