"""Passes of khugepaged in which nothing is attempted, as arithmetic: where each ends follows from what its rows cost.

A place is where a pass may begin: mm * (n_regions + 1) + region of the tape, where region n_regions is behind the mm's last;
n_mms * (n_regions + 1) is before the first mm. A list is begun twice at most in a pass, so that the tape is laid out twice.
"""

import dataclasses
import functools

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Bools, Ints

UNKNOWN = -1
"""Stands for where a pass ends that may attempt something, or leaves the tape."""


@dataclasses.dataclass(frozen=True)
class Tape:
    """Rows of mms in the order of a scan: what each costs, and was guessed to; where something stands in the way.

    busy: the mm's lock is not to be had at this region. whole: these are all mms, and the first comes after the last; else
    it is unknown what comes there. asked_ahead: a pass asks about what stands in the way behind its end, too, as far as its
    mm goes. Shapes: cost, guess, obstacle (n_mms, n_regions), busy (n_mms, n_regions + 1).
    """

    cost: Ints
    guess: Ints
    obstacle: Bools
    busy: Bools
    limit: int
    whole: bool
    asked_ahead: bool

    @functools.cached_property
    def before(self) -> Ints:
        """Cost of the rows before each. Shapes: -> (n_mms * n_regions + 1,)."""
        return running(self.cost.reshape(-1))

    @functools.cached_property
    def skipped(self) -> Bools:
        """Mms that a pass cannot enter at their first region, tape after tape. Shapes: -> (2 * n_mms,)."""
        return np.tile(self.busy[:, 0], 2)

    @functools.cached_property
    def spent(self) -> Ints:
        """Cost of rows and of entering mms before each row, tape after tape. Shapes: -> (2 * n_mms * n_regions + 1,)."""
        first = np.arange(self.cost.shape[1]) == 0
        return running(np.tile(np.where(self.busy[:, :1], 0, self.cost + first).reshape(-1), 2))


@dataclasses.dataclass(frozen=True)
class Passes:
    """What a pass from each place does: first rows [begin, end) of the mm it begins in, then rows [later, until) of the
    tapes, mms that are busy left out.

    spent: when it leaves the first mm; entered: which mms it tries then, [first, last) of both tapes; over: it ends with a
    list, not in an mm. Shapes: each (n_places,).
    """

    begin: Ints
    end: Ints
    later: Ints
    until: Ints
    spent: Ints
    first: Ints
    last: Ints
    over: Bools
    full_scans: Ints
    trylocks_failed: Ints
    next: Ints


def running(amounts: Ints | Bools) -> Ints:
    """Sum up what comes before each, and all. Shapes: (n,) -> (n + 1,)."""
    sums = np.zeros(amounts.size + 1, np.int64)
    np.cumsum(amounts, out=sums[1:])
    return sums


