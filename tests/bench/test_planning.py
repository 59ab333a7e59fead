"""What it costs to compose and check a point, beside Hydra's own composition in the same process."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.types import RunMode

from thpsweep.config.point import point_of
from thpsweep.config.register import register
from thpsweep.shipped import conf_dir
from thpsweep.sweep.planning.plan import planned

Plugins.instance()

from hydra_plugins.thpsweep_launcher._compose import Composer  # noqa: E402
from hydra_plugins.thpsweep_launcher._points import jobs  # noqa: E402

FIXED = ["workload=prefork", "workload.regions=1", "policy=inplace", "run.replicates=2", "run.duration_s=300"]
SWEEPS = {
    "20 write rates x 100 degrees": [
        "workload.worker_cold_writes_per_page_hour=" + ",".join(str(n / 1000) for n in range(20)),
        "sharing.degree=range(1,101)",
    ],
    "2 policies x 500 degrees x 100 seeds": [
        "policy=copy,inplace",
        "sharing.degree=range(1,501)",
        "run.seed=range(0,100)",
    ],
    "2,000 values of one key": ["run.seed=range(0,2000)"],
    "2,000 values that refer to another": ["run.tick_s=${run.duration_s}", "run.seed=range(0,2000)"],
}


def took_s(function: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


@pytest.mark.bench
@pytest.mark.parametrize("name", SWEEPS)
def test_planning(name: str) -> None:
    register()
    setup_globals()
    loader = ConfigLoaderImpl(create_config_search_path(str(conf_dir())))
    master = loader.load_configuration("config", overrides=["hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)
    expanded = jobs(OverridesParser.create(config_loader=loader).parse_overrides([*FIXED, *SWEEPS[name]]))
    slow = Composer(loader, master).slow
    hydra_s = took_s(lambda: [point_of(slow(job.overrides)) for job in expanded[:10]]) / 10
    whole_s = took_s(lambda: planned(expanded, Composer(loader, master).point)) / len(expanded)
    ratio = hydra_s / whole_s
    print(
        f"\n{name}: composed and checked in {whole_s * 1e3:.2f} ms a point, {ratio:.0f} times as fast as composed by Hydra"
    )
