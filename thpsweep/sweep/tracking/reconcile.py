"""Compare the runs that MLflow has of a point with the point's latest result. What a user deleted stays deleted.

No MLflow here.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Recorded:
    """One run of a point: the result that it was made of, whether it was written to its end, and whether it is active.

    A run that is not active is in MLflow's trash.
    """

    run_id: str
    finished: str
    whole: bool
    active: bool = True


@dataclass(frozen=True)
class Standing:
    """What MLflow has of a point: its one run, if any, and the active runs that should not be there."""

    current: Recorded | None
    doubled: tuple[str, ...]
    """Further active runs of the same result."""
    older: tuple[str, ...]
    """Active runs of earlier results of the point."""
    deleted: bool
    """Whether a user deleted the run of the latest result."""

    @property
    def surplus(self) -> tuple[str, ...]:
        """All active runs that should not be there."""
        return self.doubled + self.older

    @property
    def complete(self) -> bool:
        """Whether there is nothing to write."""
        return self.deleted or (self.current is not None and self.current.whole)


def standing(runs: Sequence[Recorded], finished: str) -> Standing:
    """Tell which of a point's runs is that of the result that came in at `finished`.

    Only a user deletes the run of a latest result: of two such runs one is always left. A restored experiment brings
    back every run in it, those included that had been replaced.
    """
    same = sorted((run for run in runs if run.finished == finished), key=lambda run: (not run.whole, run.run_id))
    active = [run for run in same if run.active]
    return Standing(
        current=active[0] if active else None,
        doubled=tuple(run.run_id for run in active[1:]),
        older=tuple(run.run_id for run in runs if run.active and run.finished != finished),
        deleted=bool(same) and not active,
    )
