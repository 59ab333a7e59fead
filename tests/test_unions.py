"""Unions of grids, keys where they exist, axes that are dropped, and what an experiment chooses of Hydra's own groups."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.place import SMALL, Place

HEAD = "# @package _global_\ndefaults:\n  - override /workload: prefork\n"
AXES = "hydra:\n  sweeper:\n    params:\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def ids(place: Place, *overrides: str) -> list[str]:
    """List the points of a plan by their ids, in its order."""
    shown = place.run("plan", "--all", *SMALL, *overrides)
    assert shown.returncode == 0, shown.stderr
    return re.findall(r"^ +\d+ .* ([0-9a-f]{12}) *$", shown.stdout, re.MULTILINE)


def experiment(place: Place, content: str) -> Sequence[str]:
    """Save a question; give the arguments that choose it."""
    file = place.work / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + content)
    return "--config-dir", "conf", "experiment=mine"


def test_a_union_has_the_points_of_each_grid_once(place: Place) -> None:
    union = "sweep.grids=[{sharing.degree:[1,2,4]},{sharing.degree:'range(4,9,4)',workload.worker_life_s:[0,600]}]"
    first = ids(place, "policy=copy,switch", "sharing.degree=1,2,4")
    second = ids(place, "policy=copy,switch", "sharing.degree=4,8", "workload.worker_life_s=0,600")
    every = list(dict.fromkeys([*first, *second]))
    assert len(every) < len(first) + len(second), "the grids have points in common"
    assert ids(place, "policy=copy,switch", union) == every


def test_a_union_in_a_file_and_all_its_points_have_all_params(place: Place) -> None:
    grids = "sweep:\n  grids:\n    - sharing.degree: 1,2\n    - {sharing.degree: 4, run.seed: [7, 8]}\n"
    chosen = experiment(place, grids)
    assert ids(place, *chosen) == [*ids(place, "sharing.degree=1,2"), *ids(place, "sharing.degree=4", "run.seed=7,8")]
    assert place.run("sweep", *SMALL, "hydra/launcher=serial", *chosen).returncode == 0
    (file,) = place.work.glob("sweeps/*/journal.jsonl")
    points = [record for record in map(json.loads, file.read_text().splitlines()) if record["type"] == "point"]
    found = [(point["params"]["sharing.degree"], point["params"]["run.seed"]) for point in points]
    assert found == [(1, 1), (2, 1), (4, 7), (4, 8)]


def test_zipped_keys_of_one_grid_of_a_union(place: Place) -> None:
    union = "sweep.grids=[{sharing.degree:[1,2],run.seed:[1,2]},{workload.worker_life_s:[0,600]}]"
    wanted = [*ids(place, "sharing.degree=1"), *ids(place, "sharing.degree=2", "run.seed=2")]
    wanted += ids(place, "workload.worker_life_s=0,600")
    assert ids(place, union, "sweep.zip=[sharing.degree,run.seed]") == wanted


@pytest.mark.parametrize("spelling", ["line", "option", "params"])
def test_a_key_where_it_exists(place: Place, spelling: str) -> None:
    triggers = "policy/trigger=madvise,khugepaged"
    wanted = ids(place, "policy/trigger=madvise")
    wanted += ids(place, "policy/trigger=khugepaged", "policy.trigger.pages_to_scan=512,1024")
    assert len(wanted) == 3
    if spelling == "line":
        assert ids(place, triggers, "policy.trigger.pages_to_scan?=512,1024") == wanted
    elif spelling == "option":
        assert ids(place, triggers, "sweep.if_exists=['policy.trigger.pages_to_scan=512,1024']") == wanted
    else:
        axes = "      policy/trigger: [madvise, khugepaged]\n      policy.trigger.pages_to_scan?: [512, 1024]\n"
        assert ids(place, *experiment(place, AXES + axes)) == wanted


def test_an_axis_of_an_experiment_is_dropped(place: Place) -> None:
    chosen = experiment(place, AXES + "      sharing.degree: [3, 5]\n      run.seed: 1,2\n      policy: copy\n")
    assert ids(place, *chosen) == ids(place, "policy=copy", "sharing.degree=3,5", "run.seed=1,2")
    assert ids(place, *chosen, "sweep.drop=[sharing.degree]") == ids(place, "policy=copy", "run.seed=1,2")
    refused = place.run("plan", *SMALL, *chosen, "sweep.drop=[sharing.degre]")
    wanted = "sweep.drop='sharing.degre': expected an axis of the experiment: sharing.degree, run.seed, policy"
    assert (refused.returncode, refused.stderr) == (2, f"thpsweep: {wanted}\n")


def test_lists_in_params_are_values(place: Place) -> None:
    axes = "      policy: [copy, inplace]\n      policy.trigger.at_s: [[60.0], [60.0, 120.0]]\n"
    wanted = ids(place, "policy=copy,inplace", "policy.trigger.at_s=[60.0],[60.0,120.0]")
    assert len(set(wanted)) == 4 and ids(place, *experiment(place, AXES + axes)) == wanted


def test_an_experiment_chooses_its_launcher(place: Place) -> None:
    many = ("sharing.degree=range(1,41)", "workload.regions=64", "run.duration_s=36000", "run.replicates=64")
    assert "Ray actors" in place.run("plan", *SMALL, *many).stdout, "auto would take them"
    chosen = experiment(place, "  - override /hydra/launcher: serial\n")
    assert "in one process" in place.run("plan", *SMALL, *many, *chosen).stdout
    assert "Ray actors" in place.run("plan", *SMALL, *many, *chosen, "hydra/launcher=ray").stdout, "the line wins"


def test_an_experiment_chooses_its_sweeper(place: Place) -> None:
    text = "  - override /hydra/sweeper: breakeven\n" + AXES.removesuffix("    params:\n")
    chosen = experiment(place, text + "    samples: 5\n    params:\n      sharing.degree: tag(log,interval(1,50))\n")
    shown = place.run("plan", *SMALL, *chosen)
    assert "a search: about" in shown.stdout, shown


@pytest.mark.parametrize("key", ["grids=[{run.seed:[1,2]}]", "if_exists=['run.seed=1,2']"])
def test_searches_take_no_unions(place: Place, key: str) -> None:
    search = ("hydra/sweeper=breakeven", "sharing.degree=interval(1,50)")
    refused = place.run("plan", *SMALL, *search, f"sweep.{key}")
    assert refused.returncode == 2 and f"sweep.{key.partition('=')[0]}=" in refused.stderr, refused
    assert len(refused.stderr.splitlines()) == 1 and "expected nothing for a search" in refused.stderr
