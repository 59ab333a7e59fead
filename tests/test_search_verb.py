"""Searches as a user meets them on the command line: run, shown, recorded, refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.place import SMALL, Place

SERIAL = "hydra/launcher=serial"
BREAKEVEN = ["hydra/sweeper=breakeven", SERIAL, *SMALL]
DEGREES = "sharing.degree=tag(log,interval(2,200))"
SCENE = ["workload.page_walk_share=1e-4", "workload.hot_regions=0", "run.replicates=8"]
"""Few page walks to save: beyond some tens of sharers a collapse loses; a root alone does not run, and saves none."""

EXPERIMENT = """# @package _global_
hydra:
  sweeper:
    search: breakeven
    options: {samples: 5, resolution: 0.2}
    params:
      sharing.degree: tag(log,interval(1,50))
      policy: copy,switch
"""


def without_time(shown: str) -> str:
    """Leave out how long the command took, which its last line says."""
    rest, took, _ = shown.rpartition("Took ")
    assert took
    return rest


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def answer(place: Place, name: str) -> Any:
    (file,) = place.work.glob(f"sweeps/*/{name}")
    return json.loads(file.read_text())


def alone(place: Place, *overrides: str) -> Any:
    """Run one point by itself; give its result."""
    before = set(place.work.glob("sweeps/*/journal.jsonl"))
    assert place.run("run", *SMALL, *overrides).returncode == 0
    (file,) = set(place.work.glob("sweeps/*/journal.jsonl")) - before
    (result,) = (r["result"] for r in map(json.loads, file.read_text().splitlines()) if r["type"] == "result")
    return result


@pytest.mark.slow
def test_break_even_of_the_model_is_found_shown_and_found_again(place: Place) -> None:
    search = [*BREAKEVEN, *SCENE, DEGREES, "policy=inplace,inplace_pmd", "hydra.sweeper.resolution=0.01"]
    shown = place.run("plan", *search)
    assert shown.returncode == 0 and "a search: about" in shown.stdout and not list(place.work.iterdir())
    first = place.run("sweep", *search)
    assert first.returncode == 0 and "above to below" in first.stdout, first
    inplace, inplace_pmd = answer(place, "breakeven.json")["answers"]
    (change,) = inplace_pmd["changes"]
    assert (inplace["state"], inplace_pmd["state"]) == ("never", "found")
    assert change["above"] - change["below"] <= max(0.01 * change["below"], 1)
    for degree, sign in ((change["below"], 1), (change["above"], -1)):
        net = alone(place, *SCENE, "policy=inplace_pmd", f"sharing.degree={degree}")["metrics"]["tradeoff/net_cpu_ms"]
        assert min(sign * net[end] for end in ("mean", "low", "high")) > 0
    again = place.run("sweep", *search)
    assert without_time(again.stdout) == without_time(first.stdout) and "already done" in again.stderr
    assert "is over" in place.run("plan", *search).stdout


@pytest.mark.slow
def test_saved_experiment_chooses_a_search(place: Place) -> None:
    question = place.work / "conf" / "experiment" / "mine.yaml"
    question.parent.mkdir(parents=True)
    question.write_text(EXPERIMENT)
    ended = place.run("sweep", *SMALL, SERIAL, "--config-dir", "conf", "experiment=mine")
    assert ended.returncode == 0, ended
    found = answer(place, "breakeven.json")
    assert (found["samples"], [one["params"]["policy"] for one in found["answers"]]) == (5, ["copy", "switch"])
    for wrong, wanted in (("hydra.sweeper.search=foo", "null, breakeven or pareto"), ("options.samples=x", "type int")):
        key = wrong if wrong.startswith("hydra") else f"hydra.sweeper.{wrong}"
        refused = place.run("plan", *SMALL, "--config-dir", "conf", "experiment=mine", key)
        assert refused.returncode == 2 and wanted in refused.stderr and len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_front_of_the_model_is_found_and_more_trials_go_on(place: Place) -> None:
    search = ["hydra/sweeper=pareto", SERIAL, *SMALL, "policy=copy,inplace,switch", "sharing.degree=8"]
    search += ["policy.trigger.at_s=[60.0],[120.0]", "hydra.sweeper.population=4"]
    assert place.run("sweep", *search, "hydra.sweeper.trials=6").returncode == 0
    few = answer(place, "pareto.json")
    ended = place.run("sweep", *search, "hydra.sweeper.trials=20")
    assert ended.returncode == 0 and "are beaten by no other" in ended.stdout
    assert answer(place, "pareto.json")["n_points"] >= few["n_points"]
    lost = {one["params"]["policy"]: one["objectives"]["cost/sharing_lost_bytes"]["mean"] for one in few["front"]}
    assert all(bytes_lost == 0 for policy, bytes_lost in lost.items() if policy != "copy")


def test_front_shows_the_groups_that_were_searched_where_one_option_beats_all_others(place: Place) -> None:
    search = ["hydra/sweeper=pareto", SERIAL, *SMALL, "hydra.sweeper.trials=8", "sharing.degree=8"]
    goals = ["hydra.sweeper.minimize=[cost/cpu_ms]", "hydra.sweeper.maximize=[]"]
    ended = place.run("sweep", *search, *goals, "policy=none,copy", "policy/gate=always,budget")
    assert ended.returncode == 0, ended
    assert {one["params"]["policy"] for one in answer(place, "pareto.json")["front"]} == {"none"}
    (file,) = place.work.glob("sweeps/*/pareto.txt")
    words = file.read_text().split()
    assert words.count("policy") == words.count("gate") == words.count("none") == 1, words


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([DEGREES, "hydra.sweeper.metric=cost/beer"], ["cost/beer", "tradeoff/net_cpu_ms"]),
        (["policy=interval(1,2)"], ["policy='interval(1,2)'", "a number"]),
        (["sharing.degree=interval(5,5)"], ["interval(5,5)", "LOW below HIGH"]),
        ([DEGREES, "sweep.where=sharing.degree < 3"], ["sweep.where", "null"]),
        ([DEGREES, "hydra/launcher=basic"], ["auto, serial and ray"]),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_runs(
    place: Place, arguments: list[str], wanted: list[str]
) -> None:
    ended = place.run("sweep", *BREAKEVEN, *arguments)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1), ended
    assert [word for word in wanted if word not in ended.stderr] == []
    assert list(place.work.iterdir()) == []
