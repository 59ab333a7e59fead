"""A metric of a user's own is one like those that ship: in results, journal, MLflow, table, report, and as an objective."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.conftest import Load
from tests.model.points import point
from thpsweep.errors import OptionError
from thpsweep.model import registry
from thpsweep.model.metrics.base import in_order
from thpsweep.model.simulate import simulate
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.point import point_id

PER_SHARER = '''
import dataclasses
from thpsweep.model.metrics.base import Metric

@dataclasses.dataclass
class PerSharer(Metric):
    """Divide pte updates by sharers."""

    factor: float = 1.0

    def compute(self, pair, known):
        per_sharer = self.factor * known["cost/pte_updates"][0] / pair.n_sharers
        return {"cost/per_sharer": (per_sharer, "ptes")}
'''
PRICED = '''
import dataclasses
from thpsweep.model.metrics.base import Metric

@dataclasses.dataclass
class Priced(Metric):
    """Price the pages that were copied, and read the state at the end."""

    def compute(self, pair, known):
        run = pair.policy
        return {
            "cost/copying_ms": (run.counts.total["pages_copied"] * pair.machine.copy_page_ns / 1e6, "ms"),
            "benefit/folios": (run.family.gauge["folios"], "folios"),
        }
'''


def with_metrics(**specs: dict[str, Any]) -> dict[str, Any]:
    made = {name: registry.spec(registry.build("metric", {"kind": name, **spec})) for name, spec in specs.items()}
    return {**point("inplace", 4), "metrics": made}


def test_it_is_what_its_function_says(load: Load) -> None:
    """`inplace` sets and restores 512 ptes a sharer and region: 4 regions, whatever the number of sharers."""
    load("per_sharer", PER_SHARER)
    one = with_metrics(per_sharer={"factor": 2.0})
    one["workload"] |= {"worker_hot_writes_per_page_hour": 0.0, "root_hot_writes_per_page_hour": 0.0}
    result = simulate(one)
    assert result["replicates"]["cost/per_sharer"] == [2 * 2 * 512 * 4] * 2
    assert result["units"]["cost/per_sharer"] == "ptes" and result["own"] == ["cost/per_sharer"]


def test_counts_states_and_prices_are_there(load: Load) -> None:
    load("priced", PRICED)
    one = with_metrics(priced={})
    one["machine"]["copy_page_ns"] = 1e6
    result = simulate(one)
    assert result["replicates"]["benefit/folios"] == [4, 4] and result["replicates"]["cost/copying_ms"][0] == 4 * 512


def test_other_metrics_are_as_without_it(load: Load) -> None:
    load("per_sharer", PER_SHARER)
    alone, beside = simulate(point("inplace", 4)), simulate(with_metrics(per_sharer={}))
    assert "own" not in alone
    assert repr({name: beside["metrics"][name] for name in alone["metrics"]}) == repr(alone["metrics"])


def test_options_and_text_are_part_of_the_point(load: Load) -> None:
    load("per_sharer", PER_SHARER)
    ids = {
        point_id(one) for one in (point("inplace", 4), *(with_metrics(per_sharer={"factor": f}) for f in (1.0, 2.0)))
    }
    assert len(ids) == 3


def test_one_may_read_another_whatever_their_names(load: Load) -> None:
    load("per_sharer", PER_SHARER)
    text = PER_SHARER.replace("cost/per_sharer", "cost/a_half").replace("cost/pte_updates", "cost/per_sharer")
    load("a_half", text.replace("    factor", "    after = ('per_sharer',)\n    factor").replace("1.0", "0.5"))
    values = simulate(with_metrics(a_half={}, per_sharer={}))["replicates"]
    assert values["cost/a_half"] == [value / 8 for value in values["cost/per_sharer"]]
    with pytest.raises(OptionError, match=r"metrics.a_half.after='per_sharer': expected one of"):
        simulate(with_metrics(a_half={}))


def test_metrics_that_read_each_other_are_refused() -> None:
    one, other = (type(name, (), {"after": (after,)})() for name, after in (("A", "b"), ("B", "a")))
    with pytest.raises(OptionError, match="do not read each other"):
        in_order({"a": one, "b": other})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"cost/per_sharer": (1.0, "ptes")}', r"shape \(\); expected a number for each of 2 replicates"),
        ('{"per sharer": (per_sharer, "ptes")}', "expected a name like cost/my_number"),
        ('{"cost/cpu_ms": (per_sharer, "ms")}', "expected a name that no other metric has"),
        ('{"cost/per_sharer": per_sharer}', r"expected \(value of each replicate, 'unit'\)"),
        ("per_sharer", r"expected \{'cost/NAME'"),
        ('{"cost/per_sharer": (per_sharer > 0, "ptes")}', "as bool"),
    ],
)
def test_what_is_no_metric_is_refused_in_words(load: Load, given: str, said: str) -> None:
    load("per_sharer", PER_SHARER.replace('{"cost/per_sharer": (per_sharer, "ptes")}', given))
    with pytest.raises(ValueError, match=said):
        simulate(with_metrics(per_sharer={}))


def test_mlflow_gets_it_before_any_other(load: Load) -> None:
    load("per_sharer", PER_SHARER)
    result = {"result": simulate(with_metrics(per_sharer={}))}
    assert next(iter(run_record.metrics(result))) == "cost/per_sharer"  # type: ignore[arg-type]
    assert len(run_record.metrics(result)) <= run_record.MAX_METRICS  # type: ignore[arg-type]


def test_those_that_ship_are_found_as_files_are(load: Load) -> None:
    """No metric comes into a result but by the interface that a user's own has."""
    for name, cls in registry.shipped("metric").items():
        assert cls.__module__ == f"thpsweep.model.metrics.{name}" and cls().after is not None
    assert {"cost", "benefit", "tradeoff", "contention"} <= set(registry.shipped("metric"))


