"""What came of one case."""

from dataclasses import dataclass, field

from thpsweep.linux.validate.interference import DAMON
from thpsweep.linux.validate.steps import Case

MAX_SPREAD = 1.5
"""A time whose rounds spread further than that is not measured: other programs have caches and CPUs then."""


@dataclass
class CaseVerdict:
    """Hold what both sides did, what differs, and how long it took.

    kernel, model: results of the question's steps. differences: by kind ("outcome", "sharing", "memory"), what differs
    and after which step. inexpressible: what the model cannot express; skipped: what the machine lacks. interference:
    what others did during the step after which the first difference showed. once: differences under interference that
    did not come again when the case was repeated. spread: third quartile of the rounds' times over
    the first. retries: calls that the kernel refused once with EAGAIN.
    """

    case: Case
    kernel: list[str] = field(default_factory=list)
    model: list[str] = field(default_factory=list)
    differences: dict[str, list[str]] = field(default_factory=dict)
    inexpressible: str = ""
    skipped: str = ""
    measured_ns: float | None = None
    predicted_ns: float | None = None
    spread: float | None = None
    compared_sharing: bool = True
    interference: list[str] = field(default_factory=list)
    once: list[str] = field(default_factory=list)
    retries: int = 0

    @property
    def equal(self) -> bool:
        """Whether both sides were asked and agreed in all."""
        return not (self.differences or self.inexpressible or self.skipped)

    @property
    def unsteady(self) -> bool:
        """Whether its rounds took times that differ too much to be held against a prediction."""
        return self.spread is not None and self.spread > MAX_SPREAD

    @property
    def differs(self) -> bool:
        """Whether the two sides disagree."""
        return bool(self.differences)

    @property
    def disturbed(self) -> bool:
        """Whether others changed something by when the first difference showed."""
        return bool(set(self.interference) - {DAMON})

    @property
    def lines(self) -> list[str]:
        """All differences, of every kind."""
        return [line for lines in self.differences.values() for line in lines]

    @property
    def ratio(self) -> float | None:
        """Predicted over measured time, where both sides did the same and the model has a price for it."""
        if not (self.equal and self.predicted_ns and self.measured_ns):
            return None
        return self.predicted_ns / self.measured_ns
