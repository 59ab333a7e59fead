"""`thpsweep import`: make a layout of the text that somebody pasted, and say what of it is known and what assumed."""

import sys
from collections.abc import Sequence
from pathlib import Path

from thpsweep.errors import CaptureError, ThpsweepError
from thpsweep.linux.capture.imported.assemble import assemble
from thpsweep.linux.capture.imported.facts import facts, strangers
from thpsweep.linux.capture.imported.lines import Line, lines
from thpsweep.linux.capture.imported.pasted import Pasted
from thpsweep.linux.capture.imported.reader import read
from thpsweep.linux.capture.imported.summing import summed
from thpsweep.linux.capture.imported.sums import Summed
from thpsweep.linux.capture.summary import summary
from thpsweep.model.capture.layout import MAX_PROCESSES, Layout

STANDARD_INPUT = "-"
MAX_BYTES = 1 << 30
"""Most text of one file: a thousand processes with a thousand mappings each."""


def run(files: Sequence[str], out: Path | None) -> int:
    """Import files, or standard input; write a layout if asked to. Raises: ThpsweepError."""
    if out is not None and (out.suffix != ".npz" or not out.absolute().parent.is_dir()):
        raise ThpsweepError(f"--out {out}: expected a file X.npz in a folder that exists")
    pasted = read([_text(file) for file in files])
    layout = imported(pasted)
    if out is not None:
        layout.save(out)
    for label, value in (*_rows(layout), *(("note", note) for note in pasted.notes)):
        print(f"{label + ':':<32} {value}")
    if out is None:
        print(
            "Nothing was written: --out X.npz does, for workload=captured workload.path=X.npz and advise --capture X.npz"
        )
    else:
        print(f"Simulate it: thpsweep sweep workload=captured workload.path={out} policy=copy,inplace")
    return 0


def imported(pasted: Pasted) -> Layout:
    """Make a layout of what was read. Raises: CaptureError naming the line that does not fit."""
    found, parents = _in_order(summed(pasted))
    if len(found) > MAX_PROCESSES:
        raise CaptureError(f"{len(found)} processes: expected 1..{MAX_PROCESSES}")
    pasted.notes.extend(strangers(found))
    made = assemble(found, parents)
    return Layout(**made.arrays, provenance=facts(pasted, found, made))


def _text(file: str) -> list[Line]:
    source = "standard input" if file == STANDARD_INPUT else file
    try:
        if file == STANDARD_INPUT:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(file, "rb") as opened:
                data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CaptureError(f"{source}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise CaptureError(f"{source}: expected {MAX_BYTES} bytes of text at most")
    return list(lines(data, source))


def _in_order(found: Sequence[Summed]) -> tuple[list[Summed], list[int]]:
    """Put the root first and parents before their children; whose parent is not in the text is a child of the root."""
    by_pid = {each.process.pid: each for each in found if each.process.pid is not None}
    orphans = [each for each in found if each.process.parent_pid not in by_pid]
    ordered = [next((each for each in orphans if each.process.parent_pid is not None), (orphans or [*found])[0])]
    waiting = [each for each in found if each is not ordered[0]]
    while waiting:
        pids = {each.process.pid for each in ordered}
        ready = [each for each in waiting if each.process.parent_pid in pids or each in orphans] or waiting[:1]
        ordered += ready
        waiting = [each for each in waiting if not any(each is other for other in ready)]
    at: dict[int | None, int] = {
        each.process.pid: number for number, each in enumerate(ordered) if each.process.pid is not None
    }
    parents = [at.get(each.process.parent_pid, 0) for each in ordered]
    return ordered, [parent if parent < number else 0 for number, parent in enumerate(parents)]


_LABELS = (
    ("imported", "imported"), ("processes imported", "processes_imported"), ("processes assumed", "processes_assumed"),
    ("most sharers of a page", "most_sharers"), ("most sharers of a page, at least", "most_sharers_at_least"),
    ("fewest sharers, at most", "fewest_sharers_at_most"),
    ("where pages lie", "placing"), ("rates", "rates"),
    ("reclaim", "reclaim"), ("reclaim is", "reclaim_from"),
    ("of smaps_rollup", "assumed_of_smaps_rollup"), ("of numa_maps", "assumed_of_numa_maps"),
    ("left out, small mappings, kB", "small_mappings_left_out_kib"), ("left out, at edges, kB", "edges_left_out_kib"),
)  # fmt: skip


def _rows(layout: Layout) -> list[tuple[str, str]]:
    """List what is imported and assumed, then what a capture shows of its layout."""
    said = layout.provenance
    return [*((label, str(said[key])) for label, key in _LABELS if key in said), *summary(layout)]