def test_a_sweep_shows_it_everywhere(tmp_path: Path) -> None:
    (tmp_path / "per_sharer.py").write_text(PER_SHARER)
    said = thpsweep(tmp_path, "sweep", "--plugin", "per_sharer.py", "metrics.per_sharer.factor=1,3", *SMALL[:-1])
    (directory,) = (tmp_path / "sweeps").glob("*-*")
    assert "per sharer" in said and "per sharer" in (directory / "table.txt").read_text()
    assert "cost/per_sharer" in (directory / "table.csv").read_text().splitlines()[0]
    results = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    means = [one["result"]["metrics"]["cost/per_sharer"]["mean"] for one in results if one["type"] == "result"]
    assert len(means) == 2 and max(means) == 3 * min(means) > 0
    with contextlib.closing(sqlite3.connect(tmp_path / "sweeps" / "mlflow.db")) as store:
        views = [
            view for (view,) in store.execute("select value from experiment_tags where key like '%SharedViewState%'")
        ]
    assert views and all("metrics.`cost/per_sharer`" in view for view in views)
    thpsweep(tmp_path, "report", str(directory))
    page = (directory / "report.html").read_text()
    assert "Metrics of your own" in page and "cost/per_sharer (ptes)" in page
    assert "thpsweep sweep --plugin=per_sharer.py metrics.per_sharer.factor=1,3" in page


def test_it_can_be_the_objective_of_a_search(tmp_path: Path) -> None:
    (tmp_path / "per_sharer.py").write_text(PER_SHARER)
    search = [
        "hydra/sweeper=pareto",
        "hydra.sweeper.minimize=[cost/per_sharer]",
        "hydra.sweeper.maximize=[]",
        "hydra.sweeper.trials=2",
    ]
    said = thpsweep(tmp_path, "sweep", "--plugin", "per_sharer.py", *SMALL, "sharing.degree=2,4", *search)
    assert "cost/per_sharer" in said


SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=120", "policy=switch"]
SMALL += ["hydra/launcher=serial", "sweep.track=false"]


def thpsweep(where: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "thpsweep", *arguments], cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
