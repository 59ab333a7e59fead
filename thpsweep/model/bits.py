"""Bitboards: the 512 slots of a region as 8 little-endian uint64 words, slot i = bit i % 64 of word i // 64.

NumPy traps that this file keeps in one place: bitwise_count gives uint8 (sums overflow), packbits defaults to big-endian
bits, uint64 mixed with int64 becomes float64.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from thpsweep.units import BOARD_WORDS, HPAGE_PMD_NR, HPAGE_PMD_ORDER

Boards = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]

_BOARD = np.dtype((np.void, 8 * BOARD_WORDS))

FULL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW_BYTES = np.uint64(0x00FF_00FF_00FF_00FF)
_ONES = np.uint64(0x0001_0001_0001_0001)

_FEW = 128
"""Boards up to which NumPy's own reduction is faster: what counts there is the number of calls."""


def where(flags: npt.NDArray[Any]) -> Ints:
    """List where flags are set: np.flatnonzero() without its layers, which take five times as long for a few flags."""
    return flags.ravel().nonzero()[0]


def empty(n: int) -> Boards:
    """Give n boards without a slot. Shapes: (n, 8)."""
    return np.zeros((n, BOARD_WORDS), np.uint64)


def full(n: int) -> Boards:
    """Give n boards with every slot. Shapes: (n, 8)."""
    return np.full((n, BOARD_WORDS), FULL)


def at(boards: Boards, index: npt.NDArray[np.integer[Any]]) -> Boards:
    """Give the boards at indices: several times as fast as boards[index]. Shapes: (n, 8), (k,) -> (k, 8)."""
    return boards.take(index, axis=0)


def put(boards: Boards, index: Ints, values: Boards) -> None:
    """Replace the boards at indices, as one item each: twice as fast as boards[index] = values. Shapes: (k,), (k, 8)."""
    boards.view(_BOARD)[:, 0][index] = np.ascontiguousarray(values).view(_BOARD)[:, 0]


def count(boards: Boards) -> Ints:
    """Count the slots of each board. Shapes: (..., 8) -> (...)."""
    if len(boards) <= _FEW:
        return np.asarray(np.add.reduce(np.bitwise_count(boards), axis=-1, dtype=np.int64))
    per_word = np.ascontiguousarray(np.bitwise_count(boards)).view(np.uint64)[..., 0]
    # Eight bytes of at most 64 each, added pairwise in 16-bit lanes: NumPy's own sum over an inner axis of 8 is slower.
    lanes = (per_word & _LOW_BYTES) + ((per_word >> np.uint64(8)) & _LOW_BYTES)
    return ((lanes * _ONES) >> np.uint64(48)).view(np.int64)


def any_slot(boards: Boards) -> Bools:
    """Tell which boards have a slot at all. Shapes: (n, 8) -> (n,)."""
    if len(boards) <= _FEW:
        return np.asarray(np.logical_or.reduce(boards, axis=1))
    merged = boards[:, 0] | boards[:, 1]
    for word in range(2, BOARD_WORDS):
        merged = merged | boards[:, word]
    return np.asarray(merged != 0)


def nth(boards: Boards, number: int) -> Ints:
    """Give the slot of each board that has so many set ones before it; each has more. Shapes: (n, 8) -> (n,)."""
    running = np.cumsum(np.bitwise_count(boards), axis=1, dtype=np.int64)
    word = np.argmax(running > number, axis=1)
    each = np.arange(word.size)
    words = boards[each, word]
    before = running[each, word] - np.bitwise_count(words)
    in_word = np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    found = np.cumsum(in_word, axis=1, dtype=np.uint8) > (number - before)[:, None]
    return np.asarray(word * 64 + np.argmax(found, axis=1))


def count_slices(boards: Boards, size: int) -> Ints:
    """Count the slices of `size` consecutive slots that have a slot set. Shapes: (n, 8) -> (n,)."""
    if size == HPAGE_PMD_NR:
        return any_slot(boards).astype(np.int64)
    found = np.bitwise_or.reduceat(expand(boards), np.arange(0, HPAGE_PMD_NR, size), axis=1)
    return np.asarray(found.sum(axis=1, dtype=np.int64))


def expand(boards: Boards) -> npt.NDArray[np.uint8]:
    """Give one byte (0 or 1) a slot. Shapes: (n, 8) -> (n, 512)."""
    raw = np.ascontiguousarray(boards).view(np.uint8)
    return np.unpackbits(raw, axis=-1, bitorder="little")


def pack(flags: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> Boards:
    """Turn one flag a slot into boards. Shapes: (n, 512) -> (n, 8)."""
    return np.ascontiguousarray(np.packbits(flags, axis=-1, bitorder="little")).view(np.uint64)


def pairs(boards: Boards) -> tuple[Ints, Ints]:
    """List the set slots as (board index, slot), boards ascending, slots ascending. Shapes: (n, 8) -> (k,), (k,)."""
    words = where(boards.reshape(-1))
    if words.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    raw = np.ascontiguousarray(boards).reshape(-1)[words].view(np.uint8).reshape(-1, 8)
    word_of, bit = np.nonzero(np.unpackbits(raw, axis=-1, bitorder="little"))
    word = words[word_of]
    return word // BOARD_WORDS, (word % BOARD_WORDS) * 64 + bit


def from_pairs(n: int, index: Ints, slot: Ints) -> Boards:
    """Set the given slots of n empty boards; duplicates are harmless. Shapes: (k,), (k,) -> (n, 8)."""
    flat = np.zeros(n * BOARD_WORDS, np.uint64)
    bit = np.uint64(1) << (slot & 63).astype(np.uint64)
    np.bitwise_or.at(flat, index * BOARD_WORDS + (slot >> 6), bit)
    return flat.reshape(n, BOARD_WORDS)


def blocks(order: int) -> Boards:
    """Give the aligned blocks of 2 ** order slots. Shapes: -> (512 >> order, 8)."""
    return SPANS[_SPANS_OF[order] : _SPANS_OF[order] + (HPAGE_PMD_NR >> order)]


def by_block(boards: Boards, order: int) -> Ints:
    """Count the slots of each board in each block of 2 ** order. Shapes: (n, 8) -> (n, 512 >> order)."""
    flags = expand(boards).reshape(len(boards), HPAGE_PMD_NR >> order, 1 << order)
    return np.asarray(flags.sum(axis=2, dtype=np.int64))


def spans(orders: npt.NDArray[np.integer[Any]], numbers: npt.NDArray[np.integer[Any]]) -> Boards:
    """Give the slots of blocks by their order and number in the region. Shapes: (n,), (n,) -> (n, 8)."""
    return at(SPANS, _SPANS_OF[orders] + numbers)


def below(slots: Ints) -> Boards:
    """Give boards with every slot smaller than the given one (0..512). Shapes: (n,) -> (n, 8)."""
    return pack(np.arange(HPAGE_PMD_NR)[None, :] < slots[:, None])


_SPANS_OF = np.array([sum(HPAGE_PMD_NR >> each for each in range(order)) for order in range(HPAGE_PMD_ORDER + 1)])
SPANS = np.concatenate(
    [
        pack(np.repeat(np.eye(HPAGE_PMD_NR >> order, dtype=bool), 1 << order, axis=1))
        for order in range(HPAGE_PMD_ORDER + 1)
    ]
)
"""Boards of all aligned blocks: order 0 first, each from the lowest slot on."""
