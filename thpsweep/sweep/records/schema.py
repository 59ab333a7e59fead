"""What goes from stage to stage of a sweep, as types: points, outcomes, and the records of the journal; plain JSON."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast

Spec = dict[str, Any]
"""An option as a point has it: its `kind`, and a value for each of its keys."""


class Policy(TypedDict):
    """A mechanism, what starts it, what may hold it back, and the name of it all."""

    name: str
    mechanism: Spec
    trigger: Spec
    gate: NotRequired[Spec]


class RunSpec(TypedDict):
    """How long and how often a point is simulated."""

    seed: int
    replicates: int
    duration_s: float
    tick_s: float


class Point(TypedDict):
    """Scene, policy, machine and run of one simulation."""

    workload: Spec
    sharing: Spec
    policy: Policy
    machine: Spec
    memory: NotRequired[Spec]
    run: RunSpec
    metrics: NotRequired[dict[str, Spec]]


class CheckedPoint(TypedDict):
    """A point that can run, with what launchers and workers have to know of it: none of them builds it to look at it.

    `alike` identifies all of it but the seed, `scene` what the processes do, whatever the seed. state_bytes and work are
    the model's estimates of one replicate's state and of the whole point.
    """

    point: Point
    alike: str
    scene: str
    state_bytes: float
    work: float


class Estimate(TypedDict):
    """A mean over replicates with its 95 % interval."""

    mean: float
    low: float
    high: float


class Result(TypedDict, total=False):
    """What the model says of a point; nothing where the point failed. `own` names the user's metrics and counters."""

    metrics: dict[str, Estimate]
    replicates: dict[str, list[float]]
    series: dict[str, Any]
    outcomes: dict[str, int]
    facts: dict[str, Any]
    units: dict[str, str]
    counted: dict[str, Any]
    own: list[str]


class Error(TypedDict):
    """Why a point failed."""

    type: str
    message: str
    traceback: str


class Outcome(TypedDict):
    """How a point ended, and what that took. Points that ran side by side share the time; `batch_size` is their number."""

    state: str
    result: Any
    error: Error | None
    host: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    batch_size: int
    attempts: int


Record = Mapping[str, Any]
"""A line of the journal, of the type that its `type` says: one of those below, or the end of a search."""


class SweepRecord(TypedDict):
    """The first line of a journal: which sweep this is, and what code computes it."""

    type: Literal["sweep"]
    format: int
    sweep: str
    name: str
    thpsweep: str
    model: str
    code: NotRequired[str]
    created: str
    overrides: list[str]
    n_points: int
    search: NotRequired[dict[str, Any]]


class PointRecord(TypedDict):
    """A point of the sweep; `params` tells it from the others, `search` is what a search has to know of it."""

    type: Literal["point"]
    id: str
    index: int
    params: dict[str, Any]
    point: Point
    search: NotRequired[Mapping[str, Any]]


class ResultRecord(Outcome):
    """How a point ended, and when; `source` names the sweep that it was taken over from."""

    type: Literal["result"]
    id: str
    finished: str
    source: NotRequired[str]


def result_record(key: str, finished: str, outcome: Outcome) -> ResultRecord:
    """Make the record of an outcome; what is read without the rest stands first."""
    head = {"type": "result", "id": key, "state": outcome["state"], "finished": finished}
    return cast(ResultRecord, {**head, **outcome})


def result_of(record: Record | ResultRecord | None) -> Result:
    """Give what the model said of a point; nothing where it failed, or did not run."""
    result: Result = (record["result"] if record else None) or {}
    return result


def error_of(record: Record | ResultRecord) -> Error:
    """Give why a point failed."""
    error: Error = record.get("error") or {"type": str(record["state"]), "message": "", "traceback": ""}
    return error
