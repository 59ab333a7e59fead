"""Does `thpsweep status` tell a running sweep from a dead one, and say what became of its points?"""

import os
import time

import pytest

from tests.servers import silent
from tests.sweep.journals import a_failure, a_point, a_result, header, of_other_code, write
from tests.sweep.recorded import at
from thpsweep import cli
from thpsweep.errors import SweepError
from thpsweep.sweep.records import crash_log, status, writer
from thpsweep.sweep.records.crash_log import CrashLog
from thpsweep.sweep.tracking.lag import Questions
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track


def said(directory):
    return list(status.status(directory).lines(time.time()))


def lag(target, directory):
    return Questions().describe(target, directory)


def a_sweep(root):
    """Write the journal of a sweep of one point that has ended."""
    return write(root, [a_point(0), a_result(a_point(0), {})])


def test_states_are_counted_and_failures_named_with_their_reason(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(5)]
    timeout = {**a_failure(points[2]), "state": "timeout"}
    directory = write(tmp_path, [*points, a_result(points[0], {}), a_failure(points[1]), timeout])
    first, _, *rest = said(directory)
    assert first == f"{directory}: 1 of 5 points done, 2 failed (1 timeout)"
    assert rest[0].endswith("sharing.degree=2: ValueError: no room") and len(rest) == 2


def test_a_point_that_succeeded_at_last_is_no_failure(tmp_path):
    point = a_point(0)
    lines = said(write(tmp_path, [point, a_failure(point, 1), a_result(point, {}, 2)]))
    assert "1 of 1 points done, 0 failed" in lines[0] and len(lines) == 2


def test_of_many_failures_the_first_few_are_listed(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(9)]
    lines = said(write(tmp_path, [*points, *map(a_failure, points)]))
    assert len(lines) == 2 + status.MOST_FAILURES + 1 and lines[-1] == "  and 4 more"


def test_results_of_other_code_are_told(tmp_path):
    directory = write(tmp_path, [a_point(0)])
    assert not any("other code" in line for line in said(directory))
    of_other_code(directory)
    (line,) = (line for line in said(directory) if "other code" in line)
    assert line.startswith("  of other code than this: ")


def test_a_driver_that_ended_without_a_word_leaves_a_trace(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(2)]
    directory = write(tmp_path, points)
    log = CrashLog(directory / crash_log.FILE_NAME)
    within = log.at(points[1]["id"])
    within.__enter__()  # and does not come back, as one that is killed
    *_, line = said(directory)
    assert line.startswith("  the last driver ended within ") and "sharing.degree=2, killed or by the point" in line
    within.__exit__(None, None, None)
    assert len(said(directory)) == 2


def test_a_running_sweep_has_a_pace_and_a_dead_one_none(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(30)]
    directory = tmp_path / "t"
    now_s = time.time()
    with writer.writing(directory, header("t", "5" * 64, 30), points) as (log, _):
        os.utime(directory / writer.LOCK_NAME, (now_s - 100, now_s - 100))
        for number, point in enumerate(points[:20]):
            finished = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now_s - 19 + number))
            log.append({**a_result(point, {}), "finished": finished})
        running = said(directory)
    dead = said(directory)
    assert f"process {os.getpid()}" in running[0] and "1 a second" in running[1] and "s left" in running[1]
    assert "running" not in dead[0].rpartition(":")[2] and "a second" not in dead[1] and "last result" in dead[1]


def test_results_of_an_earlier_start_do_not_slow_the_pace(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(30)]
    directory = tmp_path / "running"
    with writer.writing(directory, header("t", "5" * 64, 30), points) as (log, _):
        log.append(*(a_result(point, {}, number) for number, point in enumerate(points[:20])))
        assert status.status(directory).pace.ended == 0


def test_the_lag_counts_what_mlflow_lacks(root):
    points = [a_point(index, degree=index + 1) for index in range(3)]
    results = [a_result(point, {"cost/cpu_ms": 1.0}) for point in points]

    directory = write(root, [*points, *results[:2]])
    assert lag(at(root), directory) == "MLflow is 2 runs behind"
    track(directory, target=at(root))
    assert lag(at(root), directory) == "MLflow is in step"
    assert lag(
        at(root), write(root, [*points, results[0], {**results[1], "finished": "2027-01-01T00:00:00+00:00"}])
    ) == ("MLflow is 1 run behind")


