"""A sweep as rows: one per point, with what was chosen, how it ended, and each metric's mean and 95 % interval."""

import csv
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.records.schema import result_of
from thpsweep.units import HPAGE_PMD_NR, HPAGE_PMD_ORDER

Row = dict[str, Any]

ASIDE = ("choices", "counted", "regions", "folios_a_region", "notes", "own", "memory_bytes", "peak_bytes", "duration_s")
"""Keys of a row that are no columns: the names of its choices, its outcomes with their counts, how many regions there
are, how many folios a collapsed one becomes, what the model noted, the units of the user's own metrics, the machine's
memory and the most that was in use, the simulated time."""

HEALED = 0.01
"""Shared memory that became double counts as healed where no more than this share of it is double at the end."""

NOT_RUN = "not run"
"""State of a point that the journal has no result of."""

COMMON = frozenset(
    {
        "policy",
        "mechanism",
        "trigger",
        "workload",
        "sharing",
        "sharing.degree",
        "machine",
        "run.replicates",
        "run.seed",
    }
)
"""Choices that every point has; any other was varied by the overrides."""


def rows(sweep: Sweep) -> list[Row]:
    """Give one row per point, sorted by workload, sharing degree, other choices, and policy in the order of the sweep.

    A metric m has three keys: m, m_low, m_high. A point that failed or did not run has none.
    """
    return list(_rows(sweep))


@functools.lru_cache(maxsize=1)
def _rows(sweep: Sweep) -> tuple[Row, ...]:
    """Read the journal once for all that is made of it, one after the other."""
    found = [_row(sweep, point_id) for point_id in sweep.points]
    policies = list(dict.fromkeys(row["policy"] for row in found))
    others = varied(found)

    def order(row: Row) -> tuple[Any, ...]:
        rest = tuple(_natural(row.get(key)) for key in others)
        return _natural(row["workload"]), _natural(row.get("sharing.degree")), rest, policies.index(row["policy"])

    return tuple(sorted(found, key=order))


def varied(found: Sequence[Row]) -> list[str]:
    """Name the choices beyond the common ones, and those of machine and run, that differ between rows.

    Mechanism and trigger are among them where the policy's name does not tell them.
    """
    keys = dict.fromkeys(key for row in found for key in row["choices"])
    policies = {row.get("policy") for row in found}
    named = {
        key
        for key in ("mechanism", "trigger")
        if len({(row.get("policy"), row.get(key)) for row in found}) == len(policies)
    }
    apart = {"policy", "workload", "sharing", "sharing.degree"} | named
    return [key for key in keys if key not in apart and len({str(row.get(key)) for row in found}) > 1]


def double_bytes(row: Row) -> float:
    """Give how much memory that was shared is double at the end: what private copies ended the sharing of, less what has
    healed. 0 means that the sharing was kept, wherever that is said."""
    lost, healed = (float(row.get(f"cost/sharing_{what}_bytes", 0.0)) for what in ("lost", "healed"))
    return lost - healed if lost - healed > HEALED * lost else 0.0


def fits(row: Row) -> bool:
    """Tell whether the machine has the memory that was in use at the peak, in every replicate."""
    return bool(row.get("peak_bytes", 0.0) <= row["memory_bytes"])


def write_csv(sweep: Sweep, path: Path) -> None:
    """Write `rows` for a spreadsheet; columns in the order of first appearance, units in the names."""
    found = list(map(columns_of, rows(sweep)))
    columns = list(dict.fromkeys(key for row in found for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(map(row.get, columns) for row in found)


def columns_of(row: Row) -> Row:
    """Leave out of a row what is aside."""
    return {key: value for key, value in row.items() if key not in ASIDE}


def _row(sweep: Sweep, point_id: str) -> Row:
    chosen = run_record.choices(sweep.points[point_id])
    point = sweep.points[point_id]["point"]
    row: Row = {
        "id": point_id,
        "choices": tuple(chosen),
        "counted": {},
        "regions": None,
        "folios_a_region": HPAGE_PMD_NR >> point.get("policy", {}).get("mechanism", {}).get("order", HPAGE_PMD_ORDER),
        "notes": (),
        "own": {},
        "memory_bytes": point.get("machine", {}).get("memory_bytes", math.inf),
        "duration_s": point.get("run", {}).get("duration_s", math.inf),
        **chosen,
    }
    result = sweep.results.get(point_id)
    if result is None:
        return row | {"state": NOT_RUN, "outcomes": "", "error": ""}
    row["state"] = result["state"]
    facts = (result["result"] or {}).get("facts", {})
    row["peak_bytes"] = max((result["result"] or {}).get("replicates", {}).get("cost/memory_bytes_peak", [0.0]))
    row |= {"counted": run_record.outcomes(result), "notes": tuple(run_record.notes(result))}
    row["own"] = run_record.own(result)
    row["regions"] = facts.get("regions")
    row["outcomes"] = " ".join(f"{name}={count}" for name, count in row["counted"].items())
    row["error"] = "" if result["state"] == "done" else run_record.error_line(result)
    for name, metric in result_of(result).get("metrics", {}).items():
        row |= {name: metric["mean"], f"{name}_low": metric["low"], f"{name}_high": metric["high"]}
    return row


def _natural(value: Any) -> tuple[bool, float, str]:
    """Sort numbers by value and before words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return False, float(value), ""
    return True, 0.0, str(value)
