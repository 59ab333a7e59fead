"""Does MLflow on PostgreSQL, behind HTTP with passwords, hold what the journal says, whichever way it got there?"""

import hashlib
import os
import threading
import time

import pytest
from mlflow import MlflowClient

from tests.browser.chromium import chromium
from tests.servers import postgres, running
from tests.sweep.journals import a_point, a_result, with_series, write
from tests.sweep.readback import everything, whatever_may_come
from tests.sweep.recorded import at
from thpsweep.sweep.records import environment
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.target import target
from thpsweep.sweep.tracking.tracker import track

pytestmark = [pytest.mark.slow, pytest.mark.servers]

PASSWORD = "not to be typed"
N_POINTS = 10_000


@pytest.fixture(scope="module")
def database():
    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def backend(database):
    """Give the URI of the database that the MLflow server has."""
    return database.database("mlflow")


@pytest.fixture(scope="module")
def mlflow(backend, tmp_path_factory):
    with running(tmp_path_factory.mktemp("mlflow"), backend, password=PASSWORD.replace(" ", "-")) as server:
        yield server


def recorded(root, uri, name, **how):
    """Record the journal that has everything; give all that MLflow then tells."""
    directory = write(root, whatever_may_come(), name=name, sweep_id=sweep_id(name))
    (directory / environment.FILE_NAME).write_text('{"user": "ada", "commit": "c0ffee"}\n')
    where = target(root, uri, literal=False) if uri else at(root)
    track(directory, target=where, **how)
    again = track(directory, target=where, **how)
    assert (again.added, again.replaced, again.completed) == (0, 0, 0)
    return everything(MlflowClient(tracking_uri=where.uri), name)


@pytest.fixture(scope="module")
def ways(tmp_path_factory, backend, mlflow):
    """Record one journal in each way that there is, with a name of its own where they share a server."""
    root = tmp_path_factory.mktemp("ways")
    told = {
        "over HTTP": recorded(root, mlflow.uri, "http"),
        "into its database": recorded(root, backend, "bulk"),
        "into its database one by one": recorded(root, backend, "single", bulk=False),
        "into SQLite": recorded(root, None, "sqlite"),
    }
    client = MlflowClient(tracking_uri=mlflow.uri)
    return told | {"into its database, asked over HTTP": everything(client, "bulk")}


@pytest.mark.parametrize(
    "way",
    ["into its database", "into its database one by one", "into its database, asked over HTTP", "into SQLite"],
)
@pytest.mark.parametrize("part", ["experiment", "runs", "filters", "deleted"])
def test_every_way_reads_back_as_what_was_told_over_http(ways, way, part):
    assert unnamed(ways[way][part]) == unnamed(ways["over HTTP"][part])


def sweep_id(name):
    """Give the id of a sweep: those of one server are told apart by it, whatever they are called."""
    return hashlib.sha256(name.encode()).hexdigest()


def unnamed(told):
    """Take out the name and the id of the sweep, which tell the ways apart."""
    text = repr(told)
    for name in ("http", "bulk", "single", "sqlite"):
        text = text.replace(f"{name}-{sweep_id(name)[:12]}", "NAME").replace(sweep_id(name), "ID")
    return text


def test_what_is_compared_is_not_empty(ways):
    found = ways["over HTTP"]
    assert len(found["runs"]) == 6 and all(found["filters"])
    assert len(found["runs"][2]["histories"]["series/lru_entries"]) == 2


def test_files_of_the_sweep_come_over_http_too(ways, mlflow, tmp_path):
    client = MlflowClient(tracking_uri=mlflow.uri)
    experiment = client.get_experiment_by_name("http")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`thpsweep.sweep` != ''")
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"journal.jsonl", "plan.parquet", "metrics.parquet", "replicates.parquet", "series.parquet"} <= files
    there = client.download_artifacts(parent.info.run_id, "plan.parquet", str(tmp_path))
    assert os.path.getsize(there) > 0


