"""Few free 2 MiB blocks, and compaction to make more: by the allocating task, by kcompactd, or not at all."""

import dataclasses
from typing import Any

import numpy as np

from thpsweep.model import bits, checks, draws
from thpsweep.model.bits import Bools, Ints
from thpsweep.model.checks import whole
from thpsweep.model.memories.base import Memory, MemoryView
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

DEFRAG = ("direct", "background", "none")
MAX_BLOCKS = 1 << 24
MAX_BLOCKS_PER_HOUR = 1e5
# Kinds of draws; collapse/conditions.py, which has the same keys, uses those from 0 on.
_FREED, _TAKEN, _DIRECT, _KCOMPACTD = range(16, 20)


@dataclasses.dataclass
class _Stock:
    """What is free, and what was known when it was last counted. Shapes: each (n_replicates,)."""

    free: Ints
    folios: Ints
    splits: Ints
    compactions: Ints
    woken: Bools


@dataclasses.dataclass
class Fragmented(Memory):
    """Begin with `free_blocks`; others free and take blocks at Poisson rates; compaction makes more.

    A folio of the family that is freed gives its block back; one that is split does not, and small pages never do.
    To make a block, the pages in use in it are moved: each of its 512 is in use with the same chance, so that their number
    is binomial with mean `migrate_pages_per_block`. With `unmovable_probability` one of them cannot be moved: the block
    stays as it is, and a share of its pages, uniform in 0..1, was moved in vain. A task tries one block an allocation.
    Pages of the family, `family_share` of those moved, have its small pages' mean mapcount at that time; others have 1.
    defrag: `direct`, the allocating task compacts and stalls; `background`, a failed allocation wakes kcompactd, which
    works on `kcompactd_blocks_per_hour` blocks at most until `kcompactd_stock_blocks` are free; `none`.
    Reclaim, which could free blocks too, and the kernel's deferral after failures are left out.
    Source: mm/page_alloc.c __alloc_pages_direct_compact(), mm/compaction.c kcompactd_do_work() (v6.18).
    """

    free_blocks: int
    blocks_freed_per_hour: float
    blocks_taken_per_hour: float
    defrag: str
    migrate_pages_per_block: float
    unmovable_probability: float
    family_share: float
    kcompactd_blocks_per_hour: float
    kcompactd_stock_blocks: int

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("memory.defrag", self.defrag, DEFRAG)
        whole("memory.free_blocks", self.free_blocks, 0, MAX_BLOCKS)
        whole("memory.kcompactd_stock_blocks", self.kcompactd_stock_blocks, 1, MAX_BLOCKS)
        for name in ("blocks_freed_per_hour", "blocks_taken_per_hour", "kcompactd_blocks_per_hour"):
            checks.in_range(f"memory.{name}", getattr(self, name), 0, MAX_BLOCKS_PER_HOUR)
        checks.in_range("memory.migrate_pages_per_block", self.migrate_pages_per_block, 0, HPAGE_PMD_NR)
        for name in ("unmovable_probability", "family_share"):
            checks.in_range(f"memory.{name}", getattr(self, name), 0, 1)

    @property
    def compacts_directly(self) -> bool:
        """Only where the allocating task compacts."""
        return self.defrag == "direct"

    def begin(self, place: MemoryView) -> _Stock:
        """Put the free blocks beside those that the family's folios have."""
        n, folios = place.family.n_replicates, place.family.gauge["folios"].copy()
        splits, none = place.counts.total["folio_splits"].copy(), np.zeros(n, np.int64)
        return _Stock(np.full(n, self.free_blocks), folios, splits, none, np.zeros(n, bool))

    def tick(self, state: _Stock, place: MemoryView, tick: int, tick_s: float) -> None:
        """Let others free blocks, then take some, then kcompactd work."""
        hours = tick_s / S_PER_HOUR
        freed = _poisson(place, _FREED, tick, self.blocks_freed_per_hour * hours)
        taken = _poisson(place, _TAKEN, tick, self.blocks_taken_per_hour * hours)
        state.free = np.maximum(0, self.free(state, place) + freed - taken)
        if self.defrag == "background" and state.woken.any():
            pace = self.kcompactd_blocks_per_hour * hours
            self._kcompactd(state, place, int((tick + 1) * pace) - int(tick * pace))

    def free(self, state: _Stock, place: MemoryView) -> Ints:
        """Count free blocks; of the folios made and gone since the last time only the difference matters."""
        folios, splits = place.family.gauge["folios"], place.counts.total["folio_splits"]
        given_back = state.folios - folios - (splits - state.splits)
        state.free = np.maximum(0, state.free + given_back)
        state.folios, state.splits = folios.copy(), splits.copy()
        return state.free

    def compact(self, state: _Stock, place: MemoryView, rows: Ints) -> Bools:
        """Compact where the allocating task does; else wake kcompactd, if there is one, and fail."""
        replicates = place.family.replicate_of(rows)
        if not self.compacts_directly:
            state.woken[replicates] = True
            return np.zeros(rows.size, bool)
        regions = place.family.region_of(rows) % place.family.n_regions
        made, _, _ = self._move(state, place, _DIRECT, replicates, regions)
        place.counts.add("compact_stall", replicates, 1)
        place.counts.add("compact_success", replicates[made], 1)
        place.counts.add("compact_fail", replicates[~made], 1)
        return made

    def _kcompactd(self, state: _Stock, place: MemoryView, blocks: int) -> None:
        """Work on so many blocks at most in each replicate where it is awake; a full stock sends it to sleep."""
        for _ in range(blocks):
            state.woken &= state.free < self.kcompactd_stock_blocks
            replicates = bits.where(state.woken)
            if not replicates.size:
                return
            _, pages, ptes = self._move(state, place, _KCOMPACTD, replicates, np.zeros(replicates.size, np.int64))
            place.counts.add("kcompactd_pages_migrated", replicates, pages)
            place.counts.add("kcompactd_ptes_migrated", replicates, ptes)
        state.woken &= state.free < self.kcompactd_stock_blocks

    def _move(
        self, state: _Stock, place: MemoryView, kind: int, replicates: Ints, regions: Ints
    ) -> tuple[Bools, Ints, Ints]:
        """Try to empty one block in each replicate: (whether it is free now, pages moved, ptes changed for it)."""
        keys, number = place.keys[replicates], state.compactions[replicates]
        used, unmovable, reached = (draws.uniform(keys, kind, regions, number, draw) for draw in range(3))
        state.compactions[replicates] += 1
        made = unmovable >= self.unmovable_probability
        from scipy import stats  # takes half a second, which most points do not need

        in_use = stats.binom.ppf(used, HPAGE_PMD_NR, self.migrate_pages_per_block / HPAGE_PMD_NR)
        pages = np.maximum(0, np.floor(np.where(made, 1.0, reached) * in_use)).astype(np.int64)
        ptes = np.rint(pages * self._mapcount(place)[replicates]).astype(np.int64)
        place.counts.add("pages_migrated", replicates, pages)
        place.counts.add("ptes_migrated", replicates, ptes)
        state.free[replicates] += made
        return made, pages, ptes

    def _mapcount(self, place: MemoryView) -> Any:
        """Give the mean mapcount of a moved page. Shapes: -> (n_replicates,)."""
        gauge = place.family.gauge
        own = np.where(gauge["small_frames"] > 0, gauge["small_ptes"] / np.maximum(gauge["small_frames"], 1), 1.0)
        return np.asarray(1 + self.family_share * (own - 1))


def _poisson(place: MemoryView, kind: int, tick: int, mean: float) -> Ints:
    """Draw a number of events in a tick, the same for every policy. Shapes: -> (n_replicates,)."""
    if mean <= 0:
        return np.zeros(place.keys.size, np.int64)
    from scipy import stats

    drawn = stats.poisson.ppf(draws.uniform(place.keys, kind, tick), mean)
    return np.asarray(np.maximum(0, drawn), np.int64)
