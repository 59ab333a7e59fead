"""Which process a mapping of a text is of: the one that was named before, or another where addresses begin anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from thpsweep.linux.capture.imported.lines import Line
from thpsweep.linux.capture.imported.pasted import SMAPS, PastedMapping, PastedProcess


@dataclass
class Whose:
    """Keep the processes, the one that is being read, and pids that were named for those which follow it.

    name: of the process whose /proc/PID/status is being read; is_apart: something stood between it and what comes.
    """

    processes: list[PastedProcess] = field(default_factory=list)
    process: PastedProcess | None = None
    pids: list[int] = field(default_factory=list)
    name: str = ""
    is_apart: bool = False

    def apart(self) -> None:
        """Take what comes for another process, unless its form is a new one for this process."""
        self.is_apart, self.pids = True, []

    def named(self, pids: Sequence[int]) -> None:
        """Go on with the process that was named; several are meant one after another."""
        if not pids:
            self.apart()
            return
        self.pids, self.is_apart = list(pids[1:]), False
        if self.process is None or self.process.pid != pids[0]:
            self.process = self._by_pid(pids[0])

    def status(self, name: str, value: str) -> None:
        """Take name, parent and THP from /proc/PID/status, in which the name comes before the pid."""
        if name == "Name":
            self.name, self.is_apart = value, True
        elif self.process is not None and name == "PPid":
            self.process.parent_pid, self.process.name, self.name = int(value), self.process.name or self.name, ""
        elif self.process is not None:
            self.process.thp_off = value == "0"

    def add(self, mapping: PastedMapping) -> None:
        """Add a mapping to its process. Raises: CaptureError where a process comes twice."""
        process = self.process
        before = process.last(mapping.form) if process else None
        anew = before is not None and before.first_byte >= mapping.first_byte
        if process is not None and process.pid is not None and anew and not self.pids:
            raise mapping.line.fault(f"each process once, at one moment: {process.who} comes twice")
        # Files of one process may follow each other without its pid: smaps, then numa_maps.
        if process is None or anew or (self.is_apart and (before or (process.pid is None and mapping.form == SMAPS))):
            process = self.process = self._by_pid(self.pids.pop(0) if self.pids else None)
        self.is_apart = False
        if not process.mappings:
            process.line = mapping.line
        process.mappings.append(mapping)

    def drop(self, mapping: PastedMapping) -> None:
        """Leave a mapping of the process that is being read out."""
        assert self.process is not None
        self.process.mappings.remove(mapping)

    def _by_pid(self, pid: int | None) -> PastedProcess:
        """Find a process, or begin one."""
        known = next((each for each in self.processes if pid is not None and each.pid == pid), None)
        if known is None:
            known = PastedProcess(Line("", 0, ""), pid)
            self.processes.append(known)
        return known
