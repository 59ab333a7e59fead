"""Are the runs that MLflow's UI shows first spread over what was varied, and can it draw all of them?"""

import itertools
from collections import Counter

import pytest

from tests.sweep.journals import a_point, a_result, write
from tests.sweep.recorded import at, client_of, runs
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.first_page import MAX_TEXTS, PAGE, axes, spread, text_params
from thpsweep.sweep.tracking.tracker import track


def drawn(rows, keys):
    """Filter rows as MLflow's UI does before it draws them.

    Source: mlflow 3.17.2 mlflow/server/js, processParallelCoordinateData
    """
    rows = [row for row in rows if all(row.get(key) is not None for key in keys)]
    for key in keys:
        numbers = [row for row in rows if number(row[key])]
        if len(numbers) >= len(rows) / 2:
            rows = numbers
            continue
        seen, kept = set(), []
        for row in rows:
            if (len(seen) == 30 and row[key] in seen) or (len(seen) < 30 and not number(row[key])):
                seen.add(row[key])
                kept.append(row)
        rows = kept
    return rows


def number(text):
    """Tell whether JavaScript's isNaN(Number(text)) is false."""
    if text.strip() in ("", "Infinity", "-Infinity", "+Infinity"):
        return True
    try:
        return float(text) == float(text) and text.strip().lower().lstrip("+-") not in ("inf", "infinity")
    except ValueError:
        return False


@pytest.mark.parametrize("n_policies", [1, 3, 11, 40])
def test_the_first_page_has_each_policy_and_each_value_about_equally_often(n_policies):
    grid = itertools.product(range(n_policies), (1, 4, 16, 64, 256, 1024), ("a", "b"), (None, 0.5))
    rows = [
        {"policy": f"p{policy}", "degree": degree, "kind": kind, "limit": limit} for policy, degree, kind, limit in grid
    ]
    places = spread(rows, "policy")
    assert sorted(places) == list(range(len(rows)))
    page = [row for row, place in zip(rows, places, strict=True) if place < PAGE]
    for key, slack in (("policy", 1), ("degree", 3), ("kind", 3), ("limit", 3)):
        counts = Counter(row[key] for row in page)
        assert len(counts) == len({row[key] for row in rows})
        assert max(counts.values()) - min(counts.values()) <= slack, (key, counts)


def test_a_policy_with_one_point_is_on_the_first_page():
    rows = [{"policy": "copy", "degree": degree} for degree in range(1000)] + [{"policy": "none", "degree": 1}]
    assert spread(rows, "policy")[-1] < 2


VALUES = {
    "numbers": ["1", "2.5", "1e3"],
    "texts": ["a", "b", "true"],
    "mostly numbers and null": ["1", "2", "3", "null"],
    "mostly null": ["null", "null", "null", "1"],
    "missing": ["1", None, "2"],
    "infinite": ["1", "2", "Infinity", "-Infinity"],
    "not a number": ["1", "2", "NaN", "nan"],
    "empty": ["", "a", "b"],
    "many texts": [f"t{number}" for number in range(MAX_TEXTS + 1)],
    "many numbers and null": [*map(str, range(MAX_TEXTS + 1)), "null"],
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_point_is_drawn_whatever_its_params_hold(values):
    rows = [{"policy": "copy"} | ({"key": value} if value is not None else {}) for value in values]
    drawable = axes(rows, ["policy", "key"])
    recorded = [row | text_params(row, drawable) for row in rows]
    assert len(drawn(recorded, list(drawable.values()))) == len(rows)
    assert ("key" in drawable) == (len(set(values)) <= MAX_TEXTS)


def test_the_param_itself_would_lose_points():
    rows = [{"key": value} for value in VALUES["mostly numbers and null"]]
    assert len(drawn(rows, ["key"])) == 3


def test_a_null_is_recorded_as_null_and_as_a_text_to_draw(root):
    points = [a_point(index, degree=2, limit=limit) for index, limit in enumerate([None, 64, 511])]
    track(write(root, [*points, *(a_result(point, {"cost/cpu_ms": 1.0}) for point in points)]), target=at(root))
    found = [runs(root)[1][point["id"]].data.params for point in points]
    assert [params["limit"] for params in found] == ["null", "64", "511"]
    assert [params["limit as text"] for params in found] == ["null", "= 64", "= 511"]
    experiment = client_of(root).get_experiment_by_name("seed_debate")
    assert "limit as text" in experiment.tags[f"mlflow.sharedViewState.{views.CHARTS}"]


@pytest.mark.parametrize("how", ["a search", "a second sweep"])
def test_a_null_that_comes_late_lets_no_earlier_point_vanish(root, how):
    points = [a_point(index, degree=2, limit=limit) for index, limit in enumerate([64, 511, 300, None, 200])]
    records = [record for point in points for record in (point, a_result(point, {"cost/cpu_ms": 1.0}))]
    if how == "a search":
        for n in (2, 6, len(records)):
            track(write(root, records[:n], search={"kind": "pareto"}), target=at(root), final=n == len(records))
    else:
        track(write(root, records[:6]), target=at(root))
        track(write(root, records[6:], sweep_id="6" * 64), target=at(root))
    found = [run.data.params for run in client_of(root).search_runs(experiment_ids(root), views.POINTS_ONLY)]
    assert len(drawn(found, ["limit"])) < len(points)
    assert len(drawn(found, ["limit as text", "sharing.degree"])) == len(points)


def experiment_ids(root):
    """Give the experiment of the sweeps that tests write."""
    return [client_of(root).get_experiment_by_name("seed_debate").experiment_id]


def test_views_of_many_points_say_so_and_there_is_one_for_each_policy(root):
    policies = ("copy", "inplace", "switch")
    points = [a_point(index, policies[index % 3], 1 + index // 3) for index in range(120)]
    track(write(root, points), target=at(root))
    tags = client_of(root).get_experiment_by_name("seed_debate").tags
    assert "100 of 120 points drawn" in tags[f"mlflow.sharedViewState.{views.CHARTS}"]
    assert all(f"mlflow.sharedViewState.{views.key_of(policy)}" in tags for policy in policies)
    assert max(map(len, tags.values())) <= views.MAX_TAG


def test_a_second_sweep_of_the_experiment_is_counted_in_its_views(root):
    track(write(root, [a_point(index, degree=index + 1) for index in range(80)]), target=at(root))
    more = [a_point(index + 80, degree=index + 1) for index in range(40)]
    track(write(root, more, sweep_id="6" * 64), target=at(root))
    tags = client_of(root).get_experiment_by_name("seed_debate").tags
    assert "100 of 120 points drawn" in tags[f"mlflow.sharedViewState.{views.CHARTS}"]
