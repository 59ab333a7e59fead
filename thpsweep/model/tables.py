"""Growable structs of arrays: the storage behind the family's records, entries, layers and folios."""

import dataclasses

import numpy as np

from thpsweep.model.bits import Ints

_FIRST_CAPACITY = 64


class Table:
    """Hand out row numbers of a struct of arrays, take them back, and grow by doubling.

    Subclasses are dataclasses whose fields are arrays with the row axis first. Row 0 is reserved: it means "none".
    Rows that are handed out are zeroed.
    """

    def __post_init__(self) -> None:
        self._free = np.zeros(0, np.int64)
        self._used = self._capacity = 1

    def take(self, n: int) -> Ints:
        """Hand out n zeroed rows. Shapes: -> (n,)."""
        kept = self._free.size - min(n, self._free.size)
        reused, self._free = self._free[kept:], self._free[:kept]
        first, self._used = self._used, self._used + n - reused.size
        if self._used > self._capacity:
            self._reserve(self._used)
        fresh = np.arange(first, self._used)
        if not reused.size:
            return fresh
        for column in self._columns():
            column[reused] = 0
        return np.concatenate((reused, fresh))

    def give(self, rows: Ints) -> None:
        """Take rows back; the caller keeps no reference to them."""
        self._free = np.concatenate((self._free, rows))

    @property
    def in_use(self) -> int:
        """How many rows are handed out."""
        return self._used - 1 - self._free.size

    def live(self) -> Ints:
        """List the rows that are handed out, ascending."""
        flags = np.ones(self._used, bool)
        flags[0] = False
        flags[self._free] = False
        return np.flatnonzero(flags)

    @property
    def state_bytes(self) -> int:
        """Bytes of all columns, spare capacity included."""
        return sum(column.nbytes for column in self._columns())

    def _columns(self) -> list[np.ndarray]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]

    def _reserve(self, rows: int) -> None:
        self._capacity = max(rows, 2 * self._capacity, _FIRST_CAPACITY)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            column = getattr(self, field.name)
            grown = np.zeros((self._capacity, *column.shape[1:]), column.dtype)
            grown[: column.shape[0]] = column
            setattr(self, field.name, grown)
