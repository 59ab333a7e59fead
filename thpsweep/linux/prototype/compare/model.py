"""A play in the model."""

from typing import Any

import numpy as np

from thpsweep.linux.prototype.compare.state import NOTHING, SMALL, SUBPAGE, Did, MappedRegion, PlayResult
from thpsweep.linux.prototype.compare.steps import Collapse, Drop, Exit, Fork, Play, Read, Refer, Release, Step, Write
from thpsweep.model import bits
from thpsweep.model.bits import Ints
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.outcomes import ScanResult
from thpsweep.units import HPAGE_PMD_NR

MECHANISMS: dict[str, tuple[str, dict[str, Any]]] = {
    "switch": ("switch", {"walk": "per_range"}),
    "switch_over": ("switch", {"walk": "overwrite"}),
    "switch_page": ("switch", {"walk": "per_page"}),
    "switch_pmd": ("switch_pmd", {"walk": "per_range"}),
    "inplace": ("inplace", {}),
    "inplace_pmd": ("inplace_pmd", {}),
    "begin": ("incremental", {}),
    "visit": ("deferred", {"redirect": False}),
}
"""The module's operations as mechanisms with options."""


class Player:
    """Act a play in a scenario, and note what a kernel would tell."""

    def __init__(self, play: Play) -> None:
        self.scene = Scenario(processes=play.processes)
        self.processes: list[Process] = [self.scene.process()]
        self.held: dict[int, Ints] = {}
        self.result = PlayResult()

    def act(self, step: Step) -> None:
        """Do one step."""
        who = self.processes[step.process]
        match step:
            case Write():
                who.write(range(step.first, step.end))
            case Read():
                who.read(range(step.first, step.end))
            case Drop():
                who.discard(range(step.first, step.end))
            case Fork():
                self.processes.append(who.fork())
            case Exit():
                who.exit()
            case Refer():
                self.held[step.process] = who.vmsplice([step.page])
            case Release():
                self.scene.release(self.held.pop(step.process))
            case Collapse():
                self._collapse(who, step)

    def _collapse(self, who: Process, step: Collapse) -> None:
        before = {name: int(values[0]) for name, values in self.scene.counts.total.items()}
        result = ScanResult.SUCCEED
        if step.mechanism == "slice":
            self._slice(step.slice)
        else:
            mechanism, options = MECHANISMS[step.mechanism]
            result = who.collapse(mechanism, **options)
        after = self.scene.counts.total
        counts = {name: int(values[0]) - before.get(name, 0) for name, values in after.items()}
        name = "-" if result is ScanResult.SUCCEED else result.name
        self.result.did.append(Did(name, counts))
        self.look()

    def _slice(self, ptes: int) -> None:
        """Go on with one slice; what is in a new frame is what was in the old one."""
        found = {process.number: process.reads for process in self.scene.living}
        collapser = self.scene.collapser("incremental", {"ptes_per_slice": ptes, "slices_per_s": 1.0})
        collapser.step(0, 1.0)
        for process in self.scene.living:
            self.scene.ledger.learn(process.frames, found[process.number])

    def look(self) -> None:
        """Note the state of all processes."""
        living = self.scene.living
        frames = np.array([process.frames for process in living])
        seen = {process.number: self._seen(process, index, living, frames) for index, process in enumerate(living)}
        self.result.states.append(seen)
        small = [seen[process.number].form == SMALL for process in living]
        self.result.small_folios.append(
            sum(
                int(np.count_nonzero(mine & (seen[process.number].first == process.number)))
                for process, mine in zip(living, small, strict=True)
            )
        )

    def _seen(self, process: Process, index: int, living: list[Process], frames: np.ndarray) -> MappedRegion:
        numbers = np.array([other.number for other in living])
        first = numbers[np.argmax(frames[: index + 1] == frames[index], axis=0)]
        present = frames[index] != 0
        compound = (self.scene.ledger.places(process._rows) >> 9) & ((1 << 23) - 1) != 0
        form = np.where(present, np.where(compound, SUBPAGE, SMALL), NOTHING)
        return MappedRegion(
            form=form,
            first=np.where(present, first, 0),
            mapcount=process.mapcounts - self._links(process),
            huge_kib=process.anon_huge_kib,
            rss_kib=process.rss_kib,
            wrong=0 if process.intact else 1,
        )

    def _links(self, process: Process) -> Ints:
        """Count the links that hold a subpage: a mapping to the model, a reference to a kernel. Shapes: (512,)."""
        family, held = self.scene.family, np.zeros(HPAGE_PMD_NR, np.int64)
        mine = self.scene.ledger.places(process._rows) >> 32
        layers = family.layers.live()
        for old in layers[family.layers.link[layers] != 0]:
            linked = bits.expand(family.layers.slots[[old]])[0] != 0
            held += linked & (mine == family.layers.link[old])
        return held


def model_result(play: Play) -> PlayResult:
    """Act a whole play."""
    actor = Player(play)
    for step in play.steps:
        actor.act(step)
    actor.look()
    return actor.result
