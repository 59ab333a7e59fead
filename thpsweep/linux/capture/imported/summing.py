"""Sum up each process of a text, from the form in which most is known of it."""

from thpsweep.errors import CaptureError
from thpsweep.linux.capture.imported.numa_maps import of_numa_maps
from thpsweep.linux.capture.imported.pasted import MAPS, NUMA_MAPS, ROLLUP, SMAPS, THPMAPS, Pasted, PastedProcess
from thpsweep.linux.capture.imported.rollup import rolled_up
from thpsweep.linux.capture.imported.smaps import of_smaps
from thpsweep.linux.capture.imported.sums import Summed
from thpsweep.linux.proc.maps import anonymous_bytes


def summed(pasted: Pasted) -> list[Summed]:
    """Sum up every process. Raises: CaptureError."""
    found = [_of(process, pasted) for process in _joined(pasted)]
    if not found:
        if pasted.stray is not None:
            raise pasted.stray.fault("the line with the mapping's addresses before its fields")
        raise CaptureError(
            pasted.notes[0]
            if pasted.notes
            else "nothing here is smaps, smaps_rollup, numa_maps or thpmaps of a process"
        )
    return found


def _joined(pasted: Pasted) -> list[PastedProcess]:
    """Give numa_maps and thpmaps that came without a pid to the only process that they can be of."""
    full = [each for each in pasted.processes if each.of(SMAPS) or each.of(ROLLUP)]
    if len(full) == 1:
        for other in [each for each in pasted.processes if each is not full[0] and None in (each.pid, full[0].pid)]:
            full[0].mappings += other.mappings
            full[0].pid = full[0].pid if full[0].pid is not None else other.pid
            pasted.processes.remove(other)
    return pasted.processes


def _of(process: PastedProcess, pasted: Pasted) -> Summed:
    smaps = process.of(SMAPS)
    if smaps:
        _note_bare(process, pasted)
        return of_smaps(process, smaps)
    if process.of(ROLLUP):
        return Summed(process, ROLLUP, [rolled_up(process.of(ROLLUP)[-1])], set())
    if process.of(NUMA_MAPS):
        return of_numa_maps(process)
    if thpmaps := process.of(THPMAPS):
        raise thpmaps[0].line.fault(
            f"smaps of {process.who} too (thpmaps --inc-smaps): thpmaps does not count small pages"
        )
    if maps := process.of(MAPS):
        raise maps[0].line.fault("/proc/PID/smaps: fields like 'Rss: 4 kB' below; maps has addresses only")
    raise CaptureError(f"{process.who}: thpmaps --rollup has no mappings: expected its smaps too")


def _note_bare(process: PastedProcess, pasted: Pasted) -> None:
    known = {mapping.first_byte for mapping in process.of(SMAPS)}
    for mapping in process.of(MAPS):
        if mapping.first_byte not in known and anonymous_bytes(mapping.head):
            where = f"{mapping.line.source}:{mapping.line.number}"
            pasted.notes.append(f"{where}: {mapping.head.split(' ')[0]!r}: has no fields below: left out")
