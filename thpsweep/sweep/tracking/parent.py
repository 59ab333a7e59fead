"""The sweep's own run: what was planned and with what, how far it is, and the files of its directory."""

import hashlib
import json
import shlex
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.entities import Run as MlflowRun

from thpsweep.sweep.records import environment, run_record
from thpsweep.sweep.records.schema import Record
from thpsweep.sweep.tracking.labels import Labels
from thpsweep.sweep.tracking.names import ACTIVE, DIRECTORY, FAILED, FILES, FINISHED, N_POINTS, NOTE, RUNNING, SWEEP
from thpsweep.sweep.tracking.tables import PLAN

ARTEFACT_SUFFIXES = {".jsonl", ".yaml", ".json", ".txt", ".csv", ".md", ".png", ".html", ".parquet"}
AT_START = {PLAN, "config.yaml", environment.FILE_NAME}
"""Files that are there before the first result; the others are copied once, at the end."""


class Parent:
    """One run in MLflow, that with the id `own` or a new one. Where a user deleted it, it stays as it is."""

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        own: str | None,
        header: Record,
        directory: Path,
        labels: Labels,
    ) -> None:
        self._client, self._directory = client, directory
        self._run = client.get_run(own) if own else self._make(experiment_id, header, labels)
        self.id: str = self._run.info.run_id
        self.deleted = self._run.info.lifecycle_stage != ACTIVE
        if not self.deleted and self._run.data.tags.get(SWEEP) != header["sweep"]:
            client.set_tag(self.id, SWEEP, header["sweep"])

    def copy_files(self, *, final: bool) -> None:
        """Copy the sweep's files that are new or changed; a tag remembers what they held, wherever artefacts are kept."""
        if self.deleted:
            return
        known = _parsed(self._run.data.tags.get(FILES, "{}"))
        files = [
            path for path in sorted(self._directory.iterdir()) if path.suffix in ARTEFACT_SUFFIXES and path.is_file()
        ]
        held = {path.name: _digest(path) for path in files if final or path.name in AT_START}
        changed = {name: digest for name, digest in held.items() if known.get(name) != digest}
        for name in changed:
            self._client.log_artifact(self.id, str(self._directory / name))
        if changed:
            text = json.dumps(known | changed, sort_keys=True)
            self._client.set_tag(self.id, FILES, text)
            self._run.data.tags[FILES] = text

    def summarise(self, n_points: int, n_done: int, n_failed: int, end_ms: int, *, is_open: bool = False) -> None:
        """Say how many points there are, and when all have ended that it is over; only what is new.

        A sweep that is open, a search, may have more.
        """
        if self.deleted:
            return
        counts = {N_POINTS: n_points, "sweep/done": n_done, "sweep/failed": n_failed}
        n_ended = n_done + n_failed
        if counts != {name: self._run.data.metrics.get(name) for name in counts}:
            metrics = [Metric(name, n, end_ms, n_ended) for name, n in counts.items()]
            self._client.log_batch(self.id, metrics=metrics)
            self._run.data.metrics.update(counts)
        status = RUNNING if n_ended < n_points or is_open else FAILED if n_failed else FINISHED
        if status != RUNNING and (self._run.info.status, self._run.info.end_time) != (status, end_ms):
            self._client.set_terminated(self.id, status, end_ms)
            self._run = self._client.get_run(self.id)

    @property
    def start_ms(self) -> int:
        """When the sweep began. Units: milliseconds since 1970."""
        return int(self._run.info.start_time)

    def _make(self, experiment_id: str, header: Record, labels: Labels) -> MlflowRun:
        name, command = self._directory.name, shlex.join(["thpsweep", "sweep", *header["overrides"]])
        points = f"a {header['search']['kind']} search" if "search" in header else f"{header['n_points']} points"
        tags = (
            {**labels.tags}
            | run_record.provenance(header, environment.latest(self._directory))
            | {
                SWEEP: header["sweep"],
                DIRECTORY: name,
                NOTE: labels.described(f"`{command}`\n\n{points} in `{name}`"),
            }
        )
        begun_ms = run_record.epoch_ms(header["created"])
        made = self._client.create_run(experiment_id, start_time=begun_ms, tags=tags, run_name=name)
        return self._client.get_run(made.info.run_id)


def _parsed(text: str) -> dict[str, str]:
    """Read what the tag of the files holds; nothing where a user changed it: then they are copied again."""
    try:
        known = json.loads(text)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
