"""Hydra's own conformance suites, which it publishes for plugins, on our launchers and our sweeper.

The apps of these suites are not ours, so that a launcher runs their jobs and a sweeper expands their overrides.
"""

import importlib
import os
import pickle
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from hydra.test_utils.test_utils import TSweepRunner

import thpsweep
from thpsweep.application import Application

thpsweep_launcher = importlib.import_module("hydra_plugins.thpsweep_launcher")  # found once thpsweep is imported
PACKAGE = Path(thpsweep.__file__).parent
GRID = ["hydra/sweeper=grid"]


@pytest.fixture(autouse=True)
def hydra_as_the_suites_know_it(hydra_restore_singletons: None) -> None:
    """Undo for a while what other tests asked of Hydra: these suites are written for its oldest base version.

    Hydra 1.4 has only one, which needs not be asked for.
    """
    if hydra.__version__.startswith("1.3"):
        version.setbase("1.1")


@pytest.fixture(scope="module")
def token(ray_token: None) -> Iterator[None]:
    """Let apps find our plugins, which are not installed for them; Ray reads its token once in a process, the session's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PACKAGE.parent), str(PACKAGE / "_plugins")]))
        yield


@pytest.fixture(scope="module")
def one_ray(token: None) -> Iterator[None]:
    """Start one Ray for all cases of a suite that run in this process."""
    from thpsweep.sweep.ray.start import start

    ray = start("local", 2)
    yield
    ray.shutdown()


def test_other_apps_of_the_environment_load_nothing_of_ours() -> None:
    """Hydra 1.4 loads entry points in every app, where thpsweep, and with it its plugins' folder, is not imported."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert "hydra.plugins" not in project.get("entry-points", {})
    assert not (PACKAGE.parent / "hydra_plugins").exists()


def test_another_plugins_option_of_the_same_name_is_replaced_on_purpose() -> None:
    """hydra-ray-launcher has a hydra/launcher/ray, too: Hydra 1.4 warns of a second one that does not say what it means."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thpsweep_launcher._store()


def test_the_application_travels_while_mlflow_makes_itself_ready() -> None:
    """Launchers of other makes pickle the task function, as submitit's does; a running process has a lock."""
    application = Application()
    application.expect(tracked=True)
    try:
        assert pickle.loads(pickle.dumps(application)).exit_code == 0
    finally:
        application.close()


def test_plugins_are_discovered() -> None:
    named = {kind: {plugin.__name__ for plugin in Plugins.instance().discover(kind)} for kind in (Launcher, Sweeper)}
    assert {"SerialLauncher", "RayLauncher"} <= named[Launcher] and "GridSweeper" in named[Sweeper]


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("serial", []), ("serial", GRID), ("basic", GRID)])
class TestInProcess(LauncherTestSuite):
    """Our serial launcher and our sweeper, with each other and with Hydra's own."""


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", []), ("ray", GRID)])
class TestInRay(LauncherTestSuite):
    """Our Ray launcher, whose jobs run in other processes."""


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.usefixtures("one_ray", "hydra_restore_singletons")
def test_jobs_of_other_apps_run_in_rays_workers(hydra_sweep_runner: TSweepRunner, tmpdir: Path) -> None:
    sweep = hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=lambda config: (os.getpid(), config.a),
        config_path="configs",
        config_name="compose",
        overrides=["hydra/launcher=ray", "+a=1,2"],
        temp_dir=tmpdir,
    )
    with sweep:
        assert sweep.returns is not None
        ended = [job.return_value for job in sweep.returns[0]]
    assert [a for _, a in ended] == [1, 2] and os.getpid() not in [pid for pid, _ in ended]


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        ({}, ["-m", "hydra/launcher=serial"]),
        ({}, ["-m", "hydra/launcher=basic", "hydra/sweeper=grid"]),
        ({}, ["-m", "hydra/launcher=ray", "hydra.launcher.actors=1"]),
    ],
)
class TestWholeApps(IntegrationTestSuite):
    """Whole programs, each a process, and each with a Ray of its own where it has one."""


@pytest.mark.skip(reason="grid has no batches: a plan is one, so that every point is checked before the first one runs")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("serial", GRID)])
class TestBatches(BatchedSweeperTestSuite):
    """Batches of max_batch_size, an option of Hydra's basic sweeper."""