@pytest.mark.parametrize("user", ["", "admin:wrong@"])
def test_who_has_no_password_is_turned_away_and_told_so_without_it(mlflow, tmp_path, user):
    uri = mlflow.open_uri.replace("//", f"//{user}")
    with pytest.raises(Exception, match=r"401|not authenticated"):
        track(write(tmp_path, [a_point(0)]), target=target(tmp_path, uri, literal=False))


def journal_of_many(root):
    """Write the journal of a sweep of N_POINTS points with as many metrics as real ones have, and a short course."""
    names = [f"cost/metric_{number:02d}" for number in range(18)] + ["cost/pte_updates", "benefit/lru_entries_removed"]
    points, results = [], []
    for index in range(N_POINTS):
        points.append(a_point(index, ("copy", "inplace", "switch")[index % 3], 1 + index // 3))
        metrics = {name: float(index + number) for number, name in enumerate(names)}
        results.append(with_series(a_result(points[-1], metrics, index % 60), [1.0, 2.0, 3.0]))
    return write(root, [*points, *results], name="many", sweep_id=sweep_id("many"))


class Asking(threading.Thread):
    """Ask a server again and again for the runs of a sweep, as its UI does, and remember how many there were."""

    def __init__(self, uri):
        super().__init__()
        self._client, self._over, self.numbers, self.slowest_s = (
            MlflowClient(tracking_uri=uri),
            threading.Event(),
            [],
            0.0,
        )

    def run(self):
        while not self._over.wait(0.2):
            experiment = self._client.get_experiment_by_name("many")
            if experiment is not None:
                began_s = time.monotonic()
                text, order = "params.policy != ''", ["tags.`mlflow.runName`"]
                page = self._client.search_runs([experiment.experiment_id], text, max_results=100, order_by=order)
                self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
                self.numbers.append(len(page))

    def stop(self):
        self._over.set()
        self.join()


def test_ten_thousand_runs_are_written_while_the_server_is_asked_none_lost_none_doubled(
    database, backend, mlflow, tmp_path
):
    directory = journal_of_many(tmp_path)
    where = target(tmp_path, backend, literal=False)
    asking = Asking(mlflow.uri)
    asking.start()
    began_s = time.monotonic()
    added = track(directory, target=where).added
    took_s = time.monotonic() - began_s
    asking.stop()
    print(
        f"\n{N_POINTS} runs in {took_s:.0f} s; meanwhile {len(asking.numbers)} searches, at most {asking.slowest_s:.1f} s"
    )
    assert added == N_POINTS
    assert len(asking.numbers) > 3 and asking.numbers == sorted(asking.numbers)
    points = "FROM tags WHERE key = 'thpsweep.point' AND run_uuid IN (SELECT r.run_uuid FROM runs r JOIN experiments e"
    points += " ON e.experiment_id = r.experiment_id AND e.name = 'many' WHERE r.status = 'FINISHED')"
    assert database.ask("mlflow", f"SELECT count(*), count(DISTINCT value) {points}") == f"{N_POINTS}|{N_POINTS}"
    assert track(directory, target=where).added == 0
    assert track(directory, target=target(tmp_path, mlflow.uri, literal=False)).added == 0  # the other way, too


def test_the_compare_page_opens_with_ten_thousand_runs_there(database, mlflow):
    n_runs = database.ask(
        "mlflow", "SELECT count(*) FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'many'"
    )
    if n_runs != str(N_POINTS + 1):
        pytest.skip("the test before this one writes the runs")
    experiment = MlflowClient(tracking_uri=mlflow.uri).get_experiment_by_name("many")
    table, _ = views.links(mlflow.open_uri, experiment.experiment_id)
    with chromium() as page:
        page.open(mlflow.uri)  # which makes the browser remember the password
        page.open(table)
        page.wait("cost/pte_updates", "copy x0001 prefork")
        page.click("input[aria-label='Select all runs']")  # the hundred that are shown
        page.click("button", "Compare")
        page.wait("Comparing 100 Runs from 1 Experiment", "Parallel Coordinates Plot", "copy x0001 prefork")
        page.wait("sharing.degree", "cost/pte_updates")  # all of the hundred are `copy`: no axis for the policy
        page.shoot("compare-many")
