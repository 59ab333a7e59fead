"""Journals of sweeps that never ran: what MLflow is told must be what stands in them."""

import json

from thpsweep.model.accounting.series import UNITS
from thpsweep.sweep.records import journal, writer
from thpsweep.sweep.records.identity import code_id

SWEEP_ID = "5" * 64


def a_point(index, policy="inplace", degree=195, **extra_params):
    point = {
        "workload": {"kind": "prefork", "regions": 2},
        "sharing": {"kind": "fixed", "degree": degree},
        "policy": {"name": policy, "mechanism": {"kind": policy}, "trigger": {"kind": "madvise", "at_s": [1.0]}},
        "machine": {"kind": "profile", "name": "x86_64"},
        "run": {"seed": 7, "replicates": 3, "duration_s": 60.0, "tick_s": 0.1},
    }
    params = {"policy": policy, "workload": "prefork", "sharing.degree": degree, **extra_params}
    return {"type": "point", "id": f"{index:064x}", "index": index, "params": params, "point": point}


def a_result(point, metrics, second=0, outcomes=None, facts=None):
    value = {
        "metrics": {name: {"mean": mean, "low": mean - 1, "high": mean + 1} for name, mean in metrics.items()},
        "replicates": {},
        "outcomes": outcomes or {"SUCCEED": 6},
        "facts": facts or {},
        "units": {},
    }
    return {
        "type": "result",
        "id": point["id"],
        "state": "done",
        "result": value,
        "error": None,
        "host": "node7",
        "wall_s": 0.25,
        "attempts": 1,
        "finished": f"2026-01-02T03:04:{second:02d}.500000+00:00",
    }


def a_failure(point, second=0):
    error = {"type": "ValueError", "message": "no\nroom", "traceback": "Traceback ...\nValueError: no room"}
    return {**a_result(point, {}, second), "state": "failed", "result": None, "error": error}


def with_series(result, time_s):
    """Add a course to a result: each series counts its steps from a number of its own."""
    found = {name: [1000.0 * number + step / 7 for step in range(len(time_s))] for number, name in enumerate(UNITS)}
    series = {name: {"mean": values, "baseline": values} for name, values in found.items()}
    return {**result, "result": {**result["result"], "series": {"time_s": time_s, **series}}}


def header(name, sweep_id, n_points):
    return {
        "type": "sweep",
        "format": journal.FORMAT,
        "sweep": sweep_id,
        "name": name,
        "thpsweep": "0.1.0",
        "model": "m1",
        "code": code_id(),
        "created": "2026-01-02T03:00:00+00:00",
        "overrides": ["policy=copy,inplace", "note=a b"],
        "n_points": n_points,
    }


def write(root, records, name="seed_debate", sweep_id=SWEEP_ID, search=None):
    """Write the journal of a sweep anew, of a search where `search` says which."""
    directory = root / f"{name}-{sweep_id[:12]}"
    (directory / journal.FILE_NAME).unlink(missing_ok=True)
    points = [record for record in records if record["type"] == "point"]
    first = header(name, sweep_id, len(points)) | ({"search": search} if search else {})
    with writer.writing(directory, first, points) as (log, _):
        for record in records:
            if record["type"] == "result":
                log.append(record)
    return directory


def of_other_code(directory):
    """Make a journal one that other code wrote."""
    file = directory / journal.FILE_NAME
    header, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(journal.sealed({**json.loads(journal.unsealed(header)), "code": "0" * 12}) + b"".join(rest))
