"""Build a family of processes page by page, let it act, and ask: the model as a kernel selftest uses a kernel.

>>> from thpsweep.model.scenario.scenario import Scenario
>>> scene = Scenario()
>>> parent = scene.process()
>>> parent.write(range(512))
>>> child = parent.fork()
>>> child.write(range(255))
>>> scene.khugepaged(full_scans=1)[ScanResult.EXCEED_SHARED_PTE]  # each still shares 257, the limit is 256
2
>>> child.collapse("copy").name, child.anon_huge_kib, child.shared_pages(parent)
('SUCCEED', 2048, 0)
>>> scene.intact
True
"""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

from thpsweep.model import registry
from thpsweep.model.bits import Ints
from thpsweep.model.mm import gup
from thpsweep.model.mm.swap import cached_alone
from thpsweep.model.scenario.process import Process
from thpsweep.model.scenario.world import World
from thpsweep.outcomes import ScanResult


class Scenario(World[Process]):
    """Start processes, let time and the kernel's daemon act on them, and ask for what has come of it."""

    def process(self) -> Process:
        """Start a process that maps nothing yet."""
        started = Process(self)
        self.family.anon_vmas.begin(0, started.number)
        self.family.alive[0, started.number] = True
        self.family.register(0, started.number)
        return started

    def release(self, references: Ints) -> None:
        """Drop long references that a process took by pin() or vmsplice(). Raises: ValueError where one has ended."""
        ended = references[~np.isin(references, self.family.pins.live())]
        if ended.size:
            raise ValueError(
                f"{ended.size} of {references.size} references have ended: expected ones that were not released"
            )
        gup.release(self.family, references)
        self.ledger.close_generation()

    def khugepaged(self, mechanism: str = "copy", full_scans: int = 2, **settings: Any) -> Counter[ScanResult]:
        """Let khugepaged make passes until it has gone over all mms so often; give its results by how often each came.

        VMA_CHECK stands for each region of a process that it passed over, of which the kernel's trace tells nothing.

        settings are the trigger's (pages_to_scan, max_ptes_none, ...), and options of the mechanism. The selftest waits
        for two full scans.
        """
        names = {field.name for field in dataclasses.fields(registry.options("trigger")["khugepaged"])}
        knobs = {name: value for name, value in settings.items() if name in names}
        collapser = self.collapser(mechanism, {name: settings[name] for name in settings if name not in names})
        daemon = registry.build("trigger", {"kind": "khugepaged", **knobs, "scan_sleep_millisecs": 1000})
        state, until = daemon.begin(1), self.counts.total["full_scans"][0] + full_scans
        while self.counts.total["full_scans"][0] < until and self.family.alive.any():
            daemon.act(state, collapser, 0, 1.0)
        return Counter({ScanResult(code): int(n) for code, n in enumerate(collapser.outcomes[0]) if n})

    def settle(self, mechanism: str, ticks: int = 100, **options: Any) -> None:
        """Let what a mechanism left under way go on: a visit of every process where visits do that, and its own steps."""
        collapser = self.collapser(mechanism, options)
        if collapser.mechanism.resumes:
            for process in self.living:
                process.collapse(mechanism, **options)
        for tick in range(ticks):
            if not self.family.layers.link.any():
                return
            contents = {process.number: process.reads for process in self.living}
            collapser.step(tick, 1.0)
            for process in self.living:
                self.ledger.learn(process.frames, contents[process.number])

    @property
    def lru_entries(self) -> int:
        """Folios on the LRU, of any order."""
        return int(self.family.lru_entries[0])

    @property
    def pages_in_use(self) -> int:
        """Pages of anonymous memory."""
        return int(self.family.pages_in_use[0])

    @property
    def cached_pages(self) -> int:
        """Those of them that only the swap cache keeps: they are not mapped, but a process has them in swap."""
        return cached_alone(self.family)

    @property
    def intact(self) -> bool:
        """Whether every process finds what it wrote."""
        return all(process.intact for process in self.living)
