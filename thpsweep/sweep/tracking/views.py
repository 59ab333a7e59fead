"""What MLflow's UI shows first: a saved view with the columns and charts of the question, and a colour a policy.

MLflow keeps a saved view as a tag of the experiment. No MLflow here.
Source: mlflow 3.17.2, the UI's ExperimentPageUIState, RunsChartsCardConfig and saved views (mlflow/server/js).
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any

VIEW = "thpsweep"
TAG = f"mlflow.sharedViewState.{VIEW}"
TITLE = "cost against benefit"
SINCE_MS = 1_767_225_600_000
"""A view has to have a date: 2026-01-01, the same for all, so that equal views are equal tags."""

PTES, LRU, NET, CPU = "cost/pte_updates", "benefit/lru_entries_removed", "tradeoff/net_cpu_ms", "cost/cpu_ms"
COLUMNS = (PTES, LRU, "tradeoff/pte_updates_per_lru_entry", CPU, "cost/stall_max_ms", NET, "tradeoff/payback_s")
AXES = (PTES, CPU, LRU, NET)
"""Metrics of the parallel coordinates; the last one colours the lines."""

USUAL = ("sharing.degree", "policy")
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


def view(varied: Sequence[str]) -> str:
    """Write the saved view of a sweep whose points differ in `varied`: runs of points alone, all of them drawn."""
    params = list(dict.fromkeys([*USUAL, *varied]))[:MAX_PARAMS]
    columns = [*(f"params.`{key}`" for key in params), *(f"metrics.`{key}`" for key in COLUMNS)]
    state = {
        "searchFilter": "params.policy != ''",  # the sweep's own run has no params
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: 150 for column in columns},
        "runsHiddenMode": "SHOW_ALL",  # else ten
        "isAccordionReordered": True,  # else the section comes after those that MLflow makes
        "compareRunSections": [
            {"uuid": VIEW, "name": TITLE, "display": True, "isReordered": True, "columns": 2, "cardHeight": 440}
        ],
        "compareRunCharts": [
            _card("parallel", "PARALLEL", selectedParams=params, selectedMetrics=list(AXES), showAllRuns=True),
            _card("ptes-lru", "SCATTER", xaxis=_axis(PTES), yaxis=_axis(LRU)),
            _card("degree-net", "SCATTER", xaxis=_axis("sharing.degree", "PARAM"), yaxis=_axis(NET)),
            _card("cpu-net", "SCATTER", xaxis=_axis(CPU), yaxis=_axis(NET)),
        ],
    }
    return json.dumps({"name": TITLE, "createdAt": SINCE_MS, "updatedAt": SINCE_MS, "state": json.dumps(state)})


def links(server: str, experiment_id: str) -> tuple[str, str]:
    """Give the addresses of an experiment's table and of its charts in the UI of a server.

    The address itself has to ask for runs: MLflow 3.17 opens on its GenAI pages, whatever an experiment's tags say.
    """
    table = f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
    return table, f"{table}&compareRunsMode=CHART"


def _card(name: str, kind: str, **what: Any) -> dict[str, Any]:
    shown = {"runsCountToCompare": 100, "deleted": False, "isGenerated": False}
    return {"uuid": f"{VIEW}-{name}", "type": kind, "metricSectionId": VIEW, **shown, **what}


def _axis(key: str, kind: str = "METRIC") -> dict[str, str]:
    return {"key": key, "type": kind}
