"""Points for tests, made from the files in conf/ with a few values changed."""

from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).resolve().parents[2] / "conf"


def option(group: str, name: str, base: str | None = None) -> dict[str, Any]:
    """Read one option of a group as a point has it."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    (kind,) = [entry.removeprefix("base_") for entry in content.pop("defaults") if str(entry).startswith("base_")]
    return {"kind": base or kind, **content}


def point(
    mechanism: str = "inplace",
    degree: int = 4,
    *,
    workload: str = "prefork",
    trigger: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Make a point of a small family on a machine that swaps; further keywords change the workload."""
    madvise = {"kind": "madvise", "at_s": [60.0], "callers": "all"}
    return {
        "workload": {
            **option("workload", workload),
            **({"regions": 4} if workload == "prefork" else {}),
            "reclaim": "classic",
            **changed,
        },
        "sharing": {"kind": "fixed", "degree": degree},
        "policy": {
            "name": mechanism,
            "mechanism": {"kind": mechanism, **(options or {})},
            "trigger": trigger or madvise,
        },
        "machine": option("machine", "milan_vm"),
        "run": {"seed": 7, "replicates": 2, "duration_s": 600.0, "tick_s": 60.0, **(run or {})},
    }


def totals(result: dict[str, Any]) -> dict[str, float]:
    """Give the mean of each metric."""
    return {name: value["mean"] for name, value in result["metrics"].items()}
