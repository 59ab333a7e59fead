"""Do runs have the tags, the note and the names that the config asks for?"""

import pytest

from tests.sweep.journals import a_point, a_result, write
from tests.sweep.recorded import at, runs
from thpsweep.config.recorded import labels_of
from thpsweep.errors import OptionError
from thpsweep.sweep.tracking.labels import Labels, check_names, labels
from thpsweep.sweep.tracking.messages import Order
from thpsweep.sweep.tracking.tracker import track

MINE = Labels(
    {"ticket": "MM-7", "year": "2026"}, "for the paper", "{policy} at {sharing.degree}, {workload.regions} regions"
)


def test_runs_have_the_users_tags_note_and_names(root):
    point = a_point(0)
    noted = a_result(point, {"cost/cpu_ms": 1.0}, facts={"note": "scaled"})
    track(write(root, [point, noted]), target=at(root), labels=MINE)
    parent, children = runs(root)
    run = children[point["id"]]
    assert run.info.run_name == "inplace at 195, 2 regions"
    assert run.data.tags["mlflow.note.content"] == "for the paper\n\nscaled"
    assert parent.data.tags["mlflow.note.content"].startswith("for the paper\n\n`thpsweep sweep")
    for each in (parent, run):
        assert (each.data.tags["ticket"], each.data.tags["year"]) == ("MM-7", "2026")


def test_they_come_from_the_config_of_a_recorded_sweep(root, monkeypatch):
    monkeypatch.setenv("TICKET", "MM-7")
    directory = write(root, [a_point(0)])
    assert labels_of(directory) == Labels()
    text = "sweep:\n  tags: {ticket: '${oc.env:TICKET}', year: 2026}\n  note: for the paper\n"
    (directory / "config.yaml").write_text(f"{text}  run_name: '{MINE.run_name}'\n")
    assert labels_of(directory) == MINE


def test_they_get_to_the_process_that_records(tmp_path):
    order = Order(tmp_path, at(tmp_path), MINE)
    assert Order.decode(order.encode()) == order


@pytest.mark.parametrize(
    ("tags", "note", "run_name", "key"),
    [
        ({"mlflow.runName": "x"}, None, None, r"sweep\.tags"),
        ({"thpsweep.point": "x"}, None, None, r"sweep\.tags"),
        ({"a\nb": "x"}, None, None, r"sweep\.tags"),
        ({"a": ["x"]}, None, None, r"sweep\.tags"),
        ({}, "x" * 10_000, None, r"sweep\.note"),
        ({}, None, "{policy", r"sweep\.run_name"),
        ({}, None, " ", r"sweep\.run_name"),
        ({}, None, "a\nb", r"sweep\.run_name"),
    ],
)
def test_what_mlflow_would_refuse_or_we_need_is_named(tags, note, run_name, key):
    with pytest.raises(OptionError, match=f"{key}.*: expected "):
        labels(tags, note, run_name)


def test_a_key_that_a_point_lacks_is_named_before_anything_runs():
    given = labels({}, None, "{policy} {gate.budget}")
    with pytest.raises(OptionError, match=r"sweep\.run_name=.*gate\.budget"):
        check_names(given, [a_point(0)])
    check_names(labels({}, None, "{policy} {run.seed}"), [a_point(0)])
