"""Does a run say what a person asks for first, and stay within what MLflow can show?"""

import math

from tests.sweep.journals import a_point, a_result, with_series
from thpsweep.sweep.records import run_record, run_series


def test_a_run_stays_within_what_the_ui_can_show():
    point = a_point(0, **{f"workload.option_{index}": index for index in range(40)})
    many = {f"cost/other_{index}": float(index) for index in range(50)}
    chosen = run_record.metrics(a_result(point, many | dict.fromkeys(run_record.FIRST, 1.0)))
    assert len(chosen) == 30
    assert set(run_record.FIRST) <= set(chosen)
    longer = with_series(a_result(point, many | dict.fromkeys(run_record.FIRST, 1.0)), [60.0, 120.0])
    chosen = run_record.metrics(longer)
    assert len(chosen) + len({step.name for step in run_series.values(longer, 0, 1)}) == 30
    assert set(run_record.FIRST) <= set(chosen)
    assert len(run_record.params(point)) == 20
    assert {"policy", "workload", "sharing.degree"} <= set(run_record.params(point))


def test_the_same_metrics_are_chosen_whether_or_not_one_is_infinite():
    many = {f"cost/other_{index}": float(index) for index in range(50)}
    finite = run_record.metrics(a_result(a_point(0), {**many, "tradeoff/payback_s": 1.0}))
    infinite = run_record.metrics(a_result(a_point(0), {**many, "tradeoff/payback_s": math.inf}))
    assert set(finite) - set(infinite) == {"tradeoff/payback_s"}
    assert set(infinite) < set(finite)


def test_names_sort_by_degree():
    names = [run_record.run_name(a_point(0, degree=degree)) for degree in (1, 4, 16, 195, 1024)]
    assert sorted(names) == names


def test_a_gate_and_a_memory_are_named_where_they_are_not_the_usual_ones():
    usual, other = a_point(0), a_point(1)
    other["point"]["policy"]["gate"] = {"kind": "budget"}
    other["point"]["memory"] = {"kind": "fragmented"}
    assert {"gate", "memory"}.isdisjoint(run_record.params(usual))
    assert (run_record.params(other)["gate"], run_record.params(other)["memory"]) == ("budget", "fragmented")


def test_names_and_values_that_mlflow_refuses_are_cut_and_replaced():
    params = run_record.params(a_point(0, **{"workload.x@y": "long" * 5000}))
    assert len(params["workload.x_y"]) == run_record.MAX_TEXT
