"""The rows that khugepaged's passes may get through next, laid out mm after mm, so that many are scanned together."""

import dataclasses

import numpy as np

from thpsweep.model.bits import Bools, Ints
from thpsweep.model.state.family import Family

AT_ONCE = 1 << 12
"""Rows that are laid out together, beyond those of the mms that the cursors are in."""


@dataclasses.dataclass(frozen=True)
class Ahead:
    """What lies ahead of each cursor, in the order of a scan: the rest of its mm, then later living mms as a whole.

    A scan lets some of it pass, and what was found behind may then be another: usable() says up to where it holds.
    Shapes: sharers, regions, rows, inside (it is there), chosen (worth a scan), guess (what is scanned before it in its
    mm) (n_cursors, n_rows); mm: which of the mms ahead, begin, end: where that begins and ends (n_rows,).
    """

    sharers: Ints
    regions: Ints
    rows: Ints
    inside: Bools
    chosen: Bools
    guess: Ints
    mm: Ints
    begin: Ints
    end: Ints

    @property
    def entered(self) -> Bools:
        """Rows at which an mm is entered, but for the first. Shapes: -> (n_cursors, n_rows)."""
        if not self.mm[-1]:
            return np.zeros(self.rows.shape, bool)
        return np.asarray(self.inside & (self.mm > 0) & (self.begin == np.arange(self.mm.size)))

    def usable(self, progress: Ints, passed: Bools, busy: Bools, left: Ints) -> Bools:
        """Tell which of the chosen rows a pass would scan as they were scanned here, of those that it gets to.

        An mm with something to attempt has to be the first; what lies behind an mm that is not scanned to its end, or
        whose lock is held, is dropped. Shapes: progress, passed, busy (n_cursors, n_rows), left (n_cursors,).
        """
        if not self.mm[-1]:
            return self.chosen
        spent = _before(progress)[:, self.begin] + self.mm
        fitting = self.chosen & (self.guess < np.maximum(1, left[:, None] - spent))
        whole = _before(self.inside & ~fitting)[:, self.begin] == 0
        calm = np.cumsum(passed | busy, axis=1)[:, self.end] == 0
        return np.asarray(fitting & whole & (calm | (self.mm == 0)))


def _before(amounts: Ints | Bools) -> Ints:
    """Sum up what comes before each. Shapes: (n, k) -> (n, k)."""
    return np.subtract(np.cumsum(amounts, axis=1, dtype=np.int64), amounts)


def look_ahead(
    family: Family, going: Ints, sharer: Ints, region: Ints, left: Ints, dearest_row: int, most_mms: int = AT_ONCE
) -> Ahead:
    """Lay out what passes with so many ptes left may get through: a guess on the high side, of so many later mms at most.

    A row that is passed over costs 1, most of the others cost dearest_row. Shapes: each (n_cursors,), replicates in `going`.
    """
    ahead = _rest(family, going, sharer, region, left, dearest_row)
    if (ahead.regions[:, -1] < family.n_regions - 1).all():  # no mm ends before the pass does
        return ahead
    most_mms = min(most_mms, AT_ONCE // (going.size * family.n_regions))
    if not most_mms:
        return ahead
    later = _later(family, going, sharer)
    n_mms = min(int(later.sum(axis=1).max()), most_mms)
    return _with_later(family, going, sharer, region, left, dearest_row, later, n_mms) if n_mms else ahead


def _rest(family: Family, going: Ints, sharer: Ints, region: Ints, left: Ints, dearest_row: int) -> Ahead:
    """Lay out the rest of the mms that the cursors are in, as far as the passes can get."""
    n_regions = family.n_regions
    regions = region[:, None] + np.arange(min(n_regions, int(left.max())))
    inside = regions < n_regions
    rows = (np.minimum(regions, n_regions - 1) + going[:, None] * n_regions) * family.n_sharers + sharer[:, None]
    guess = _before(guessed(family, rows, dearest_row) * inside)
    chosen = inside & (guess < left[:, None])
    width = int(np.count_nonzero(chosen, axis=1).max())
    sharers = np.broadcast_to(sharer[:, None], (going.size, width))
    cut = (regions[:, :width], rows[:, :width], inside[:, :width], chosen[:, :width], guess[:, :width])
    mm = np.zeros(width, np.int64)
    return Ahead(sharers, *cut, mm, mm, mm)


def guessed(family: Family, rows: Ints, dearest_row: int) -> Ints:
    """Guess what scans of rows cost. Shapes: (...) -> (...)."""
    return np.where(family.pmd[rows] | (family.record_of[rows] == 0), 1, dearest_row)


def _with_later(
    family: Family, going: Ints, sharer: Ints, region: Ints, left: Ints, dearest_row: int, later: Bools, n_mms: int
) -> Ahead:
    """Lay out the rest of the cursors' mms and so many of the later ones."""
    n_regions = family.n_regions
    width = int((n_regions - region).max())
    when = np.where(later, family.registered[going], np.iinfo(np.int64).max)
    others = np.argsort(when, axis=1, kind="stable")[:, :n_mms]
    there = np.take_along_axis(later, others, axis=1)
    regions = region[:, None] + np.arange(width)
    inside = np.concatenate((regions < n_regions, there.repeat(n_regions, axis=1)), axis=1)
    regions = np.minimum(np.concatenate((regions, _tiled(n_regions, going.size, n_mms)), axis=1), n_regions - 1)
    sharers = np.concatenate((sharer[:, None].repeat(width, axis=1), others.repeat(n_regions, axis=1)), axis=1)
    rows = (regions + going[:, None] * n_regions) * family.n_sharers + sharers
    mm = np.concatenate((np.zeros(width, np.int64), np.arange(1, n_mms + 1).repeat(n_regions)))
    begin = np.where(mm == 0, 0, width + (mm - 1) * n_regions)
    end = np.where(mm == 0, width, begin + n_regions) - 1
    before = _before(guessed(family, rows, dearest_row) * inside)
    guess = before - before[:, begin]
    chosen = inside & (guess < left[:, None]) & ((before[:, begin] + mm < left[:, None]) | (mm == 0))
    return Ahead(sharers, regions, rows, inside, chosen, guess, mm, begin, end)


def _later(family: Family, going: Ints, sharer: Ints) -> Bools:
    """Tell who lives and was registered later than the cursors' mms. Shapes: (n,), (n,) -> (n, n_sharers)."""
    return np.asarray(family.alive[going] & (family.registered[going] > family.registered[going, sharer][:, None]))


def _tiled(n_regions: int, n_cursors: int, n_mms: int) -> Ints:
    return np.broadcast_to(np.tile(np.arange(n_regions), n_mms), (n_cursors, n_mms * n_regions))
