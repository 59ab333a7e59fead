"""A play as the lines that the test machine reads (guest/play.c)."""

from collections.abc import Iterator, Sequence

from thpsweep.linux.prototype.compare.steps import Collapse, Drop, Exit, Fork, Play, Read, Refer, Release, Step, Write

_TOUCHES = {Write: "w", Read: "n", Drop: "d"}


def script(plays: Sequence[Play]) -> bytes:
    """Write all plays."""
    return "".join(f"{line}\n" for play in plays for line in _lines(play)).encode()


def _lines(play: Play) -> Iterator[str]:
    yield f"family {play.seed}"
    for step in play.steps:
        yield _line(step)
        if isinstance(step, Collapse):
            yield "s"
    yield from ("s", "end")


def _line(step: Step) -> str:
    match step:
        case Write() | Read() | Drop():
            return f"{_TOUCHES[type(step)]} {step.process} {step.first} {step.end}"
        case Fork():
            return f"f {step.process} {step.child}"
        case Exit():
            return f"x {step.process}"
        case Refer():
            return f"v {step.process} {step.page}"
        case Release():
            return f"u {step.process}"
        case Collapse():
            return f"c {step.process} {step.mechanism} {step.slice}"
