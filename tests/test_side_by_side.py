"""Tests that belong together run on one worker."""

import pytest


@pytest.mark.xdist_group("together")
def test_the_scheduler_learns_of_groups(request: pytest.FixtureRequest) -> None:
    """A worker tells the scheduler a test's group as the end of its node id, and of nothing else.

    With pytest 9.2.0 it does not arrive: xdist 3.8.0 writes Node._nodeid, which is no longer read (xdist/remote.py
    pytest_collection_modifyitems(), _pytest/nodes.py Node.nodeid), and `--dist loadgroup` spreads every group silently.
    """
    if not hasattr(request.config, "workerinput"):
        pytest.skip("no workers: all tests run in this process")
    assert request.node.nodeid.endswith("@together")
