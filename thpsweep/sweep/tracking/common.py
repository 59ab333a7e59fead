"""Make the runs of a sweep's points, which depend on each other: their order, and what their tables and charts show.

No MLflow here.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Self

from thpsweep.sweep.records import environment, run_record, run_series
from thpsweep.sweep.records.run_series import SeriesStep
from thpsweep.sweep.records.schema import PointRecord, ResultRecord
from thpsweep.sweep.tracking import first_page, views
from thpsweep.sweep.tracking.index import JournalIndex
from thpsweep.sweep.tracking.labels import Labels
from thpsweep.sweep.tracking.names import COLOUR, FAILED, FINISHED, NOTE, PARENT
from thpsweep.sweep.tracking.run import TrackedRun


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

    @classmethod
    def of(cls, index: JournalIndex, labels: Labels) -> Self:
        """Find out what the points of a journal have in common; of a search, which asks points later, no order."""
        choices, rows = [], []
        for key in index.points:
            record = index.point(key)
            params = run_record.params(record)
            chosen = {"policy": record["point"]["policy"]["name"], **record["params"]}
            choices.append(chosen)
            rows.append({key: params[key] for key in (*views.USUAL, *chosen) if key in params})
        places: dict[str, int] = {}
        if not index.is_search:
            places = dict(zip(index.points, first_page.spread(choices, "policy"), strict=True))
        provenance = run_record.provenance(index.header, environment.latest(index.directory))
        columns = views.params(_varied(rows))
        policies = tuple(dict.fromkeys(chosen["policy"] for chosen in choices))
        return cls(provenance, labels, places, columns, first_page.axes(rows, columns), policies)

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
            views.PLACE: f"{self.places.get(record['id'], record['index']):06d}",  # text: MLflow sorts tags as such
        }


def _varied(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Name the params that points differ in, those that only some have included."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]
