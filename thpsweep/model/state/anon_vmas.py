"""The anon_vmas of a family: which VMAs an rmap walk over a page visits.

A page belongs to the anon_vma of the VMA whose fault made it. A fork puts the child's VMA into the tree of every anon_vma
that the parent's is in, and gives it an anon_vma of its own, which its later faults use. So a walk visits the maker's VMA
and those of all its living descendants, whether they were forked before or after the page was made and whether they map
it or not. A child takes over the oldest anon_vma whose own VMA is gone and that has at most one child, as the kernel does
to keep a chain of forks short; the root's is never taken over.
A write that reuses a page of another's anon_vma, and a swap-in, leave it there; the kernel moves it to the writer's own.
Source: mm/rmap.c anon_vma_fork(), anon_vma_clone(), rmap_walk_anon(), folio_move_anon_rmap() (v6.18).
"""

import copy

import numpy as np

from thpsweep.model.bits import Bools, Ints

_NONE, _MAX_CHILDREN = 0, 2


class AnonVmas:
    """Know the anon_vmas that each sharer's VMA is in, by numbers of its replicate; 0 is none.

    At first sharer 0 of a replicate has forked all others. Shapes: own (n_replicates, n_sharers),
    chains (n_replicates, n_sharers, depth): the oldest first, then 0.
    """

    def __init__(self, alive: Bools) -> None:
        n_replicates, n_sharers = alive.shape
        self._alive = alive
        self.own = np.tile(np.arange(1, n_sharers + 1), (n_replicates, 1))
        self.chains = np.zeros((n_replicates, n_sharers, 2), np.int64)
        self._parent = np.zeros((n_replicates, n_sharers + 1), np.int64)
        self._free: dict[int, list[int]] = {}
        self.forked(np.zeros(n_sharers, np.int64))

    def forked(self, parents: Ints) -> None:
        """Begin with a fork tree: who forked each sharer, a lower number; the root's is its own. Shapes: (n_sharers,)."""
        self.chains[:] = _NONE
        roots = parents == np.arange(parents.size)
        self._parent[:, 1:] = np.where(roots, _NONE, parents + 1)
        chains: list[list[int]] = []
        for sharer, parent in enumerate(parents.tolist()):
            chains.append([*(() if parent == sharer else chains[parent]), sharer + 1])
        self._deepen(max(map(len, chains)))
        for sharer, chain in enumerate(chains):
            self.chains[:, sharer, : len(chain)] = chain

    def begin(self, replicate: int, sharer: int) -> None:
        """Let a process begin that no other has forked."""
        self._put(replicate, sharer, [int(self.own[replicate, sharer])])
        self._parent[replicate, self.own[replicate, sharer]] = _NONE

    def fork(self, replicate: int, parent: int, child: int) -> None:
        """Let a process be forked; it does not live yet."""
        chain = [number for number in self.chains[replicate, parent].tolist() if number]
        number = next((number for number in chain if self._is_idle(replicate, number)), _NONE)
        if not number:
            number = self._new(replicate)
            self._parent[replicate, number] = self.own[replicate, parent]
            chain = [*chain, number]
        self.own[replicate, child] = number
        self._put(replicate, child, chain)

    def attached(self) -> Ints:
        """Count the living VMAs in each anon_vma's tree. Shapes: -> (n_replicates, highest number + 1)."""
        width = self._parent.shape[1]
        replicate, sharer = np.nonzero(self._alive)
        flat = self.chains[replicate, sharer] + (replicate * width)[:, None]
        return np.bincount(flat.reshape(-1), minlength=self._parent.size).reshape(self._parent.shape)

    def makers(self, mapping: Bools) -> Ints:
        """Give the youngest anon_vma that all who map a page are in, as the run begins. Shapes: (n, n_sharers) -> (n,)."""
        chains, common = self.chains[0], np.zeros(mapping.shape[0], np.int64)
        first = chains[np.argmax(mapping, axis=1)]
        for level in range(chains.shape[1]):
            agreed = ((chains[None, :, level] == first[:, level, None]) | ~mapping).all(axis=1)
            common = np.where(agreed & (first[:, level] != _NONE), first[:, level], common)
        return common

    def staged(self, replicates: Ints, alive: Bools) -> "AnonVmas":
        """Give those of replicates, which may repeat, for a copy of their state. Shapes: (n,), (n, n_sharers)."""
        copied = copy.copy(self)
        copied._alive, copied._free = alive, {}
        copied.own, copied.chains, copied._parent = (
            self.own[replicates],
            self.chains[replicates],
            self._parent[replicates],
        )
        return copied

    def _put(self, replicate: int, sharer: int, chain: list[int]) -> None:
        self._deepen(len(chain))
        self.chains[replicate, sharer] = _NONE
        self.chains[replicate, sharer, : len(chain)] = chain

    def _deepen(self, depth: int) -> None:
        if depth > self.chains.shape[2]:
            self.chains = np.pad(self.chains, ((0, 0), (0, 0), (0, depth - self.chains.shape[2])))

    def _is_idle(self, replicate: int, number: int) -> bool:
        """Tell whether an anon_vma is not the root's, its own VMA is gone, and at most one child of it is left."""
        alive, parent = self._alive[replicate], self._parent[replicate]
        if parent[number] == _NONE or (self.own[replicate, alive] == number).any():
            return False
        living = np.unique(self.chains[replicate, alive])
        return int(np.count_nonzero(parent[living[living != _NONE]] == number)) < _MAX_CHILDREN

    def _new(self, replicate: int) -> int:
        """Number an anon_vma: one that no VMA is in, of which no page is left then, or one more."""
        free = self._free.get(replicate)
        if not free:
            width = self._parent.shape[1]
            used = np.zeros(width, bool)
            used[_NONE], used[self.own[replicate]] = True, True
            used[self.chains[replicate, self._alive[replicate]]] = True
            free = np.flatnonzero(~used)[::-1].tolist()
            if not free:
                self._parent = np.pad(self._parent, ((0, 0), (0, width)))
                free = list(range(2 * width - 1, width - 1, -1))
            self._free[replicate] = free
        return free.pop()
