"""The Python API as a notebook uses it."""

import dataclasses
import doctest
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import thpsweep
from thpsweep import api
from thpsweep.errors import SweepError, ThpsweepError
from thpsweep.model import registry
from thpsweep.model.bits import Ints
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.model.mechanisms.visit import Visit
from thpsweep.model.simulate import simulate
from thpsweep.sweep.records.journal import FORMAT, read, sealed

SCENE = ("workload=prefork", "workload.regions=1", "workload.hot_regions=0", "run.replicates=2", "run.duration_s=120")


def recorded(directory: Path) -> Path:
    """Write the journal of a small sweep, results and all."""
    points, results = [], []
    for degree in (2, 195):
        for policy in ("inplace", "switch"):
            point = api.composed((*SCENE, f"sharing.degree={degree}", f"policy={policy}"))
            key = f"{len(points):064x}"
            params = {"policy": policy, "workload": "prefork", "sharing.degree": degree}
            points.append({"type": "point", "id": key, "index": len(points), "params": params, "point": point})
            ended = {
                "state": "done",
                "error": None,
                "host": "h",
                "wall_s": 0.1,
                "attempts": 1,
                "finished": "2026-01-01T00:00:00",
            }
            results.append({"type": "result", "id": key, **ended, "result": simulate(point)})
    header = {"type": "sweep", "format": FORMAT, "sweep": "a" * 64, "name": "example", "thpsweep": "0", "model": "0"}
    header |= {"created": "2026-01-01T00:00:00+00:00", "overrides": [], "n_points": len(points)}
    (directory / "journal.jsonl").write_bytes(b"".join(map(sealed, [header, *points, *results])))
    (directory / "config.yaml").write_text("sweep:\n  question: Does it?\n")
    return directory


@pytest.fixture(scope="module")
def example_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("example"))


@pytest.mark.parametrize("name", ["compare", "load", "simulate"])
def test_the_examples_in_the_docstrings_hold(name: str, example_sweep: Path) -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(
        getattr(thpsweep, name), name, globs={"example_sweep": example_sweep}
    )
    assert test.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


def test_rows_of_replicates_add_up_to_those_of_points(example_sweep: Path) -> None:
    points, replicates = thpsweep.load(example_sweep), thpsweep.load(example_sweep, replicates=True)
    assert len(replicates) == 2 * len(points) and sorted(set(replicates["replicate"])) == [0, 1]
    means = replicates.groupby("id", sort=False)["cost/cpu_ms"].mean()
    assert means.tolist() == pytest.approx(points["cost/cpu_ms"].tolist())


def test_every_metric_has_a_unit(example_sweep: Path) -> None:
    table = thpsweep.load(example_sweep)
    metrics = [name for name in table.columns if name.split("/")[0] in ("cost", "benefit", "tradeoff")]
    named = [name for name in metrics if not name.endswith(("_low", "_high"))]
    assert named and set(named) <= set(table.attrs["units"])
    assert table.attrs["question"] == "Does it?"


def test_paired_differences_are_one_pivot_away(example_sweep: Path) -> None:
    table = thpsweep.load(example_sweep, replicates=True)
    wide = table.pivot(index=["sharing.degree", "replicate"], columns="policy", values="cost/pte_updates")
    assert (wide["inplace"] == 2 * wide["switch"]).all() and isinstance(wide, pd.DataFrame)


def test_a_point_of_the_journal_gives_what_the_journal_has(example_sweep: Path) -> None:
    sweep = read(example_sweep)
    key = next(iter(sweep.points))
    found, expected = thpsweep.simulate(sweep.points[key]["point"]), sweep.results[key]["result"]
    assert found["metrics"].keys() == expected["metrics"].keys()
    for name, metric in expected["metrics"].items():
        assert found["metrics"][name]["mean"] == metric["mean"] or math.isnan(metric["mean"]), name


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sharing.degree=0"], "sharing.degree"),
        (["sharing.degre=4"], "sharing.degre"),
        ([{}, "policy=copy"], "one point as a dict"),
    ],
)
def test_bad_input_is_one_clear_error(overrides: list[str], said: str) -> None:
    with pytest.raises(ThpsweepError, match=said):
        thpsweep.simulate("workload=prefork", *overrides)


def test_no_sweep_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="no such journal"):
        thpsweep.load(tmp_path)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = thpsweep.nothing_like_it


def test_a_hydra_that_the_notebook_has_initialized_stays(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("a: 1\n")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        before = api.composed(tuple(SCENE))
        assert compose("own").a == 1
    assert before["workload"]["kind"] == "prefork" and not GlobalHydra.instance().is_initialized()


def test_a_class_of_a_notebook_is_simulated_and_compared_as_one_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ADDED", {group: {} for group in registry.GROUPS})  # other tests know no such class

    @dataclasses.dataclass
    class EverySecond(Inplace):
        """Collapse regions with an odd number."""

        outcomes: ClassVar[Mapping[str, str]] = {"EVEN": "an even number"}
        part: int = 2

        def attempt(self, visit: Visit) -> Ints:
            odd = visit.regions % self.part == 1
            results = np.full(visit.rows.size, self.outcome("EVEN"))
            results[odd] = super().attempt(visit.where(odd))
            return results

    scene = (
        "workload=prefork",
        "workload.regions=4",
        "workload.hot_regions=0",
        "run.replicates=2",
        "run.duration_s=120",
    )
    run = thpsweep.simulate(*scene, EverySecond(), "sharing.degree=3")
    assert run["metrics"]["cost/collapses"]["mean"] == 2 and run["outcomes"]["EVEN"] > 0
    table = thpsweep.compare(["inplace", EverySecond(), EverySecond(part=4)], *scene, metrics=["cost/collapses"])
    assert table["cost/collapses"].tolist() == [4, 2, 1]
    assert table["cost/collapses_more_low"].tolist() == [0, -2, -3]


def test_what_is_no_option_and_no_metric_is_one_clear_error() -> None:
    @dataclasses.dataclass
    class Stranger:
        n: int = 1

    with pytest.raises(ThpsweepError, match="Stranger: expected a dataclass that derives from one of"):
        thpsweep.simulate("workload=prefork", Stranger())
    with pytest.raises(ThpsweepError, match=r"no metric 'cost/x'; expected one of .*cost/cpu_ms"):
        thpsweep.compare(["none"], *SCENE, metrics=["cost/x"])
