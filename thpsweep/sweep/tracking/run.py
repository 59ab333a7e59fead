"""What is recorded of one point in MLflow, from journal records alone; no MLflow here."""

import dataclasses
from collections.abc import Iterator, Mapping

from thpsweep.sweep.records.run_series import SeriesStep
from thpsweep.sweep.tracking.names import FINISHED_AT, POINT


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """A point's run. Units: start_ms and end_ms since 1970."""

    name: str
    status: str
    start_ms: int
    end_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[SeriesStep, ...]

    @property
    def point(self) -> str:
        """The id of the point."""
        return self.tags[POINT]

    @property
    def finished(self) -> str:
        """When the result came in: tells it from an earlier one of the same point."""
        return self.tags[FINISHED_AT]

    def latest(self) -> Iterator[SeriesStep]:
        """Give the step of each metric that MLflow shows in its tables: the last, then the latest, then the largest."""
        best: dict[str, SeriesStep] = {}
        for step in self.metrics:
            known = best.setdefault(step.name, step)
            if (step.step, step.time_ms, step.value) > (known.step, known.time_ms, known.value):
                best[step.name] = step
        yield from best.values()
