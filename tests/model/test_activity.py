"""Is a measured activity filed, trusted as little as the rest of the file, and taken by the workload unless overridden?"""

import dataclasses
import json

import numpy as np
import pytest

from tests.model.layouts import layout_of
from tests.model.points import option
from thpsweep.errors import CaptureError, OptionError
from thpsweep.model import registry
from thpsweep.model.capture.activity import MEASURED, Activity, Rate
from thpsweep.model.capture.layout import Layout

WRITES, READS = "worker_cold_writes_per_page_hour", "reads_per_page_hour"


@pytest.fixture
def activity():
    return Activity(
        10.0, {WRITES: Rate(3.5, 3.0, None, "copied pages"), "pages_per_request": Rate(8, 8, 8, "")}, ("x",)
    )


@pytest.fixture
def watched(tmp_path, activity):
    path = tmp_path / "watched.npz"
    dataclasses.replace(two_processes(), activity=activity).save(path)
    return path


def two_processes():
    return layout_of([{(0, 1): (0, "a"), (0, 2): (0, "b")}, {(0, 1): (0, "a"), (0, 2): (0, "c")}])


def workload(path, **changed):
    return registry.build("workload", {**option("workload", "captured"), "path": str(path), **changed})


def test_it_is_filed_and_read(watched, activity):
    assert Layout.load(watched).activity == activity


def test_a_file_without_is_of_the_version_that_others_read(tmp_path):
    two_processes().save(tmp_path / "plain.npz")
    assert int(np.load(tmp_path / "plain.npz")["format"]) == 1
    assert Layout.load(tmp_path / "plain.npz").activity is None


def test_a_captured_rate_is_the_workload_s_own(watched):
    made = workload(watched)
    assert (getattr(made, WRITES), made.pages_per_request) == (3.5, 8)
    assert WRITES in made.describe(2)["note_rates"]


def test_what_the_file_has_not_is_assumed(watched):
    assert getattr(workload(watched), READS) == option("workload", "captured")[READS]["captured_or"]


def test_a_file_without_rates_leaves_all_assumptions(tmp_path):
    two_processes().save(tmp_path / "plain.npz")
    made, assumed = workload(tmp_path / "plain.npz"), option("workload", "captured")
    assert all(getattr(made, name) == assumed[name]["captured_or"] for name in MEASURED)
    assert "note_rates" not in made.describe(2)


def test_an_explicit_rate_overrides(watched):
    made = workload(watched, **{WRITES: 7})
    assert getattr(made, WRITES) == 7.0 and isinstance(getattr(made, WRITES), float)
    assert WRITES not in made.describe(2)["note_rates"]


def test_once_made_it_has_numbers_only(watched):
    spec = registry.spec(workload(watched))
    assert all(isinstance(spec[name], int | float) for name in MEASURED)
    assert registry.spec(registry.build("workload", spec)) == spec


@pytest.mark.parametrize("value", [{"captured": 1.0}, {}, {"captured_or": "many"}, "many", True, {"captured_or": -1.0}])
def test_anything_else_is_refused_by_name(watched, value):
    with pytest.raises(OptionError, match=f"workload.{READS}="):
        workload(watched, **{READS: value})


@pytest.mark.parametrize(
    "changed",
    [
        {"watched_s": 0}, {"watched_s": "ten"}, {"unseen": [1]}, {"rates": []}, {"rates": {"path": {}}},
        {"rates": {READS: {"value": -1, "low": 0, "high": 0, "how": ""}}},
        {"rates": {READS: {"value": 1, "low": 0, "high": 0, "how": 3}}},
        {"rates": {READS: {"value": 1, "low": 0, "high": 0, "how": "", "more": 1}}},
        {"rates": {"hot_regions": {"value": 2, "low": 0, "high": 0, "how": ""}}},
        {"rates": {"pages_per_request": {"value": 1.5, "low": 0, "high": 0, "how": ""}}},
    ],
)  # fmt: skip
def test_nothing_else_is_trusted(activity, changed):
    text = json.dumps({**json.loads(activity.to_bytes()), **changed}).encode()
    with pytest.raises(CaptureError, match="activity"):
        Activity.from_bytes(text)


@pytest.mark.parametrize("text", [b"{", b"[]", b"null", b"[" * 50_000, b" " * 70_000, b'{"rates": {"a": NaN}}'])
def test_bytes_that_are_no_activity(text):
    with pytest.raises(CaptureError, match="activity"):
        Activity.from_bytes(text)
