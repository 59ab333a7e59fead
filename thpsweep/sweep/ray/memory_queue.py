"""What points need of a machine's memory: points of about the same size are handed out to workers that declared it."""

import math
import sys
from collections.abc import Sequence

from thpsweep.sweep.local.launcher import Task
from thpsweep.sweep.planning.limits import need_bytes
from thpsweep.sweep.ray.chunks import Chunk, Chunks

LEAST_BAND_BYTES = 512 << 20
"""Smaller points are all taken to be of one size: telling them apart would fit no more of them on a node."""


class MemoryQueue:
    """Points in bands of size, each a power of two wide; a worker takes of the largest band that it declared enough for."""

    def __init__(self, tasks: Sequence[Task], n_workers: int = 1, most_bytes: int = sys.maxsize) -> None:
        self._n_workers, self._most_bytes = n_workers, most_bytes
        self._band_of: dict[str, int] = {}
        self._most: dict[int, int] = {}
        self._chunks: dict[int, Chunks] = {}
        self.add(tasks)

    def add(self, tasks: Sequence[Task]) -> None:
        """Take points that have not been out yet.

        One that comes later and is larger than its band has known widens it at once to all that the band allows, so that
        workers are not replaced for each point that is a little larger than the last; but not beyond `most_bytes`.
        """
        known = set(self._most)
        for task in tasks:
            need = need_bytes(task[1])
            band = max(math.ceil(math.log2(need / LEAST_BAND_BYTES)), 0)
            self._band_of[task[0]] = band
            if need > self._most.get(band, 0):
                widened = min(LEAST_BAND_BYTES << band, max(self._most_bytes, need))
                self._most[band] = widened if band in known else need
            self._chunks.setdefault(band, Chunks([], self._n_workers)).add([task])
        self._chunks = dict(sorted(self._chunks.items(), reverse=True))

    def __len__(self) -> int:
        return sum(map(len, self._chunks.values()))

    @property
    def left(self) -> list[tuple[int, int]]:
        """List what is left to hand out, the largest first: bytes that a worker has to declare, and points."""
        return [(self._most[band], len(chunks)) for band, chunks in self._chunks.items() if len(chunks)]

    def expect(self, n_workers: int) -> None:
        """Say how many will share what is left."""
        self._n_workers = max(n_workers, 1)
        for chunks in self._chunks.values():
            chunks.n_workers = self._n_workers

    def take(self, worker: int, declared_bytes: int) -> Chunk:
        """Give a worker its next points; nothing where none are left that it declared enough for."""
        for band, chunks in self._chunks.items():
            if len(chunks) and self._most[band] <= declared_bytes:
                return chunks.take(worker)
        return []

    def again(self, *chunks: Chunk) -> None:
        """Take back points that came to nothing; a chunk is of one band."""
        for chunk in chunks:
            if chunk:
                self._chunks[self._band_of[chunk[0][0]]].again(chunk)

    def measured(self, key: str, wall_s: float) -> None:
        """Learn from a point that ended."""
        self._chunks[self._band_of[key]].pace.measured(key, wall_s)


def layout(cpus: int, memory_bytes: int, left: Sequence[tuple[int, int]]) -> list[int]:
    """Share a machine out: what each of its workers declares, one a CPU, as far as memory reaches, the largest first."""
    sizes: list[int] = []
    for need, n_points in left:
        fit = max(min(cpus - len(sizes), (memory_bytes - sum(sizes)) // need, n_points), 0)
        sizes += [need] * fit
    return sizes
