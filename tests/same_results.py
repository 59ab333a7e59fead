"""Show that two checkouts compute the same: every small saved question in both, each result bit for bit.

    python tests/same_results.py PATH_OF_THE_OTHER_CHECKOUT [EXPERIMENT ...]

Notes are left out: sentences for people may be reworded. Run it before a change of structure lands; both checkouts run in
this interpreter's environment. Exit code 1 where a result differs, or where one checkout has points that the other has not.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]


def questions() -> list[str]:
    """List the saved questions that are small."""
    smoke = sorted((HERE / "conf" / "experiment").glob("*/smoke.yaml"))
    return ["first_light", *(f"{file.parent.name}/smoke" for file in smoke)]


def results(checkout: Path, experiment: str) -> dict[str, Any]:
    """Run a saved question in a checkout; give each point's result by what the point is."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["sweep.track=false", "hydra/launcher=serial", f"sweep.dir={folder}"]
        subprocess.run(
            [sys.executable, "-m", "thpsweep", "sweep", f"experiment={experiment}", *options],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (journal,) = Path(folder).glob("*/journal.jsonl")
        records = [json.loads(line) for line in journal.read_text().splitlines()]
    points = {record["id"]: _content(record["point"]) for record in records if record["type"] == "point"}
    ended = {points[record["id"]]: record["result"] for record in records if record["type"] == "result"}
    assert None not in ended.values(), f"{experiment} in {checkout}: a point has no result"
    return {point: _without_notes(result) for point, result in ended.items()}


def _without_notes(result: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in result["facts"].items() if not key.startswith("note_")}
    return {**result, "facts": facts}


def _content(point: dict[str, Any]) -> str:
    """Write down what a point is; the hash of a captured file, not its path, says which memory it starts from."""
    workload = {key: value for key, value in point["workload"].items() if key != "path"}
    mechanism = {key: value for key, value in point["policy"]["mechanism"].items() if (key, value) != ("order", 9)}
    policy = {**point["policy"], "mechanism": mechanism}  # a checkout without orders makes all folios of order 9
    return json.dumps({**point, "workload": workload, "policy": policy}, sort_keys=True)


def main(other: str, *chosen: str) -> int:
    """Compare; give the exit code."""
    differing = 0
    for experiment in chosen or questions():
        mine, theirs = results(HERE, experiment), results(Path(other).resolve(), experiment)
        unequal = [
            point for point in mine.keys() & theirs.keys() if json.dumps(mine[point]) != json.dumps(theirs[point])
        ]
        alone = len(mine.keys() ^ theirs.keys())
        differing += len(unequal) + alone
        print(f"{experiment}: {len(mine)} points, {len(unequal)} differ, {alone} in one checkout only", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
