"""Which processes of a tree come and go while it is watched, by looking again and again."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from thpsweep.linux.proc.tree import TreeProcess, look_up

POLL_S = 0.05
"""How often the tree is looked at; a worker that lives less may never be seen."""

_CPU_SHARE = 10
"""A look takes at most this part of the time between two of them."""


@dataclass
class Life:
    """A worker: when it was first seen, or None if it was there from the start; when it was last missed, or None."""

    process: TreeProcess
    born_s: float | None = None
    died_s: float | None = None


@dataclass
class LifeWatch:
    """Follow the descendants of a process. Units: seconds since `begin_s`, on the monotonic clock."""

    root: int
    begin_s: float
    workers: dict[int, Life] = field(default_factory=dict)
    ended: list[Life] = field(default_factory=list)
    foreign: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, processes: Sequence[TreeProcess], begin_s: float) -> "LifeWatch":
        """Begin with the processes of a tree, its root first."""
        lives = cls(processes[0].pid, begin_s)
        lives.workers = {each.pid: Life(each) for each in processes[1:]}
        lives._leave_out_foreign()
        return lives

    def look(self) -> float:
        """Look once; give how long to wait until the next time."""
        start_s = time.monotonic()
        now_s = start_s - self.begin_s
        here = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        for pid in [pid for pid in self.workers if pid not in here]:
            self._end(pid, now_s)
        for pid in sorted(here - set(self.workers) - self.foreign - {self.root, os.getpid()}):
            self._meet(pid, now_s)
        for pid in list(self.workers):
            process = look_up(pid)
            if (
                process is None
                or process.vsize_bytes == 0
                or process.start_ticks != self.workers[pid].process.start_ticks
            ):
                self._end(pid, now_s)
        self._leave_out_foreign()
        return max(POLL_S, _CPU_SHARE * (time.monotonic() - start_s))

    def _meet(self, pid: int, now_s: float) -> None:
        process = look_up(pid)
        if process is not None and process.vsize_bytes and process.parent_pid in (self.root, *self.workers):
            self.workers[pid] = Life(process, born_s=now_s)
        elif process is not None:
            self.foreign.add(pid)

    def _end(self, pid: int, now_s: float) -> None:
        life = self.workers.pop(pid)
        life.died_s = now_s
        self.ended.append(life)

    def _leave_out_foreign(self) -> None:
        """Leave out helpers that run another program: after exec() a process shares nothing."""
        try:
            program = os.readlink(f"/proc/{self.root}/exe")
        except OSError:  # it has ended, or may not be looked at: then every process counts
            return
        for pid in list(self.workers):
            try:
                other = os.readlink(f"/proc/{pid}/exe") != program
            except OSError:
                continue
            if other:
                del self.workers[pid]
                self.foreign.add(pid)

    def every(self) -> list[Life]:
        """List all workers, living and ended."""
        return [*self.workers.values(), *self.ended]
