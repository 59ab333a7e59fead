"""How tests share a machine: on as many workers as it has CPUs, but for those that would meet each other there.

A test marked `live` changes settings of the kernel, or looks at what others may change there: all of them run on one
worker, one after another. While one that is marked `alone` too runs, no other test does: it needs CPUs that are idle.
Those marked `servers` start Rays, MLflow servers, databases or a browser, which have deadlines: these, too, run one after
another, so that no two of them start at once on the same CPUs.
Tests that share a fixture of their module run on one worker, so that it is made once.
"""

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

MOST_WORKERS = 8
"""A worker may start a Ray of its own, which takes memory."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Count the CPUs that we may use; xdist would count cores, of which a guest with two hyperthreads has one."""
    n_cpus = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    return n_cpus if n_cpus > 1 else 0  # no workers: all tests run in this process


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name for each test the group that stays on one worker, before xdist reads it."""
    for item in items:
        if item.get_closest_marker("bench"):
            item.add_marker(pytest.mark.alone)
        group = next((name for name in ("live", "servers") if item.get_closest_marker(name)), None) or _group(item)
        if group is not None and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item: pytest.Item) -> str | None:
    """Name the file or folder of what a test uses that is made once for a module, if it uses any such thing."""
    known = getattr(item, "_fixtureinfo", None)  # pytest has no public way to a fixture's scope
    fixtures = [each for found in known.name2fixturedefs.values() for each in found] if known else []
    homes = [fixture.baseid for fixture in fixtures if fixture.scope in ("module", "class") and fixture.baseid]
    return min(homes, key=len, default=None)


class Machine:
    """The machine that workers share: any number of them use it, or one has it to itself.

    Locks are of a process and not inherited by its children (fcntl(2)), whose end nobody may have to wait for.
    """

    def __init__(self, home: Path) -> None:
        # They stay open as long as the process lives: closing one would release what is held of it.
        self._gate, self._use = open(home / "gate", "a+b"), open(home / "use", "a+b")  # noqa: SIM115

    def have(self, alone: bool) -> None:
        """Wait until we may use the machine; who waits to have it alone holds the gate, so that no new user comes."""
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        fcntl.lockf(self._gate, kind)
        fcntl.lockf(self._use, kind)
        if not alone:
            fcntl.lockf(self._gate, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let others use it."""
        for file in (self._use, self._gate):
            fcntl.lockf(file, fcntl.LOCK_UN)


_LOCKS = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()
_MACHINE = pytest.StashKey[Machine]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker, in the process that starts them all, where its run's locks are."""
    locks = node.config.stash.setdefault(_LOCKS, None) or tempfile.TemporaryDirectory(prefix="thpsweep-tests-")
    node.config.stash[_LOCKS] = locks
    node.workerinput["locks"] = locks.name


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the locks when all workers have ended."""
    locks = config.stash.get(_LOCKS, None)
    if locks is not None:
        locks.cleanup()


def pytest_configure(config: pytest.Config) -> None:
    """Open the locks in a worker; a run without workers needs none."""
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[_MACHINE] = Machine(Path(worker["locks"]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Run a test when the machine is free for it; from one that wants it alone to the next such one it is kept."""
    machine = item.config.stash.get(_MACHINE, None)
    if machine is None:
        return (yield)
    machine.have(_is_alone(item))
    try:
        return (yield)
    finally:
        if nextitem is None or not (_is_alone(item) and _is_alone(nextitem)):
            machine.leave()


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
