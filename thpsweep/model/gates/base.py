"""What stands between a scan that passed and the attempt: is it worth it, and may it be now?"""

import abc
import copy
import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np

from thpsweep.model import bits
from thpsweep.model.bits import Boards, Ints
from thpsweep.model.machines.profile import Profile
from thpsweep.model.mechanisms.base import NOBODY, Flags, Mechanism
from thpsweep.model.mechanisms.blocks import choose, rehearse
from thpsweep.model.mechanisms.visit import ALL_YOUNG, ScanLimits, Staged, View, Visit
from thpsweep.model.mm.rmap import sources
from thpsweep.model.state.counts import Counts
from thpsweep.model.state.family import Family
from thpsweep.model.workloads.base import Workload
from thpsweep.units import HPAGE_PMD_ORDER


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What each proposed attempt would do, each on its own, if no late reference came.

    Shapes: n proposed rows; counts has one entry a row instead of one a replicate, and so have the gauges of stage, which
    hold the changes. In stage, region i is that of row i; its rows stand at i * n_sharers + sharer.
    """

    stage: Family
    counts: Counts


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Attempts that scans let pass, in the order of the scans, and what can be known before anything is touched.

    Shapes: rows (n,), of distinct regions; counts has what was spent so far in each replicate.
    """

    family: Family
    counts: Counts
    mechanism: Mechanism
    rows: Ints
    limits: ScanLimits
    machine: Profile
    workload: Workload
    now_s: float
    view: View = ALL_YOUNG

    def where(self, chosen: Ints) -> "Proposal":
        """Keep the rows with the given indices."""
        return dataclasses.replace(self, rows=self.rows[chosen])

    @property
    def replicates(self) -> Ints:
        """Replicate of each row. Shapes: -> (n,)."""
        return self.family.replicate_of(self.rows)

    @functools.cached_property
    def visit(self) -> Visit:
        """What the mechanism will see of the rows: young ptes and how long they are idle, references, write faults."""
        nobody = np.full(self.rows.size, NOBODY)
        return Visit(self.family, self.counts, self.rows, nobody, self.limits, self.view, self.mechanism.order)

    @functools.cached_property
    def ptes(self) -> Ints:
        """Ptes that would change, each counted once: of all sharers, or of the scanned mm alone. Shapes: -> (n,).

        A kernel can know it from the mapcounts of the folios that the scan looks at.
        """
        if self.mechanism.all_sharers:
            return sources(self.family, self.rows, self.slots).ptes
        records = self.family.record_of[self.rows]
        mapped = self.family.records.present[records] | self.family.records.swapped[records]
        return bits.count(mapped if self.slots is None else mapped & self.slots)

    @functools.cached_property
    def slots(self) -> Boards | None:
        """Slots of the blocks that would be collapsed; None for the whole region. Shapes: -> (n, 8)."""
        if self.mechanism.order == HPAGE_PMD_ORDER:
            return None
        return choose(self.family, self.mechanism, self.rows, self.limits)[0]

    @functools.cached_property
    def rehearsal(self) -> Rehearsal:
        """Attempt all of it on a copy of the regions' state: exact for any mechanism, and nobody notices.

        Of a mechanism that goes on in later ticks it shows the beginning only.
        """
        stage, sharers = _stage(self.family, self.rows), self.rows % self.family.n_sharers
        counts = Counts(stage.n_replicates, own=self.mechanism.counters)
        rows = np.arange(self.rows.size) * stage.n_sharers + sharers
        view = Staged(self.view, self.rows, stage.n_sharers)
        rehearse(Visit(stage, counts, rows, np.full(rows.size, NOBODY), self.limits, view), self.mechanism)
        return Rehearsal(stage, counts)


def _stage(family: Family, rows: Ints) -> Family:
    """Copy the regions of the rows, each as a replicate of its own, with gauges at zero."""
    regions, replicates = family.region_of(rows), family.replicate_of(rows)
    stage = copy.copy(family)
    stage.n_replicates, stage.n_regions = rows.size, 1
    stage.record_of = family.record_of.reshape(-1, family.n_sharers)[regions].reshape(-1)
    stage.pmd = family.pmd.reshape(-1, family.n_sharers)[regions].reshape(-1)
    stage.alive = family.alive[replicates]
    stage.write_faults = None
    stage.anon_vmas = family.anon_vmas.staged(replicates, stage.alive)
    stage.gauge = {name: np.zeros(rows.size, np.int64) for name in family.gauge}
    stage = copy.deepcopy(stage)
    number = np.zeros(family.n_replicates * family.n_regions, np.int32)
    number[regions] = np.arange(rows.size)
    stage.folios.region = number[stage.folios.region]
    stage.runs = {order: runs[regions] for order, runs in family.runs.items()}
    return stage


@dataclasses.dataclass
class Gate(abc.ABC):
    """Let attempts pass or refuse them. Options only; what changes during a run is in the state.

    A gate changes nothing but its state, and asking twice at the same moment gives the same answer: khugepaged asks for
    regions ahead of its cursor that its pass may not reach.
    """

    remembers_writes: ClassVar[bool] = False
    """Whether a run counts each row's write faults for it (Visit.write_faults)."""
    loosens: ClassVar[tuple[str, ...]] = ()
    """Options of which a larger value refuses nothing that a smaller one lets pass (for an attempt proposed alone)."""

    @property
    def by_price(self) -> bool:
        """Whether the machine's prices may decide, so that other prices would have made another run."""
        return True

    @property
    def any_order(self) -> bool:
        """Whether it can judge collapses to folios below PMD order, too."""
        return True

    @property
    def steady(self) -> bool:
        """Whether, within a tick, what it says of a row depends on the family's memory only: neither on its state nor on
        counts, and asking leaves no trace. khugepaged asks such a gate once about a region that it comes to in many passes
        of a tick while nothing changes, any other gate each time. Counts for the class that says it, not for those below."""
        return False

    def begin(self, n_replicates: int) -> Any:
        """Make the state before the first tick."""
        del n_replicates

    @abc.abstractmethod
    def allow(self, state: Any, proposal: Proposal) -> Flags:
        """Tell which of the attempts may be made. Shapes: -> (n,)."""


def is_steady(gate: Gate) -> bool:
    """Tell whether a gate's own class, which may decide otherwise than those above it, says that it is steady."""
    return "steady" in vars(type(gate)) and gate.steady


@dataclasses.dataclass
class Clock:
    """The time of a run: 0 before its first tick, then the end of the tick that is under way."""

    now_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Guard:
    """A gate at work: its state, the time, and what it may look up."""

    gate: Gate
    machine: Profile
    workload: Workload
    clock: Clock
    state: Any

    def allows(
        self,
        family: Family,
        counts: Counts,
        mechanism: Mechanism,
        rows: Ints,
        limits: ScanLimits,
        view: View = ALL_YOUNG,
    ) -> Flags:
        """Ask the gate about rows whose scan passed. Shapes: (n,) -> (n,). Raises: ValueError for another answer."""
        known = self.machine, self.workload, self.clock.now_s
        proposal = Proposal(family, counts, mechanism, rows, limits, *known, view)
        answer = self.gate.allow(self.state, proposal)
        if not isinstance(answer, np.ndarray) or answer.dtype != bool or answer.shape != rows.shape:
            shape = f"{answer.dtype} of shape {answer.shape}" if isinstance(answer, np.ndarray) else repr(answer)
            raise ValueError(f"{type(self.gate).__name__}.allow() gave {shape}; expected bool of shape {rows.shape}")
        return answer
