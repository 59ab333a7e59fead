"""Slots of rows, one by one: looked up on boards, set and cleared there, found in the entries of records.

Everything is done on flat words. Bits that are set or cleared are distinct, so that adding and subtracting them is exact,
and np.add.at is fast where np.bitwise_or.at is not.
"""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Bools, Ints
from thpsweep.model.state.family import Family
from thpsweep.units import BOARD_WORDS


@dataclasses.dataclass
class Events:
    """Slots that are written or unmapped, ascending and distinct by (row, slot). Shapes: each (n,)."""

    row: Ints
    slot: Ints

    @functools.cached_property
    def word(self) -> Ints:
        """Word of the slot in its board."""
        return self.slot >> 6

    @functools.cached_property
    def bit(self) -> npt.NDArray[np.uint64]:
        """The slot's bit in its word."""
        return np.left_shift(np.uint64(1), (self.slot & 63).view(np.uint64))

    def of(self, boards: Boards, owner: Ints) -> Bools:
        """Tell whether each event's slot is on its owner's board."""
        return np.asarray((_flat(boards).take(owner * BOARD_WORDS + self.word) & self.bit) != 0)

    def set(self, boards: Boards, owner: Ints, chosen: Bools) -> None:
        """Put the chosen slots, none of which is there, on their owners' boards."""
        some = indices(chosen)
        np.add.at(_flat(boards), owner[some] * BOARD_WORDS + self.word[some], self.bit[some])

    def clear(self, boards: Boards, owner: Ints, chosen: Bools) -> None:
        """Take the chosen slots, all of which are there, off their owners' boards."""
        some = indices(chosen)
        np.subtract.at(_flat(boards), owner[some] * BOARD_WORDS + self.word[some], self.bit[some])

    def where(self, kept: Bools) -> "Events":
        """Keep some of the events; all, as is usual, without a copy."""
        return self if kept.all() else self.at(bits.where(kept))

    def at(self, index: Ints) -> "Events":
        """Keep some of the events, by index."""
        return Events(self.row[index], self.slot[index])


def indices(chosen: Bools) -> Ints | slice:
    """Index what is chosen; all of it without a copy, as is usual."""
    return slice(None) if chosen.all() else bits.where(chosen)


def _flat(boards: Boards) -> npt.NDArray[np.uint64]:
    return boards.reshape(-1)


def entries_of(family: Family, events: Events, record: Ints, boards: Boards | None = None) -> Ints:
    """Find in each event's record the entry that maps the slot; 0 where the slot is not present. Shapes: (n,) -> (n,).

    boards: another column of the entries to look at, instead of what they map.
    """
    boards = family.entries.slots if boards is None else boards
    entry = family.records.head.take(record).astype(np.int64)
    here = events.of(boards, entry)
    if here.all():
        return entry
    found = np.where(here, entry, 0)
    left = bits.where(~here)
    entry = family.entries.next[entry[left]].astype(np.int64)
    slots, word, bit = _flat(boards), events.word[left], events.bit[left]
    while left.size:
        here = (slots.take(entry * BOARD_WORDS + word) & bit) != 0
        found[left[here]] = entry[here]
        entry = family.entries.next[entry].astype(np.int64)
        going = ~here & (entry != 0)
        left, word, bit, entry = left[going], word[going], bit[going], entry[going]
    return found
