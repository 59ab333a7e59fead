"""What is recorded of one point in MLflow, from journal records alone; no MLflow here."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from thpsweep.sweep.records import run_record, run_series
from thpsweep.sweep.records.run_series import SeriesStep
from thpsweep.sweep.records.schema import PointRecord, ResultRecord
from thpsweep.sweep.tracking import first_page, views
from thpsweep.sweep.tracking.labels import Labels

SWEEP, POINT, FINISHED_AT, PLACE, PARENT, USER, NAME, NOTE, COLOUR = (
    "thpsweep.sweep",
    "thpsweep.point",
    "thpsweep.finished",
    views.PLACE,
    "mlflow.parentRunId",
    "mlflow.user",
    "mlflow.runName",
    "mlflow.note.content",
    "mlflow.runColor",
)
"""Tags that the code reads back, or that are MLflow's own."""

RUNNING, FINISHED, FAILED = "RUNNING", "FINISHED", "FAILED"
"""How a run ended, as MLflow writes it."""


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


@dataclasses.dataclass(frozen=True)
class Common:
    """What the runs of a sweep's points have in common, or have because of each other."""

    provenance: Mapping[str, str]
    labels: Labels = dataclasses.field(default_factory=Labels)
    places: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Where each point stands in the order that the UI shows runs in."""
    columns: Sequence[str] = ()
    """Params that a table shows."""
    axes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Params that parallel coordinates show -> the param of which they can draw every point."""
    policies: tuple[str, ...] = ()

    def run(self, parent_id: str, record: PointRecord, result: ResultRecord) -> TrackedRun:
        """Put together the run of a point, nested below the sweep's."""
        start_ms, end_ms = run_record.times_ms(result)
        totals = [SeriesStep(name, value, end_ms, 0) for name, value in run_record.metrics(result).items()]
        steps = [step for step in run_series.values(result, start_ms, end_ms) if math.isfinite(step.value)]
        params = run_record.params(record)
        return TrackedRun(
            name=self.labels.name(record),
            status=FINISHED if result["state"] == "done" else FAILED,
            start_ms=start_ms,
            end_ms=end_ms,
            params=params | first_page.text_params(params, self.axes),
            tags=self._tags(parent_id, record, result),
            metrics=tuple(dict.fromkeys([*totals, *steps])),  # MLflow keeps equal ones once
        )

    def _tags(self, parent_id: str, record: PointRecord, result: ResultRecord) -> dict[str, str]:
        tags = run_record.point_tags(record, result)
        note = self.labels.described(tags.pop(NOTE, ""))
        return {
            **self.labels.tags,
            **self.provenance,
            **tags,
            **({NOTE: note} if note else {}),
            PARENT: parent_id,
            COLOUR: views.colour(record["point"]["policy"]["name"]),
            PLACE: f"{self.places.get(record['id'], record['index']):06d}",  # text: MLflow sorts tags as such
        }
