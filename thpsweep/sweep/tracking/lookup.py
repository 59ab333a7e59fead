"""Find what MLflow has of a sweep: its experiment, its own run and each point's runs, whatever a user did to their tags.

`sync` and `status` both look here; a Reader hides whether a database or a server is asked. No MLflow here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.schema import Record
from thpsweep.sweep.tracking import first_page
from thpsweep.sweep.tracking.index import JournalIndex
from thpsweep.sweep.tracking.reconcile import Recorded

SWEEP_ID_DIGITS = 64

Params = Sequence[tuple[str, str]]


class Experiment(NamedTuple):
    """An experiment, also one in MLflow's trash: then it is not active."""

    id: str
    name: str
    active: bool


class OwnRun(NamedTuple):
    """A run that may be a sweep's own, with the sweep and the directory that its tags name."""

    id: str
    experiment_id: str
    active: bool
    sweep: str | None
    directory: str | None


class PointRun(NamedTuple):
    """A run below a sweep's own, with what its tags say. Units: start_ms since 1970."""

    id: str
    point: str | None
    finished: str | None
    whole: bool
    active: bool
    start_ms: int


class Reader(Protocol):
    """Reads from MLflow, its trash included."""

    def experiments(self) -> Sequence[Experiment]:
        """List all experiments."""

    def own_runs(self, sweep: str, begun_ms: int) -> Sequence[OwnRun]:
        """List the runs whose tag names the sweep; where there are none, those that count points and began then."""

    def point_runs(self, own: str) -> Sequence[PointRun]:
        """List the runs below a sweep's own."""

    def params(self, own: str) -> dict[str, Params]:
        """Give the params of those runs below a sweep's own that lack a tag by which they are known."""


class InTrashError(Exception):
    """A user deleted the experiment: nothing can be recorded in it, and nobody asked for it to come back."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.experiment = experiment

    @property
    def fact(self) -> str:
        """Say what is the case."""
        return f"the experiment {self.experiment.name!r} was deleted in MLflow"

    def __str__(self) -> str:
        restore = f"`mlflow experiments restore -x {self.experiment.id}` brings it back"
        return f"{self.fact} and stays in its trash ({restore})"


@dataclass(frozen=True)
class Place:
    """Where a sweep is recorded, or is going to be: then there is no run of its own yet, and maybe no experiment."""

    name: str
    experiment: Experiment | None
    own: OwnRun | None
    note: str = ""
    """What the user should know of it."""


def place(reader: Reader, header: Record, directory: str) -> Place:
    """Find the experiment that has the sweep's own run, else one of the sweep's name, else a name that is free.

    Raises: InTrashError where a user deleted it.
    """
    experiments = {experiment.id: experiment for experiment in reader.experiments()}
    if own := _own_runs(reader, header, directory):
        best = min(own, key=lambda run: (not experiments[run.experiment_id].active, not run.active, run.id))
        experiment = experiments[best.experiment_id]
        if not experiment.active:
            raise InTrashError(experiment)
        return Place(experiment.name, experiment, best)
    by_name = {experiment.name: experiment for experiment in experiments.values()}
    note = ""
    for name in (header["name"], directory):
        named = by_name.get(name)
        if named is None or named.active:
            return Place(name, named, None, note)
        # MLflow gives the name of a deleted experiment to no other one.
        note = f"{InTrashError(named)}; this sweep is recorded in the experiment {directory!r}"
    raise InTrashError(by_name[directory])


def _own_runs(reader: Reader, header: Record, directory: str) -> list[OwnRun]:
    """Know a sweep's own run by its tag; where a user changed that, by when the sweep began and where it was."""
    runs = reader.own_runs(header["sweep"], run_record.epoch_ms(header["created"]))
    tagged = [run for run in runs if run.sweep == header["sweep"]]
    # Of two sweeps that began in the same millisecond each has its own.
    nameless = [run for run in runs if len(run.sweep or "") != SWEEP_ID_DIGITS]
    return tagged or [run for run in nameless if run.directory in (None, directory)]


@dataclass(frozen=True)
class Found:
    """The runs of each point, and those of them, by point, that a user took a tag from."""

    runs: dict[str, list[Recorded]]
    untagged: list[tuple[str, Recorded]]


def point_runs(reader: Reader, own: str, index: JournalIndex) -> Found:
    """Know the runs below a sweep's own by their tags, else by their params and start, which nobody can change."""
    found = Found({}, [])
    nameless = []
    for run in reader.point_runs(own):
        if run.point is None or run.finished is None:
            nameless.append(run)
            continue
        found.runs.setdefault(run.point, []).append(Recorded(run.id, run.finished, run.whole, run.active))
    params, results = (reader.params(own), _by_content(index)) if nameless else ({}, {})
    for run in nameless:
        known = results.get((run.start_ms, *first_page.without_texts(dict(params.get(run.id, ())))))
        if known is not None:
            point, finished = known
            recorded = Recorded(run.id, finished, run.whole, run.active)
            found.runs.setdefault(point, []).append(recorded)
            found.untagged.append((point, recorded))
    return found


def _by_content(index: JournalIndex) -> dict[tuple[object, ...], tuple[str, str]]:
    """Give for the start and the params of each run that a result makes its point, and when the result came in."""
    results = {}
    for key, start in index.every_result():
        result = index.result(start)
        params = first_page.without_texts(run_record.params(index.point(key)))
        results[(run_record.times_ms(result)[0], *params)] = (key, result["finished"])
    return results