def passes(tape: Tape) -> Passes:
    """Work out the passes from all places of a tape."""
    n_mms, n_regions = tape.cost.shape
    size = n_mms * n_regions
    mm, region = np.arange(n_mms).repeat(n_regions + 1), np.tile(np.arange(n_regions + 1), n_mms)
    begin, behind, held = mm * n_regions + region, (mm + 1) * n_regions, tape.busy.reshape(-1)
    end = np.searchsorted(tape.before, tape.before[begin] + tape.limit - 1)
    end = np.where(held, begin, np.minimum(np.maximum(end, begin + 1), behind))
    spent = np.where(held, 0, 1 + tape.before[end] - tape.before[begin])
    ended = ~held & (spent >= tape.limit)
    nothing = ended & (region == n_regions)  # behind the last region, where taking the lock was all that it could do
    begin, end, spent = (np.append(amounts, 0) for amounts in (begin, end, spent))
    ended, held, nothing = (np.append(flags, False) for flags in (ended, held, nothing))
    first = np.append(mm + 1, n_mms if tape.whole else 0)
    later = first * n_regions
    until = np.searchsorted(tape.spent, tape.spent[later] + tape.limit - spent)
    over = ~ended & (until > 2 * size)
    until = np.where(ended, later, np.minimum(until, 2 * size))
    last = np.where(ended, first, -(-until // n_regions))
    in_mm = np.where(ended, end - (first - 1) * n_regions, until - (last - 1) * n_regions)
    at = np.where(ended, first - 1, last - 1) % n_mms
    following = np.where(over, n_mms * (n_regions + 1), at * (n_regions + 1) + in_mm)
    following[nothing] = first[nothing] * (n_regions + 1)
    crossed = np.where(ended, nothing & (first == n_mms), until > size).astype(np.int64) + over
    crossed[-1] = over[-1]
    tried = running(tape.skipped)
    result = Passes(
        begin, end, later, until, spent, first, last, over, crossed, held + tried[last] - tried[first], following
    )
    following[_hindered(tape, result, ended)] = UNKNOWN
    return result


def _hindered(tape: Tape, found: Passes, ended: Bools) -> Bools:
    """Tell from which places a pass may meet an obstacle, or leaves the tape."""
    n_mms, n_regions = tape.cost.shape
    there = running(tape.obstacle.reshape(-1))
    passable = np.where(tape.busy[:, :1], False, tape.obstacle).reshape(-1)
    later = running(np.tile(passable, 2))
    end, until = found.end, found.until
    if tape.asked_ahead:
        end = np.where(end > found.begin, -(-end // n_regions) * n_regions, end)
        until = -(-until // n_regions) * n_regions
    hindered = there[end] > there[found.begin]
    hindered |= later[until] > later[found.later]
    if not tape.whole:
        hindered |= ~ended & (found.until > n_mms * n_regions)
        hindered |= ended & (found.next == n_mms * (n_regions + 1))
    return np.asarray(hindered)


def follow(found: Passes, place: int, most: int) -> Ints:
    """Make passes from a place on, so many at most, as long as it is known what they do; give where each begins, and where
    the last ends. Shapes: -> (n_passes + 1,)."""
    following, places = found.next.tolist(), [place]
    for _ in range(most):
        place = following[place]
        if place == UNKNOWN:
            break
        places.append(place)
    return np.array(places, np.int64)


def visits(tape: Tape, found: Passes, places: Ints) -> Ints:
    """Count how often passes from these places scan each row. Shapes: (k,) -> (n_mms, n_regions)."""
    size = tape.cost.size
    inner = np.bincount(found.begin[places], minlength=size + 1) - np.bincount(found.end[places], minlength=size + 1)
    outer = np.bincount(found.later[places], minlength=2 * size + 1)
    outer -= np.bincount(found.until[places], minlength=2 * size + 1)
    entered = np.cumsum(outer)[:-1].reshape(2, *tape.cost.shape).sum(axis=0)
    entered[tape.busy[:, 0]] = 0
    return np.asarray(np.cumsum(inner)[:-1].reshape(tape.cost.shape) + entered)


def holds(tape: Tape, found: Passes, places: Ints) -> Ints:
    """List for how many ptes each hold of an mmap_lock lasted, in the order of time. Shapes: (k,) -> (n,)."""
    n_mms, n_regions = tape.cost.shape
    free = running(~tape.skipped)
    first, last = free[found.first[places]], free[found.last[places]]
    begin, end = found.begin[places], found.end[places]
    inner = end > begin
    n_holds = inner + last - first
    starts = running(n_holds)
    number = np.arange(starts[-1]) - starts[:-1].repeat(n_holds)  # of each hold in its pass
    which = number + (first - inner).repeat(n_holds)
    mm = np.append(bits.where(~tape.skipped), 0)[np.maximum(which, 0)]
    begins, ends = mm * n_regions, (mm + 1) * n_regions
    left = tape.limit - 1 - (found.spent[places] - tape.spent[found.later[places]]).repeat(n_holds)
    left -= tape.spent[begins]
    own = starts[:-1][inner]
    begins[own], ends[own], left[own] = begin[inner], end[inner], tape.limit - 1
    some = last > first
    final = starts[1:][some] - 1
    ends[final] = np.minimum(ends[final], found.until[places][some])  # a list may end with mms that are busy
    turn = tape.cost.size * (mm >= n_mms)
    turn[own] = 0
    return _cut(tape, begins - turn, ends - turn, left)


def _cut(tape: Tape, begins: Ints, ends: Ints, left: Ints) -> Ints:
    """Cut parts of mms where more rows turned out to fit in than were laid out at first. Shapes: each (k,) -> (n,)."""
    if not begins.size or (tape.guess <= tape.cost).all():
        return np.asarray(tape.before[ends] - tape.before[begins])
    guessed = running(tape.guess.reshape(-1))
    part, pieces, order = np.arange(begins.size), [], []
    while part.size:
        cut = np.searchsorted(guessed, guessed[begins] + left)
        cut = np.minimum(np.maximum(cut, begins + 1), ends)
        pieces.append(tape.before[cut] - tape.before[begins])
        order.append(part)
        left, begins = left - pieces[-1], cut
        going = begins < ends
        part, begins, ends, left = part[going], begins[going], ends[going], left[going]
    together = np.argsort(np.concatenate(order), kind="stable")
    return np.concatenate(pieces)[together]
