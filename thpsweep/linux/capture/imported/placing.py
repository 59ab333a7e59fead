"""Where the pages of a mapping are taken to lie: what is shared first, then what is private, from its first region on."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thpsweep.linux.capture.imported.sums import Sums
from thpsweep.units import HPAGE_PMD_NR

Run = tuple[int, int]
"""First slot and the slot after the last; slots are counted from address 0."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """Lay one mapping of one process out, in runs of slots.

    Large folios lie where they fit: in the shared pages, in the private ones, and one across both if it has to be.
    folios: regions that map a folio whole; huge: those that do by a PMD. end: where its whole regions end.
    shared_runs: where the shared pages lie if it is not in one run.
    """

    process: int
    shared: Run
    private: tuple[Run, ...]
    swapped: tuple[Run, ...]
    folios: frozenset[int]
    huge: frozenset[int]
    end: int
    shared_runs: tuple[Run, ...] = ()

    @property
    def sharing(self) -> tuple[Run, ...]:
        """List the runs of shared pages."""
        return self.shared_runs or (self.shared,)

    @property
    def regions(self) -> range:
        """List the regions from the first to the last that has something."""
        stop = max(stop for _, stop in self._runs)
        return range(self.shared[0] // HPAGE_PMD_NR, -(-stop // HPAGE_PMD_NR))

    @property
    def _runs(self) -> tuple[Run, ...]:
        return (*self.sharing, *self.private, *self.swapped)

    def has_something(self, region: int) -> bool:
        """Tell whether anything lies in a region."""
        begin, end = region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR
        return any(max(start, begin) < min(stop, end) for start, stop in self._runs)

    def look(self, region: int) -> tuple[object, ...]:
        """Give what two regions have in common that look alike."""
        begin = region * HPAGE_PMD_NR
        inside = (
            (min(max(start - begin, 0), HPAGE_PMD_NR), min(max(stop - begin, 0), HPAGE_PMD_NR))
            for start, stop in self._runs
        )
        return self.process, *inside, region in self.folios, region in self.huge

    def slots(self, runs: Sequence[Run], region: int) -> Flags:
        """Mark the slots of a region that runs cover. Shapes: -> (512,)."""
        found = np.zeros(HPAGE_PMD_NR, np.bool_)
        begin = region * HPAGE_PMD_NR
        for start, stop in runs:
            found[max(0, start - begin) : max(0, stop - begin)] = True
        return found

    def cut(self, process: int, n_shared: int) -> "Placed":
        """Make another process that has the same, but only the first of the shared pages."""
        stop = self.shared[0] + n_shared
        lost = {region for region in self.folios if stop < min(self.shared[1], (region + 1) * HPAGE_PMD_NR)}
        lost = {region for region in lost if region * HPAGE_PMD_NR < self.shared[1]}
        return dataclasses.replace(
            self, process=process, shared=(self.shared[0], stop), shared_runs=(), folios=self.folios - lost,
            huge=self.huge - lost,
        )  # fmt: skip


@dataclass(frozen=True)
class Edges:
    """Count what did not fit into the whole regions of a mapping: it lies at its edges. Units: pages."""

    private: int
    shared: int
    swapped: int


def place(process: int, sums: Sums) -> tuple[Placed, Edges]:
    """Lay a mapping out in its whole regions, and say what did not fit: as much of what is shared as of what is private."""
    first, stop = sums.span
    capacity = (stop - first) * HPAGE_PMD_NR
    over = max(0, sums.pages - capacity)
    private = sums.private - round(over * sums.private / max(1, sums.pages))
    shared = min(sums.shared, capacity - private) if over else sums.shared
    swapped = min(sums.swapped, capacity - private - shared)
    edges = Edges(sums.private - private, sums.shared - shared, sums.swapped - swapped)
    return _laid_out(process, first * HPAGE_PMD_NR, shared, private, swapped, sums), edges


def _laid_out(process: int, base: int, shared: int, private: int, swapped: int, sums: Sums) -> Placed:
    n_folios = min(sums.folios, (shared + private) // HPAGE_PMD_NR)
    in_shared = min(n_folios, shared // HPAGE_PMD_NR)
    in_private = min(n_folios - in_shared, private // HPAGE_PMD_NR)
    across = n_folios - in_shared - in_private
    whole, begun = divmod(shared, HPAGE_PMD_NR)
    aligned = whole + (begun > 0)
    small = private - in_private * HPAGE_PMD_NR
    filled = min(small, aligned * HPAGE_PMD_NR - shared)
    tail = (aligned + in_private) * HPAGE_PMD_NR + small - filled
    holes = aligned * HPAGE_PMD_NR - shared - filled
    first = base // HPAGE_PMD_NR
    folios = [*range(in_shared), *([whole] if across else []), *range(aligned, aligned + in_private)]
    here = min(swapped, holes)
    return Placed(
        process,
        shared=(base, base + shared),
        private=((base + shared, base + shared + filled), (base + aligned * HPAGE_PMD_NR, base + tail)),
        swapped=((base + shared + filled, base + shared + filled + here), (base + tail, base + tail + swapped - here)),
        folios=frozenset(first + region for region in folios),
        huge=frozenset(first + region for region in folios[: sums.huge]),
        end=sums.span[1] * HPAGE_PMD_NR,
    )


def spread(placed: Sequence[Placed], n_frames: int) -> list[Placed] | None:
    """Let mappings of one place share so many frames: each lacks some of them, one after another, and has copies there.

    That is what writes after a fork leave. None where it cannot be: with large folios, or mappings that begin elsewhere.
    """
    base = placed[0].shared[0]
    gaps = [n_frames - (each.shared[1] - each.shared[0]) for each in placed]
    alike = len({each.process for each in placed}) == len(placed) and {each.shared[0] for each in placed} == {base}
    least = len(placed) - -(-sum(gaps) // max(1, n_frames))
    fits = alike and min(gaps) >= 0 and least > 1 and all(base + n_frames <= each.end for each in placed)
    if not fits or any(each.folios for each in placed):
        return None
    at = np.cumsum([0, *gaps[:-1]]) % n_frames
    return [_apart(each, base, n_frames, int(start), gap) for each, start, gap in zip(placed, at, gaps, strict=True)]


def _apart(placed: Placed, base: int, n_frames: int, start: int, gap: int) -> Placed:
    """Lay a mapping out that lacks some of the frames, from one on, and begins again behind the last."""
    over = max(0, start + gap - n_frames)
    lacks = [(0, over), (start, min(n_frames, start + gap))]
    has = [(over, start), (min(n_frames, start + gap), n_frames)]
    free = [(base + first, base + stop) for first, stop in lacks] + [(base + n_frames, placed.end)]
    private, free = _taken(free, sum(stop - first for first, stop in placed.private))
    swapped, _ = _taken(free, sum(stop - first for first, stop in placed.swapped))
    runs = tuple((base + first, base + stop) for first, stop in has)
    return dataclasses.replace(placed, private=private, swapped=swapped, shared_runs=runs)


def _taken(free: Sequence[Run], n_slots: int) -> tuple[tuple[Run, ...], list[Run]]:
    """Take so many slots from the first free ones; give what is left."""
    taken, left = list[Run](), list[Run]()
    for first, stop in free:
        here = min(n_slots, stop - first)
        taken.append((first, first + here))
        left.append((first + here, stop))
        n_slots -= here
    return tuple(taken), left
