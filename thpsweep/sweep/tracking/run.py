"""What MLflow shall have of one point, from journal records alone; no MLflow here."""

import dataclasses
import math
from collections.abc import Iterator, Mapping

from thpsweep.sweep.records import run_record, run_series
from thpsweep.sweep.records.run_record import Record
from thpsweep.sweep.records.run_series import Step
from thpsweep.sweep.tracking import views

SWEEP, POINT, FINISHED_AT, PARENT, USER, NAME, COLOUR = (
    "thpsweep.sweep",
    "thpsweep.point",
    "thpsweep.finished",
    "mlflow.parentRunId",
    "mlflow.user",
    "mlflow.runName",
    "mlflow.runColor",
)
"""Tags that the code reads back, or that are MLflow's own."""

RUNNING, FINISHED, FAILED = "RUNNING", "FINISHED", "FAILED"
"""MLflow's words for how a run ended."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A point's run. Units: start_ms and end_ms since 1970."""

    name: str
    status: str
    start_ms: int
    end_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[Step, ...]

    @property
    def point(self) -> str:
        """The id of the point."""
        return self.tags[POINT]

    @property
    def finished(self) -> str:
        """When the result came in: tells it from an earlier one of the same point."""
        return self.tags[FINISHED_AT]

    def latest(self) -> Iterator[Step]:
        """Give the step of each metric that MLflow shows in its tables: the last, then the latest, then the largest."""
        best: dict[str, Step] = {}
        for step in self.metrics:
            known = best.setdefault(step.name, step)
            if (step.step, step.time_ms, step.value) > (known.step, known.time_ms, known.value):
                best[step.name] = step
        yield from best.values()


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What MLflow has of a point: its run, the result that it was made of, and whether it was written to its end."""

    run_id: str
    finished: str
    whole: bool


def run(parent_id: str, provenance: Mapping[str, str], record: Record, result: Record) -> Run:
    """Put together the run of a point, nested below the sweep's."""
    start_ms, end_ms = run_record.times_ms(result)
    name, colour = run_record.run_name(record), views.colour(record["point"]["policy"]["name"])
    totals = [Step(name, value, end_ms, 0) for name, value in run_record.metrics(result).items()]
    steps = [step for step in run_series.values(result, start_ms, end_ms) if math.isfinite(step.value)]
    return Run(
        name=name,
        status=FINISHED if result["state"] == "done" else FAILED,
        start_ms=start_ms,
        end_ms=end_ms,
        params=run_record.params(record),
        tags={**provenance, **run_record.point_tags(record, result), PARENT: parent_id, COLOUR: colour},
        metrics=tuple(dict.fromkeys([*totals, *steps])),  # MLflow keeps equal ones once
    )
