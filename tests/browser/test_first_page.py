"""MLflow's UI draws 100 runs: are these a fair picture of 528, and is there a word of the others?"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Page, chromium, shortened
from tests.browser.ui import Server, served
from tests.sweep.journals import a_point, a_result, write
from tests.sweep.recorded import at
from thpsweep.sweep.tracking import views
from thpsweep.sweep.tracking.first_page import MISSING, PAGE
from thpsweep.sweep.tracking.tracker import track

pytestmark = [pytest.mark.slow, pytest.mark.servers]

POLICIES = [
    policy for policy in views.COLOURS if policy not in ("none", "copy_parent", "copy_before_fork", "thp_at_fault")
]
DEGREES = (1, 2, 4, 8, 16, 64, 195, 1024)
LIMITS = (None, 0, 64, 511)
N_POINTS = 528


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Run one browser for all tests of this file; first of all, as there is none everywhere."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def server(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Record 528 points and serve them."""
    root = tmp_path_factory.mktemp("many")
    choices = itertools.islice(itertools.product(POLICIES, DEGREES, (1, 2), LIMITS), None)
    points = [
        a_point(index, policy, degree, **{"run.seed": seed, "gate.max_ptes_none": limit})
        for index, (policy, degree, seed, limit) in enumerate(c for c in choices if c[2] == 1 or c[3] in (None, 64))
    ]
    assert len(points) == N_POINTS
    results = [a_result(point, {axis: 1.0 + point["index"] for axis in views.AXES}) for point in points]
    track(write(root, [*points, *results], name="many"), target=at(root))
    with served(root, "--dir", str(root)) as started:
        yield started


@pytest.fixture
def output(server: Server) -> str:
    """Give what the command says."""
    return server.output


def link(output: str, what: str) -> str:
    """Find a link of the command."""
    return re.findall(rf"^many, {what}: +(http://\S+)$", output, re.MULTILINE)[0]


def drawn(page: Page) -> Counter[str]:
    """Count the runs beside the charts by their policy: the first word of a name."""
    names = {line for line in page.lines() if re.match(r"\w+ x\d{4} prefork", line)}
    return Counter(name.split()[0] for name in names)


def test_the_command_says_how_many_points_are_not_drawn_and_where_all_are(output: str) -> None:
    (line,) = [line for line in output.splitlines() if "not drawn" in line]
    assert f"{PAGE} of {N_POINTS}" in line and f"{N_POINTS - PAGE} are not drawn" in line and "table.csv" in line


def test_every_policy_is_among_the_runs_that_are_drawn(page: Page, output: str) -> None:
    page.open(link(output, "charts"))
    axes = [shortened(axis) for axis in ("policy", "gate.max_ptes_none as text", *views.AXES)]
    text = page.wait("Parallel Coordinates", *axes)
    page.shoot("many-charts")
    assert f"{PAGE} of {N_POINTS} points drawn; all: table.csv, report.md" in text
    counts = drawn(page)
    assert set(counts) == set(POLICIES) and sum(counts.values()) == PAGE
    assert max(counts.values()) - min(counts.values()) <= 1


def test_points_without_a_value_are_drawn(page: Page, output: str) -> None:
    page.open(link(output, "charts"))
    page.wait("Parallel Coordinates", "null", "= 0", "= 64", "= 511")  # the axis has a tick for each
    assert MISSING not in page.lines()


def test_each_policy_has_a_view_of_its_own(page: Page, output: str) -> None:
    page.open(link(output, "charts"))
    page.wait("Parallel Coordinates")
    (key,) = [
        key for key in views.tags(["policy"], ["policy"], N_POINTS, POLICIES) if key.endswith(views.key_of("switch"))
    ]
    page.open(link(output, "charts").replace(views.CHARTS, key.removeprefix("mlflow.sharedViewState.")))
    page.wait("Parallel Coordinates")
    page.shoot("many-one-policy")
    assert drawn(page) == {"switch": 48}


def test_no_process_waits_for_jobs_that_nobody_has(server: Server) -> None:
    commands = server.commands()
    assert any("uvicorn" in command for command in commands)
    assert [command for command in commands if "huey" in command or "job_runner" in command] == []
