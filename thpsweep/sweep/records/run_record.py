"""What MLflow gets of a point: names, params, metrics and tags, from journal records alone; no MLflow here."""

import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from thpsweep.sweep.records import run_series
from thpsweep.sweep.records.schema import Estimate, PointRecord, Record, ResultRecord, error_of, result_of
from thpsweep.units import MS_PER_S

MAX_PARAMS = 20
"""Params a run; MLflow's tables and parallel coordinates become slow and unreadable with many keys (mlflow #11927)."""

MAX_METRICS = 30
"""Metric keys a run, intervals and series included; everything else stays in the journal and in the parent's tables."""

MAX_TEXT = 6000
"""Characters of a param; of tags MLflow takes 8,000."""

INTERVALS = ("cost/pte_updates", "tradeoff/net_cpu_ms")
"""Metrics that also get `<name>_low` and `<name>_high`: one of the effort, one of the answer."""

FIRST = (
    "tradeoff/net_cpu_ms",
    "tradeoff/payback_s",
    "tradeoff/gain_cpu_ms",
    "tradeoff/pte_updates_per_lru_entry",
    "cost/pte_updates",
    "cost/pte_updates_worst_region",
    "cost/cpu_ms",
    "cost/sharing_lost_bytes",
    "cost/bloat_bytes",
    "cost/extra_bytes_peak",
    "benefit/lru_entries_removed",
    "benefit/lru_reduction",
    "benefit/pmd_mapped_fraction",
    "benefit/fork_ms_saved",
    "benefit/exit_ms_saved",
    "benefit/refault_ms_saved",
    "benefit/reclaim_ms_saved",
    "benefit/tlb_ms_saved",
    "cost/migration_entries_set",
    "cost/migration_entries_set_worst_region",
    "cost/ptes_restored_worst_region",
    "cost/ptes_switched_worst_region",
    "cost/stall_max_ms",
)
"""Metrics that a run never goes without, most asked for first; others follow by name as long as there is room."""


def choices(record: PointRecord) -> dict[str, Any]:
    """Name what was chosen for a point: the parts that every point has, then what the overrides varied.

    A gate and a memory are named where they are not the usual ones.
    """
    point = record["point"]
    policy, run = point["policy"], point["run"]
    gate, memory = policy.get("gate", {}).get("kind", "always"), point.get("memory", {}).get("kind", "plentiful")
    return {
        "policy": policy["name"],
        "mechanism": policy["mechanism"]["kind"],
        "trigger": policy["trigger"]["kind"],
        "workload": point["workload"]["kind"],
        "sharing": point["sharing"]["kind"],
        **({"sharing.degree": point["sharing"]["degree"]} if "degree" in point["sharing"] else {}),
        "machine": point["machine"].get("name", ""),
        **({"gate": gate} if gate != "always" else {}),
        **({"memory": memory} if memory != "plentiful" else {}),
        "run.replicates": run["replicates"],
        "run.seed": run["seed"],
        **record["params"],
    }


def params(record: PointRecord) -> dict[str, str]:
    """Give the first MAX_PARAMS choices as text; varied ones come before the parts that every point has."""
    every = {**record["params"], **choices(record)}
    return {_safe(key): as_text(every[key])[:MAX_TEXT] for key in list(every)[:MAX_PARAMS]}


def as_text(value: Any) -> str:
    """Write a choice as its override would be written."""
    return value if isinstance(value, str) else json.dumps(value)


def means(result: ResultRecord) -> dict[str, float]:
    """Give the mean over replicates of each metric of a result record; none where the point failed."""
    return {name: float(metric["mean"]) for name, metric in _metrics(result).items()}


def metrics(result: ResultRecord) -> dict[str, float]:
    """Choose values that leave room for the series in MAX_METRICS: INTERVALS, then the user's own, then other means in the
    order of importance.

    The same keys are chosen whatever the values. Of these, inf and nan are left out, because MLflow would store inf as
    1.797e308 and draw "never" as a very late payback; `unbounded` says it in words.
    """
    every, estimates = means(result), _metrics(result)
    bounded = [name for name in INTERVALS if name in estimates]
    ends = {f"{name}_{end}": float(estimates[name][end]) for name in bounded for end in ("low", "high")}
    room = MAX_METRICS - len(ends) - len(run_series.names(result))
    mine = own(result)
    chosen = {
        name: every[name] for name in sorted(every, key=lambda name: (name not in mine, _rank(name)))[:room]
    } | ends
    return {name: value for name, value in chosen.items() if math.isfinite(value)}


def own(result: ResultRecord) -> dict[str, str]:
    """Give the metrics of the user's own, with their units."""
    found = result_of(result)
    return {name: found["units"][name] for name in found.get("own", ())}


