"""Fast composition gives what Hydra's own composition gives; expansion gives what Hydra's basic sweeper gives."""

from collections.abc import Iterator

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from thpsweep.config import conf_dir, register
from thpsweep.errors import SweepError, ThpsweepError

Plugins.instance()  # Hydra finds and names the plugin's modules; only then can they be imported as what they are

from hydra_plugins.thpsweep_launcher._compose import Composer  # noqa: E402
from hydra_plugins.thpsweep_launcher._points import jobs  # noqa: E402

GROUPS = [
    "workload=prefork,captured",
    "policy=none,copy,inplace,mainline",
    "policy/mechanism=copy,inplace,switch",
    "policy/trigger=madvise,khugepaged",
]
VALUES = [
    "sharing.degree=1,195",
    "run.seed=7,8",
    "run.duration_s=60,1e3",
    "sweep.name=null,a,'b,c'",
    "policy.name='with, comma',\"and 'quotes'\"",
    "workload.worker_life_s=0,1.5",
    "workload.regions=1,2",
    "policy.trigger.at_s=[1],[1,2.5]",
    "policy.trigger.max_ptes_shared=0,511",
    "policy.mechanism.walk=per_page,per_range",
    "run={seed:3},{seed:4,replicates:2}",
    "run.tick_s=${run.duration_s},30",
    "+run.extra=1",
    "++run.seed=9,10",
    "~sweep.name",
    "nonsense.key=1",
    "sharing.degree=many",
]


def expand(text: str) -> list[str]:
    """Give each choice of a line above."""
    parsed = OverridesParser.create().parse_override(text)
    if not parsed.is_sweep_override():
        return [text]
    return [f"{parsed.get_key_element()}={value}" for value in parsed.sweep_string_iterator()]


one_of_each = st.lists(st.sampled_from(GROUPS + VALUES), unique=True, max_size=6).flatmap(
    lambda lines: st.tuples(*(st.sampled_from(expand(line)) for line in lines))
)


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    """Compose as a sweep does."""
    register()
    setup_globals()
    loader = ConfigLoaderImpl(create_config_search_path(str(conf_dir())))
    master = loader.load_configuration("config", overrides=["hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)
    yield Composer(loader, master)


def outcome(composed: object) -> object:
    """Give a config as it is told apart: values, types and what a member class it is."""
    if not isinstance(composed, DictConfig):
        return composed
    members = [OmegaConf.get_type(composed, key) for key in ("workload", "sharing", "machine")]
    members += [OmegaConf.get_type(composed.policy, key) for key in ("mechanism", "trigger")]
    return OmegaConf.to_yaml(composed, resolve=True), members


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides=one_of_each)
def test_fast_composition_equals_hydras(composer: Composer, overrides: tuple[str, ...]) -> None:
    composed = []
    for compose in (composer.compose, composer.slow):
        try:
            composed.append(outcome(compose(overrides)))
        except (HydraException, ThpsweepError) as error:
            composed.append((type(error), str(error)))
    assert composed[0] == composed[1]


def test_values_cost_no_composition(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    composer.compose(["policy=copy", "sharing.degree=1"])
    monkeypatch.setattr(composer, "slow", lambda overrides: pytest.fail(f"composed {overrides} again"))
    for degree in range(1, 50):
        assert composer.compose(["policy=copy", f"sharing.degree={degree}"]).sharing.degree == degree


def test_a_composed_config_is_nobody_elses(composer: Composer) -> None:
    first = composer.compose(["sharing.degree=5"])
    assert (composer.compose([]).sharing.degree, first.sharing.degree) == (16, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        ["policy=copy,inplace", "sharing.degree=1,16"],
        ["sharing.degree=range(1,9,step=3)", "run.seed=4", "policy=choice(none,copy)"],
        ["sharing.degree=1,2", "sharing.degree=3,4"],
        ["policy.name='a,b',c", "policy.trigger.at_s=[1,2],[3]"],
        ["policy=glob(in*)"],
    ],
)
def test_expansion_equals_the_basic_sweepers(composer: Composer, arguments: list[str]) -> None:
    parser = OverridesParser.create(config_loader=composer.loader)
    (wanted,) = BasicSweeper.split_arguments(parser.parse_overrides(arguments), None)
    assert [list(job.overrides) for job in jobs(arguments, composer.loader)] == wanted


def test_swept_keys_are_named_as_people_name_them(composer: Composer) -> None:
    (job, _) = jobs(["policy/trigger=madvise,khugepaged", "run.seed=1", "+run.x=1"], composer.loader)
    assert job.varied == {"trigger": "madvise"}


def test_continuous_intervals_are_refused(composer: Composer) -> None:
    with pytest.raises(SweepError, match="interval"):
        jobs(["sharing.degree=interval(1,3)"], composer.loader)
