"""The sweep's own run: what was planned and with what, how far it is, and the files of its directory."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, ViewType

from thpsweep.sweep.records import environment, run_record
from thpsweep.sweep.records.journal import Record
from thpsweep.sweep.tracking.run import FAILED, FINISHED, RUNNING, SWEEP
from thpsweep.sweep.tracking.tables import PLAN

FILES = "thpsweep.files"

ARTEFACT_SUFFIXES = {".jsonl", ".yaml", ".json", ".txt", ".csv", ".md", ".png", ".html", ".parquet"}
AT_START = {PLAN, "config.yaml", environment.FILE_NAME}
"""Files that are there before the first result; the others are copied once, at the end."""


class Parent:
    """One run in MLflow, found by the sweep's id or made."""

    def __init__(self, client: MlflowClient, experiment_id: str, header: Record, directory: Path) -> None:
        self._client, self._directory = client, directory
        self._run = client.get_run(_found(client, experiment_id, header["sweep"]) or self._make(experiment_id, header))
        self.id: str = self._run.info.run_id

    def copy_files(self, *, final: bool) -> None:
        """Copy the sweep's files that are new or changed; a tag remembers what they held, wherever artefacts are kept."""
        known = json.loads(self._run.data.tags.get(FILES, "{}"))
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
        counts = {"sweep/points": n_points, "sweep/done": n_done, "sweep/failed": n_failed}
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

    def _make(self, experiment_id: str, header: Record) -> str:
        name, command = self._directory.name, shlex.join(["thpsweep", "sweep", *header["overrides"]])
        points = f"a {header['search']['kind']} search" if "search" in header else f"{header['n_points']} points"
        tags = run_record.provenance(header, environment.latest(self._directory)) | {
            SWEEP: header["sweep"],
            "thpsweep.directory": name,
            "mlflow.note.content": f"`{command}`\n\n{points} in `{name}`"[: run_record.MAX_TEXT],
        }
        begun_ms = run_record.epoch_ms(header["created"])
        made = self._client.create_run(experiment_id, start_time=begun_ms, tags=tags, run_name=name)
        return str(made.info.run_id)


def _found(client: MlflowClient, experiment_id: str, sweep: str) -> str | None:
    """Find the sweep's run, also where somebody deleted it: its points' runs hang on it."""
    found = client.search_runs([experiment_id], f"tags.`{SWEEP}` = '{sweep}'", run_view_type=ViewType.ALL)
    runs: Mapping[str, str] = {run.info.run_id: run.info.lifecycle_stage for run in found}
    for run_id, stage in sorted(runs.items(), key=lambda item: item[1] != "active"):
        if stage != "active":
            client.restore_run(run_id)
        return run_id
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
