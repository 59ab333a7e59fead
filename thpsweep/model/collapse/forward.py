"""Go over passes of khugepaged that find nothing to attempt at once, instead of one by one.

Within a tick nothing changes but by attempts, and whoever draws something for a row draws it once a tick. So all rows that
passes may get to are scanned together, and what each pass does follows from what its rows cost (passes.py).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.collapse.cursors import NEVER, Cursors
from thpsweep.model.collapse.lookahead import guessed
from thpsweep.model.collapse.passes import Tape, follow, holds, passes, visits
from thpsweep.model.collapse.scan import Scanned
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family

LEAST = 3
"""Passes from which on it is faster than to make them one by one."""
AT_ONCE = 1 << 15
"""Rows that are laid out together at most, of all replicates."""
ROWS_PER_PASS = 512
"""Rows of an mm for each pass that is to be made, up to which laying them out is worth it."""
MOST, AHEAD = 1 << 11, 4
"""Calm passes that are remembered, and how many are tried for each."""
EXCITED = 8
"""A pass in which something passes its scan leaves so small a part of the calm."""


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Mms from a replicate's cursor on, or all of them; the place of the cursor among them; which rows are worth a scan.

    Shapes: mms (n_mms,), rows, guess, chosen (n_mms, n_regions).
    """

    replicate: int
    mms: Ints
    rows: Ints
    guess: Ints
    chosen: Bools
    place: int
    whole: bool

    @property
    def turns(self) -> Ints:
        """Number the mms of the chosen rows. Shapes: -> (n,)."""
        return self.chosen.nonzero()[0]


def stretches(family: Family, cursors: Cursors, due: Ints, limit: int, dearest_row: int) -> list[Stretch]:
    """Lay out what is ahead of the cursors of which so many passes are due, where that is likely to be worth it."""
    wanted = np.minimum(due, AHEAD * cursors.calm)
    able = (wanted >= LEAST) & ~cursors.asleep & (family.n_regions <= ROWS_PER_PASS * wanted)
    there = bits.where(able & family.alive.any(axis=1))
    sharer = np.minimum(cursors.sharer[there], family.n_sharers - 1)
    lives = family.alive[there, sharer] & (family.registered[there, sharer] == cursors.registered[there])
    there = there[lives | (cursors.sharer[there] == family.n_sharers)]
    return [
        _stretch(family, cursors, int(replicate), int(wanted[replicate]) * limit, AT_ONCE // there.size, dearest_row)
        for replicate in there
    ]


def _stretch(family: Family, cursors: Cursors, replicate: int, pages: int, room: int, dearest_row: int) -> Stretch:
    n_regions, sharer = family.n_regions, cursors.sharer[replicate]
    living = bits.where(family.alive[replicate])
    mms = living[np.argsort(family.registered[replicate, living])]
    at, whole = int(np.argmax(mms == sharer)), mms.size * n_regions <= room
    if not whole:
        mms, at = mms[at : at + max(1, room // n_regions)], 0
    begin = at * n_regions + int(cursors.region[replicate])
    rows = (np.arange(n_regions) + replicate * n_regions) * family.n_sharers + mms[:, None]
    guess = guessed(family, rows, dearest_row)
    ahead = np.roll(guess.reshape(-1), -begin)
    chosen = np.roll(np.cumsum(ahead) - ahead < pages, begin).reshape(rows.shape)
    if not whole:
        chosen.reshape(-1)[:begin] = False
    used = bits.where(np.asarray(chosen.any(axis=1)))
    if used.size and used[0] >= at and used[-1] + 1 < mms.size:  # passes do not come to the end of the list
        cut, at, whole = slice(at, used[-1] + 1), 0, False
        mms, rows, guess, chosen = mms[cut], rows[cut], guess[cut], chosen[cut]
    mm = mms.size if sharer == family.n_sharers else at
    return Stretch(replicate, mms, rows, guess, chosen, mm * (n_regions + 1) + int(cursors.region[replicate]), whole)


def tapes(
    parts: list[Stretch], found: Scanned, limit: int, busy: list[Bools], asked_ahead: bool
) -> Iterator[tuple[Tape, Ints]]:
    """Make tapes of what was found in the chosen rows of stretches; give each with its results (n_mms, n_regions)."""
    begin = 0
    for part, held in zip(parts, busy, strict=True):
        end = begin + int(np.count_nonzero(part.chosen))
        mine, begin = found.where(np.arange(begin, end)), end
        cost, results, obstacle = part.guess.copy(), np.zeros(part.rows.shape, np.int64), ~part.chosen
        cost[part.chosen], results[part.chosen], obstacle[part.chosen] = mine.progress, mine.results, mine.passed
        yield Tape(cost, part.guess, obstacle, held, limit, part.whole, asked_ahead), results


def advance(
    cursors: Cursors, family: Family, counts: Counts, outcomes: Ints, part: Stretch, tape: Tape, results: Ints, due: int
) -> int:
    """Make as many of the passes that are due as attempt nothing; count what they do, and give their number."""
    found = passes(tape)
    places = follow(found, part.place, due)
    begins, place, replicate = places[:-1], int(places[-1]), np.array([part.replicate])
    if not begins.size:
        return 0
    seen = visits(tape, found, begins)
    np.add.at(outcomes[part.replicate], results.reshape(-1), seen.reshape(-1))
    counts.add("ptes_scanned", replicate, int((seen * tape.cost).sum()))
    counts.add("trylocks_failed", replicate, int(found.trylocks_failed[begins].sum()))
    counts.add("full_scans", replicate, int(found.full_scans[begins].sum()))
    scanned = holds(tape, found, begins)
    counts.hold(part.rows[:1, 0].repeat(scanned.size), scanned=scanned)
    _move(cursors, family, part, place)
    cursors.calm[part.replicate] = min(MOST, cursors.calm[part.replicate] + begins.size)
    return begins.size


def _move(cursors: Cursors, family: Family, part: Stretch, place: int) -> None:
    """Put a cursor to a place of its stretch."""
    replicate, (mm, region) = part.replicate, divmod(place, family.n_regions + 1)
    before_first = mm == part.mms.size
    sharer = family.n_sharers if before_first else int(part.mms[mm])
    cursors.sharer[replicate], cursors.region[replicate] = sharer, region
    cursors.registered[replicate] = NEVER if before_first else family.registered[replicate, sharer]
