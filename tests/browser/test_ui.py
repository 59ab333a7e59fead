"""Does who runs a sweep and then `thpsweep ui` see cost against benefit, point by point, without having to look for it?"""

import re
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Page, chromium, shortened
from tests.browser.ui import run, served
from thpsweep.sweep.tracking import views

pytestmark = [pytest.mark.slow, pytest.mark.servers]

SMALL = ["workload=prefork", "workload.regions=2", "run.replicates=2", "run.duration_s=300", "hydra/launcher=serial"]
SWEEP = [*SMALL, "sharing.degree=1,4,16,64", "policy=none,copy,inplace,switch", "sweep.name=seen"]
NAMES = [
    f"{policy} x{degree:04d} prefork" for policy in ("copy", "inplace", "none", "switch") for degree in (1, 4, 16, 64)
]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Run one browser for all tests of this file; first of all, as there is none everywhere."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def links(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a sweep and its UI as a user does; give the links that the UI says, by name."""
    cwd = tmp_path_factory.mktemp("seen")
    run(cwd, "sweep", *SWEEP)
    with served(cwd) as server:
        yield dict(re.findall(r"^seen, (\w+): +(http://\S+)$", server.output, re.MULTILINE))


def test_the_table_has_a_named_row_a_point_with_what_was_varied_and_what_came_out(
    page: Page, links: dict[str, str]
) -> None:
    page.open(links["table"])
    page.wait("policy", "sharing.degree", "cost/pte_updates", "benefit/lru_entries_removed", NAMES[-1])
    page.shoot("table")
    shown = [line for line in page.lines() if line in NAMES]
    assert list(dict.fromkeys(shown)) == NAMES  # in this order: by policy, then by degree as a number
    assert "16 matching runs" in page.text()
    assert "65536" in page.lines()  # ptes that `copy` clears for 64 sharers: 64 x 512 in each of two regions


def test_the_charts_are_parallel_coordinates_and_scatters_of_all_points(page: Page, links: dict[str, str]) -> None:
    page.open(links["charts"])
    axes = ["sharing.degree", "policy", *(shortened(key) for key in views.AXES)]
    page.wait(views.TITLE, "Parallel Coordinates", "Showing all runs", *axes)
    page.wait("cost/pte_updates", "benefit/lru_entries_removed", "cost/cpu_ms", "tradeoff/net_cpu_ms")
    page.shoot("charts")
    assert "cost/pte_updates vs. benefit/lru_entries_removed" in page.text()
    assert page.lines().count("Hide run") == len(NAMES) and "Unhide run" not in page.text()


def test_selected_runs_are_compared_in_parallel_coordinates_and_a_scatter(page: Page, links: dict[str, str]) -> None:
    page.open(links["table"])
    page.wait(NAMES[-1])
    page.click("input[aria-label='Select all runs']")
    page.click("button", "Compare")
    page.wait("Comparing 16 Runs from 1 Experiment", "Parallel Coordinates Plot", "Scatter Plot", *NAMES)
    page.wait("policy", "sharing.degree", views.NET)  # the primary metric is the axis that it begins with
    page.shoot("compare")
    page.click("[role=tab]", "Scatter Plot")
    page.wait("X-axis:", "Y-axis:")
    page.shoot("compare-scatter")


def test_the_run_of_the_sweep_is_one_click_away_and_has_its_plot_and_tables(page: Page, links: dict[str, str]) -> None:
    page.open(links["table"].replace("&viewStateShareKey=thpsweep", ""))
    page.click("a", "seen-")
    page.wait("sweep/points", "sweep/done")
    page.click("[role=tab]", "Artifacts")
    page.wait("plot.png", "metrics.parquet", "journal.jsonl")
    page.shoot("sweep")
