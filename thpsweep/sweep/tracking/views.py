"""What MLflow's UI shows first: saved views with the columns and charts of the question, and one colour per policy.

MLflow keeps a saved view as a tag of the experiment, and lists them under "Saved views". No MLflow here.
Source: mlflow 3.17.2, the UI's ExperimentPageUIState, RunsChartsCardConfig and saved views (mlflow/server/js).
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from thpsweep.sweep.tracking.first_page import PAGE

VIEW, CHARTS = "thpsweep", "thpsweep-charts"
"""Share keys of the view with the table by name, and of the one whose first page is spread over the sweep."""

TAG = f"mlflow.sharedViewState.{VIEW}"
OWN = "thpsweep.views"
"""Tag with the digests of the views that we wrote: what a user changed since is theirs."""

PLACE = "thpsweep.place"
"""Tag of a run: where it stands in the order of the charts."""

MAX_TAG = 5000
"""Characters of an experiment's tag. Source: mlflow 3.17.2 mlflow/utils/validation.py, MAX_EXPERIMENT_TAG_VAL_LENGTH"""

MAX_POLICIES = 20
"""Policies that get a view of their own."""

TITLE = "cost against benefit"
EVERYWHERE = "all are in `thpsweep report`, table.csv and metrics.parquet"
SINCE_MS = 1_767_225_600_000
"""A view has to have a date: 2026-01-01, the same for all, so that equal views are equal tags."""

PTES, LRU, NET, CPU = "cost/pte_updates", "benefit/lru_entries_removed", "tradeoff/net_cpu_ms", "cost/cpu_ms"
COLUMNS = (PTES, LRU, "tradeoff/pte_updates_per_lru_entry", CPU, "cost/stall_max_ms", NET, "tradeoff/payback_s")
AXES = (PTES, CPU, LRU, NET)
"""Metrics of the parallel coordinates; the last one colours the lines."""

POINTS_ONLY = "params.policy != ''"
"""Finds the runs of points: a sweep's own run has no policy."""

USUAL = ("sharing.degree", "policy")
MAX_OWN = 4
"""Metrics of the user's own that get a column: a view is one tag, of at most so many characters."""

MAX_PARAMS = 5
"""Params that get a column and an axis; with more of them parallel coordinates cannot be read."""

COLOURS = {
    "none": "#777777",
    "copy": "#E69F00",
    "mainline": "#8C6100",
    "unshare": "#CC79A7",
    "inplace": "#0072B2",
    "inplace_pmd": "#56B4E9",
    "switch": "#D55E00",
    "switch_pmd": "#8F3E00",
    "incremental": "#009E73",
    "deferred": "#F0E442",
    "retract": "#000000",
    "shared_table": "#7A4E9F",
    "copy_parent": "#B35900",
    "copy_before_fork": "#FFD27F",
    "thp_at_fault": "#8FBF26",
}
"""Those of Okabe and Ito, which colour-blind readers can tell apart, for as many policies as there are such colours."""


def colour(policy: str) -> str:
    """Give a policy's colour, the same in every sweep; one that is not ours gets one of them."""
    every = [*COLOURS.values()]
    return COLOURS.get(policy, every[zlib.crc32(policy.encode()) % len(every)])


def params(varied: Sequence[str]) -> list[str]:
    """Choose the params that get a column and an axis."""
    return list(dict.fromkeys([*USUAL, *varied]))[:MAX_PARAMS]


def tags(
    columns: Sequence[str], axes: Sequence[str], n_points: int, policies: Sequence[str], own: Sequence[str] = ()
) -> dict[str, str]:
    """Give the tags that hold the views of an experiment.

    `columns` are params of the table, `axes` those of which parallel coordinates can draw every point, `own` metrics of the
    user's own, of which the table shows the first few.
    """
    columns = [*(f"params.`{key}`" for key in columns), *(f"metrics.`{key}`" for key in (*own[:MAX_OWN], *COLUMNS))]
    by_name, by_place = "tags.`mlflow.runName`", f"tags.`{PLACE}`"
    # A section's title has room for some 55 characters.
    drawn = f"{PAGE} of {n_points} points drawn; all: table.csv, report.md" if n_points > PAGE else TITLE
    shown = {
        VIEW: _view(TITLE, "", by_name, columns, axes, drawn),
        CHARTS: _view(f"{TITLE}, spread over all policies", "", by_place, columns, axes, drawn),
    }
    for policy in policies[:MAX_POLICIES] if n_points > PAGE and len(policies) > 1 else ():
        title = f"{policy}, at most {PAGE} points; all: table.csv, report.md"
        shown[key_of(policy)] = _view(f"{TITLE}, {policy} alone", policy, by_place, columns, axes, title)
    return {f"mlflow.sharedViewState.{key}": text for key, text in shown.items() if len(text) <= MAX_TAG}


def key_of(policy: str) -> str:
    """Give the share key of the view of one policy."""
    return f"{VIEW}-{hashlib.sha256(policy.encode()).hexdigest()[:8]}"


def changed(known: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Give the tags to set, where an experiment has those of `known`: none that a user changed."""
    own = _digests(known.get(OWN, "{}"))
    new = {
        key: text
        for key, text in wanted.items()
        if known.get(key) != text and (key not in known or own.get(key) == _digest(known[key]))
    }
    return new | ({OWN: json.dumps(own | {key: _digest(text) for key, text in new.items()})} if new else {})


def _digests(text: str) -> dict[str, str]:
    try:
        view = json.loads(text)
    except ValueError:
        return {}
    return view if isinstance(view, dict) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _view(name: str, policy: str, order: str, columns: Sequence[str], axes: Sequence[str], title: str) -> str:
    """Write a saved view of the points' runs, or of those of one policy."""
    state = {
        "searchFilter": f"params.policy = '{policy}'" if policy else POINTS_ONLY,
        "orderByKey": order,
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: 150 for column in columns},
        "runsHiddenMode": "SHOW_ALL",  # else ten
        "isAccordionReordered": True,  # else the section comes after those that MLflow makes
        "compareRunSections": [
            {
                "uuid": VIEW,
                "name": title,
                "display": True,
                "isReordered": True,
                "columns": 2,
                "cardHeight": 440,
            }
        ],
        "compareRunCharts": [
            _card("parallel", "PARALLEL", selectedParams=list(axes), selectedMetrics=list(AXES), showAllRuns=True),
            _card("ptes-lru", "SCATTER", xaxis=_axis(PTES), yaxis=_axis(LRU)),
            _card("degree-net", "SCATTER", xaxis=_axis("sharing.degree", "PARAM"), yaxis=_axis(NET)),
            _card("cpu-net", "SCATTER", xaxis=_axis(CPU), yaxis=_axis(NET)),
        ],
    }
    return json.dumps({"name": name, "createdAt": SINCE_MS, "updatedAt": SINCE_MS, "state": json.dumps(state)})


def links(server: str, experiment_id: str) -> tuple[str, str]:
    """Give the addresses of an experiment's table and of its charts in the UI of a server.

    The address itself has to ask for runs: MLflow 3.17 opens on its GenAI pages, whatever an experiment's tags say.
    """
    page = f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey="
    return f"{page}{VIEW}", f"{page}{CHARTS}&compareRunsMode=CHART"


def _card(name: str, kind: str, **what: Any) -> dict[str, Any]:
    shown = {"runsCountToCompare": PAGE, "deleted": False, "isGenerated": False}
    return {"uuid": f"{VIEW}-{name}", "type": kind, "metricSectionId": VIEW, **shown, **what}


def _axis(key: str, kind: str = "METRIC") -> dict[str, str]:
    return {"key": key, "type": kind}