def unbounded(result: ResultRecord) -> dict[str, str]:
    """Say in tags what metrics cannot: `payback` is "pays back", "never" or "undefined"; others by name and value."""
    tags = {}
    every = means(result)
    if "tradeoff/payback_s" in every:
        payback_s = every["tradeoff/payback_s"]
        tags["payback"] = "undefined" if math.isnan(payback_s) else "never" if payback_s == math.inf else "pays back"
    left_out = {name: str(value) for name, value in every.items() if not math.isfinite(value)}
    return tags | ({"thpsweep.not_finite": json.dumps(left_out, sort_keys=True)} if left_out else {})


def outcomes(result: ResultRecord) -> dict[str, int]:
    """Count scan results by the kernel's name over all replicates, most frequent first."""
    counted: Mapping[str, int] = result_of(result).get("outcomes", {})
    return dict(sorted(((name, n) for name, n in counted.items() if n), key=lambda pair: (-pair[1], pair[0])))


def notes(result: ResultRecord) -> list[str]:
    """List what the model has to say about a result beyond its numbers: the text facts, one sentence group each."""
    facts: Mapping[str, Any] = result_of(result).get("facts", {})
    named = [key for key in facts if key == "note" or key.endswith("_note") or key.startswith("note_")]
    return [str(facts[key]) for key in named if str(facts[key]).strip()]


def run_name(record: PointRecord) -> str:
    """Name a run so that names sort and tell runs apart: "inplace x0195 prefork regions=64"."""
    every = choices(record)
    degree = f"x{every['sharing.degree']:04d}" if isinstance(every.get("sharing.degree"), int) else every["sharing"]
    named = {"policy", "workload", "sharing", "sharing.degree", "machine"}
    varied = [(key.rpartition(".")[2], value) for key, value in record["params"].items() if key not in named]
    words = [every["policy"], degree, every["workload"], *(f"{key}={as_text(value)}" for key, value in varied)]
    return " ".join(words)[:200]


def times_ms(result: ResultRecord) -> tuple[int, int]:
    """Give start and end of a point as MLflow counts time. Units: milliseconds since 1970."""
    end_ms = epoch_ms(result["finished"])
    return end_ms - round((result["wall_s"] or 0.0) * MS_PER_S), end_ms


def epoch_ms(iso: str) -> int:
    """Convert an ISO 8601 time, UTC where it names no zone. Units: milliseconds since 1970."""
    moment = datetime.datetime.fromisoformat(iso)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp() * MS_PER_S)


def error_line(result: ResultRecord) -> str:
    """Say in one line why a point failed."""
    error = error_of(result)
    return f"{error['type']}: {' '.join(str(error['message']).split())}"[:1000]


def point_tags(record: PointRecord, result: ResultRecord) -> dict[str, str]:
    """Say in tags how a point ended and where; MLflow shows the note as the description of the run."""
    tags = {
        "thpsweep.point": record["id"],
        "thpsweep.finished": result["finished"],
        "thpsweep.state": result["state"],
        "thpsweep.host": str(result["host"]),
        "thpsweep.wall_s": str(result["wall_s"]),
        "thpsweep.attempts": str(result["attempts"]),
        "thpsweep.outcomes": " ".join(f"{name}={count}" for name, count in outcomes(result).items()),
    } | unbounded(result)
    note = "\n\n".join(notes(result))
    if result["state"] != "done":
        tags["thpsweep.error"] = error_line(result)
        note = f"{tags['thpsweep.error']}\n\n```\n{error_of(result)['traceback'][-4000:]}\n```"
    return {name: value[:MAX_TEXT] for name, value in (tags | {"mlflow.note.content": note}).items() if value}


def provenance(header: Record, environment: Record) -> dict[str, str]:
    """Name who ran what, which MlflowClient, unlike MLflow's fluent API, leaves to its caller."""
    tags = {
        "mlflow.source.name": "thpsweep",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": environment.get("user"),
        "mlflow.source.git.commit": environment.get("commit"),
        "thpsweep.changes": " ".join(line[3:] for line in environment.get("changes", ())),
        "thpsweep.version": header["thpsweep"],
        "thpsweep.model": header["model"],
    }
    return {name: str(value)[:MAX_TEXT] for name, value in tags.items() if value}


def _metrics(result: ResultRecord) -> Mapping[str, Estimate]:
    return result_of(result).get("metrics", {})


def _rank(name: str) -> tuple[int, str]:
    if name in FIRST:
        return FIRST.index(name), name
    return len(FIRST), name


def _safe(key: str) -> str:
    """Put an underscore for what MLflow does not allow in names."""
    return re.sub(r"[^/\w.\- :]", "_", key)[:250]