def test_a_sweep_that_was_not_to_be_tracked_is_not_behind(root, capsys):
    point = a_point(0)
    directory = write(root, [point, a_result(point, {})])
    for config, wanted in (("sweep:\n  track: true\n", "1 run behind"), ("sweep:\n  track: false\n", "not in MLflow")):
        (directory / "config.yaml").write_text(config)
        with pytest.raises(SystemExit):
            cli.main(["status", str(directory)])
        assert wanted in capsys.readouterr().out


def test_asking_makes_no_database(tmp_path):
    directory = a_sweep(tmp_path)
    assert lag(at(tmp_path), directory) == "MLflow is 1 run behind"
    assert list(tmp_path.iterdir()) == [directory]


def test_a_damaged_database_is_said_and_not_raised(tmp_path):
    (tmp_path / "mlflow.db").write_text("something else, long enough to be taken for a header" * 40)
    assert lag(at(tmp_path), a_sweep(tmp_path)).startswith("MLflow cannot be asked (DatabaseError")


def test_the_journals_part_is_printed_before_mlflow_is_asked(root, capsys, monkeypatch):
    point = a_point(0)
    directory = write(root, [point, a_result(point, {})])
    printed = []

    def asked(*_):
        printed.append(capsys.readouterr().out)
        return "no answer"

    monkeypatch.setattr(Questions, "describe", asked)
    with pytest.raises(SystemExit):
        cli.main(["status", str(directory)])
    assert "1 of 1 points done" in printed[0] and capsys.readouterr().out == "  no answer\n"


def test_a_server_that_never_answers_is_asked_once_and_not_longer_than_the_deadline(tmp_path):
    questions = Questions(deadline_s=1.0)
    with silent() as address:
        where = target(tmp_path, address)
        began_s = time.monotonic()
        answers = [questions.describe(where, a_sweep(tmp_path)) for _ in range(3)]
        took_s = time.monotonic() - began_s
    assert answers == [f"MLflow cannot be asked ({address}: no answer within 1 s)"] * 3 and took_s < 10


def test_asking_leaves_nothing_beside_the_database(root):
    lag(at(root), a_sweep(root))
    assert [file.name for file in root.glob("mlflow.db*")] == ["mlflow.db"]


def test_points_that_are_not_in_the_journal_yet_count(tmp_path):
    points = [a_point(index, degree=index + 1) for index in range(9)]
    with writer.writing(tmp_path / "t", header("t", "5" * 64, 9), points[:4]):
        pass
    assert "0 of 9 points done" in said(tmp_path / "t")[0]


@pytest.mark.parametrize("verb", ["status", "sync"])
def test_a_sweep_that_cannot_be_used_keeps_no_other_from_its_turn(tmp_path, capsys, verb):
    for name in ("a", "z"):
        point = a_point(0)
        write(tmp_path, [point, a_result(point, {})], name=name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "journal.jsonl").touch()
    (tmp_path / "folder" / "journal.jsonl").mkdir(parents=True)
    unreadable = write(tmp_path, [a_point(0), a_result(a_point(0), {})], name="unreadable")
    (unreadable / "config.yaml").write_text(":: {")
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--dir", str(tmp_path)])
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and [name for name in ("a-5", "z-5") if str(tmp_path / name) not in out] == []
    assert [name for name in ("empty", "folder") if name not in err] == [] and "Traceback" not in err
    assert "config.yaml: cannot be read" in out + err


def test_a_sweep_without_results_keeps_no_other_from_being_reported(tmp_path, capsys):
    for name in ("a", "z"):
        write(tmp_path, [a_point(0)], name=name)
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", "--dir", str(tmp_path)])
    assert ended.value.code == 2 and capsys.readouterr().err.count("nothing to report") == 2


def test_a_folder_without_a_journal_is_an_error(tmp_path):
    with pytest.raises(SweepError, match="no sweep there"):
        status.found([tmp_path], tmp_path)


def test_sweeps_are_those_given_or_all_of_a_folder(tmp_path):
    made = [write(tmp_path, [a_point(0)], name=name) for name in ("a", "b", "c")]
    assert status.found([], tmp_path) == made and status.found(made[:2], tmp_path) == made[:2]


def test_a_database_that_may_only_be_read_is_asked_without_a_file_beside_it(root, monkeypatch):
    """SQLite's readers make -wal and -shm, which these may not: it is opened as one that does not change."""
    monkeypatch.setattr("thpsweep.sweep.tracking.sql_reader.os.access", lambda *_: False)
    assert lag(at(root), a_sweep(root)) == "MLflow is 1 run behind"
    assert sorted(path.name for path in root.glob("mlflow.db*")) == ["mlflow.db"]
