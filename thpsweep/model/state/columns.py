"""Growable structs of arrays: the storage behind the family's records, entries, layers and folios."""

from typing import ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Ints

_FIRST_CAPACITY = 64


class Columns:
    """Hand out row numbers of a struct of arrays, take them back, and grow by doubling.

    Subclasses are dataclasses whose fields are arrays with the row axis first. Row 0 is reserved: it means "none".
    Rows that are handed out are zeroed. Columns named in `lazy` take no memory, and must not be asked, until wake().
    """

    lazy: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        self._names = [name for name in vars(self) if name not in self.lazy]  # so far, its columns
        self._free = np.zeros(0, np.int64)
        self._used = self._capacity = 1
        self._wide = [name for name in self._names if getattr(self, name).ndim > 1]

    def wake(self, name: str) -> None:
        """Give a lazy column its rows, all zero, unless it has them."""
        if name not in self._names:
            column = getattr(self, name)
            setattr(self, name, np.zeros((self._capacity, *column.shape[1:]), column.dtype))
            self._names.append(name)
            self._wide += [name] if column.ndim > 1 else []

    def take(self, n: int) -> Ints:
        """Hand out n zeroed rows. Shapes: -> (n,)."""
        kept = self._free.size - min(n, self._free.size)
        reused, self._free = self._free[kept:], self._free[:kept]
        if reused.size:
            self.clear(reused)
        fresh = self.take_fresh(n - reused.size)
        return np.concatenate((reused, fresh)) if reused.size else fresh

    def take_fresh(self, n: int) -> Ints:
        """Hand out n zeroed rows with numbers in a row that were never used. Shapes: -> (n,)."""
        first, self._used = self._used, self._used + n
        if self._used > self._capacity:
            self._reserve(self._used, first)
        for name in self._wide:
            getattr(self, name)[first : self._used] = 0
        return np.arange(first, self._used)

    def clear(self, rows: Ints) -> None:
        """Zero rows."""
        for column in self._columns():
            column[rows] = 0

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
        return bits.where(flags)

    @property
    def state_bytes(self) -> int:
        """Bytes of all columns, spare capacity included."""
        return sum(column.nbytes for column in self._columns())

    def _columns(self) -> list[np.ndarray]:
        return [getattr(self, name) for name in self._names]

    def _reserve(self, rows: int, kept: int) -> None:
        """Grow; wide columns are zeroed only as their rows are handed out: no code looks at all of one."""
        self._capacity = max(rows, 2 * self._capacity, _FIRST_CAPACITY)
        for name in self._names:
            column = getattr(self, name)
            make = np.empty if column.ndim > 1 else np.zeros
            grown = make((self._capacity, *column.shape[1:]), column.dtype)
            grown[:kept] = column[:kept]
            setattr(self, name, grown)
