"""Fast composition gives what Hydra's own composition gives; expansion gives what Hydra's basic sweeper gives."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import event, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thpsweep.application import Application
from thpsweep.config.point import point_of
from thpsweep.config.register import register
from thpsweep.config.schema import GROUPS, RunConfig, SweepConfig
from thpsweep.errors import OptionError, SweepError, ThpsweepError
from thpsweep.model import registry
from thpsweep.shipped import conf_dir
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.plan import Plan

Plugins.instance()  # Hydra finds and names the plugin's modules; only then can they be imported as what they are

from hydra_plugins.thpsweep_launcher._compose import Composer  # noqa: E402
from hydra_plugins.thpsweep_launcher._points import _returned, jobs  # noqa: E402

CHOICES = {
    group: sorted({file.stem for file in (conf_dir() / group).glob("*.yaml")} | (own if "/" in group else set()))
    for group, own in {
        "experiment": set[str](),
        "policy": set[str](),
        **{group: set(registry.options(family)) for family, group in GROUPS.items()},
    }.items()
}
"""Group -> its options."""

FIELDS: dict[str, Any] = {
    **{
        f"{group.replace('/', '.')}.{field.name}": field.type
        for family, group in GROUPS.items()
        for member in registry.options(family).values()
        for field in dataclasses.fields(member)
    },
    **{f"run.{field.name}": field.type for field in dataclasses.fields(RunConfig)},
    **{f"sweep.{field.name}": field.type for field in dataclasses.fields(SweepConfig)},
    "policy.name": str,
}
"""Key of a value -> its type, as its dataclass gives it."""


def quoted(text: str) -> str:
    """Write text as Hydra's grammar wants any text written."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def listed(items: list[str]) -> str:
    return f"[{','.join(items)}]"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0$"), max_size=6).map(quoted)
small = st.integers(1, 9).map(str)
numbers = st.one_of(
    small, st.integers(-1, 600).map(str), st.sampled_from(["1e3", "0.5", "1_000", "inf", "nan", "30.0", "60"])
)
references = st.sampled_from(
    ["${run.seed}", "${sharing.degree}", "${nowhere}", "${policy.name}", "a${run.seed}b", "${oc.decode:3}", "${run}"]
)
words = st.sampled_from(
    ["null", "true", "false", "copy", "a b", "a:b", '"with, comma"', "'it\\'s'", "???", "fixed", "''"]
)
scalars = st.one_of(numbers, words, texts, references)
lists = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(listed), max_leaves=4)
names = st.sampled_from(["seed", "degree", "kind", "at_s", "x", "name", "regions"])
dicts = st.dictionaries(names, lists, max_size=3).map(lambda d: "{" + ",".join(f"{k}:{v}" for k, v in d.items()) + "}")
anything = st.one_of(scalars, lists, dicts)


def fitting(kind: Any) -> st.SearchStrategy[str]:
    """Give values of a field's type, most of which its member takes."""
    if kind is int or kind is float:
        return st.one_of(small, small, small, numbers)
    if kind is bool:
        return st.sampled_from(["true", "false"])
    return st.one_of(texts, words) if kind is str else st.lists(small, max_size=2).map(listed)


def key_and_value(keys: Sequence[str]) -> st.SearchStrategy[tuple[str, str]]:
    return st.sampled_from(keys).flatmap(lambda key: st.tuples(st.just(key), fitting(FIELDS[key])))


wanted = key_and_value([key for key in FIELDS if key.startswith(("sharing.degree", "machine.", "run.", "policy.name"))])
elsewhere = key_and_value(sorted(FIELDS))  # most of them keys of an option that is not chosen
odd = st.tuples(st.sampled_from(sorted(FIELDS)), anything)
whole = st.tuples(
    st.sampled_from(["run", "policy", "workload", "policy.trigger", "sweep", "memory", "policy.gate"]), dicts
)
strange = st.tuples(
    st.sampled_from(["nonsense.key", "run.extra", "workload.kind", "a", "run.seed.x", "hydra.verbose"]), anything
)
good = wanted.map("=".join)
bad = st.one_of(elsewhere, odd, whole, strange).map("=".join)
choices = st.sampled_from([f"{group}={name}" for group, options in CHOICES.items() for name in options])
restructured = st.one_of(
    st.tuples(st.sampled_from(["+", "++"]), st.one_of(good, bad, choices)).map("".join),
    wanted.map("=".join).map("++{}".format),
    st.sampled_from(sorted({*FIELDS, *CHOICES, "run", "policy.gate", "nonsense"})).map("~{}".format),
    st.sampled_from(["policy@policy2=copy", "machine@here=milan_vm", "+policy/gate@run=budget", "~policy.gate"]),
)
few = st.tuples(
    st.lists(choices, max_size=2),
    st.lists(good, max_size=4),
    st.lists(st.sampled_from([good, bad, restructured]).flatmap(lambda kind: kind), max_size=1),
)
some_overrides = few.flatmap(lambda lists: st.permutations([text for texts in lists for text in texts]))
"""What a user might write, most of it good."""


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    """Compose as a sweep does."""
    register()
    setup_globals()
    loader = ConfigLoaderImpl(create_config_search_path(str(conf_dir())))
    master = loader.load_configuration("config", overrides=["hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)
    yield Composer(loader, master)


def refusal_or(function: Callable[[Any], Any], given: Any) -> Any:
    """Give what a function makes of overrides or a config, or how it refuses them."""
    try:
        return function(given)
    except (HydraException, OmegaConfBaseException, ThpsweepError, ValueError, AttributeError) as error:
        return type(error), str(error)


def told_apart(composed: Any) -> Any:
    """Give a config as it is told apart: values as they were written, and what member class each node is."""
    if not isinstance(composed, DictConfig):
        return composed
    kinds: dict[str, Any] = {}

    def walk(node: DictConfig, path: str) -> None:
        kinds[path] = OmegaConf.get_type(node)
        for key in node:
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                walk(child, f"{path}.{key}")

    walk(composed, "")
    return OmegaConf.to_yaml(composed), kinds, OmegaConf.is_struct(composed), OmegaConf.is_readonly(composed)


@settings(max_examples=8, deadline=None)  # more of them: the slow test below
@given(overrides=some_overrides)
def test_fast_composition_equals_hydras(composer: Composer, overrides: list[str]) -> None:
    compare(composer, overrides)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(overrides=some_overrides)
def test_fast_composition_equals_hydras_on_many_overrides(composer: Composer, overrides: list[str]) -> None:
    compare(composer, overrides)


def compare(composer: Composer, overrides: list[str]) -> None:
    """Hold config and point of the fast way against those that Hydra composes, or its refusal."""
    wanted = refusal_or(composer.slow, overrides)
    assert told_apart(refusal_or(composer.compose, overrides)) == told_apart(wanted)
    point = refusal_or(composer.point, overrides)
    event("a point" if isinstance(point, dict) else f"refused by {point[0].__name__}")
    assert repr(point) == repr(refusal_or(point_of, wanted) if isinstance(wanted, DictConfig) else wanted)


@pytest.mark.parametrize(
    "overrides",
    [
        ["run.seed=4", "run={seed:3}", "run.replicates=2"],
        ["policy.name=a", "policy={name:b}"],
        ["policy={name:b}", "policy=copy"],
        ["policy/gate=cbmm", "policy.gate.gains=[tlb]", "sharing.degree=3"],
        ["sharing.degree=3", "+memory@run.spare=plentiful"],
        ["run.seed=1", "++run.seed=2", "run.seed=3"],
        ["run.tick_s=${run.duration_s}", "run.duration_s=60"],
        [r"sharing.degree=$\{run.replicates\}", "run.replicates=3"],  # as a swept ${run.replicates} is written
        ["policy/gate=all_of", "policy.gate.gates=[{kind:max_ptes,max_ptes:99},{kind:budget}]"],
        ["~policy.gate", "policy=copy"],
    ],
)
def test_order_and_structure_count_as_they_do_for_hydra(composer: Composer, overrides: list[str]) -> None:
    wanted = refusal_or(composer.slow, overrides)
    assert told_apart(refusal_or(composer.compose, overrides)) == told_apart(wanted)
    assert refusal_or(composer.point, overrides) == (
        refusal_or(point_of, wanted) if isinstance(wanted, DictConfig) else wanted
    )


def test_values_cost_no_composition(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    composer.compose(["policy=copy", "sharing.degree=1"])
    monkeypatch.setattr(composer.loader, "load_sweep_config", lambda *_: pytest.fail("composed again"))
    for degree in range(1, 50):
        overrides = ["policy=copy", f"sharing.degree={degree}"]
        assert composer.compose(overrides).sharing.degree == degree
        assert composer.point(overrides)["sharing"]["degree"] == degree


def test_a_composed_config_is_nobody_elses(composer: Composer) -> None:
    first = composer.compose(["sharing.degree=5"])
    assert (composer.compose([]).sharing.degree, first.sharing.degree) == (16, 5)


def expanded(composer: Composer, arguments: list[str]) -> list[Job]:
    return jobs(OverridesParser.create(config_loader=composer.loader).parse_overrides(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["policy=copy,inplace", "sharing.degree=1,16"],
        ["sharing.degree=range(1,9,step=3)", "run.seed=4", "policy=choice(none,copy)"],
        ["sharing.degree=1,2", "sharing.degree=3,4"],
        ["policy.name='a,b',c", "policy.trigger.at_s=[1,2],[3]"],
        ["policy=glob(in*)"],
        ["x=10"],
        ["x=[10,20]"],
        ["x=[a,b,c],[d,e,f]", "y={a:1},{a:2}"],
    ],
)
def test_expansion_equals_the_basic_sweepers(composer: Composer, arguments: list[str]) -> None:
    parser = OverridesParser.create(config_loader=composer.loader)
    (wanted,) = BasicSweeper.split_arguments(parser.parse_overrides(arguments), None)
    assert [list(job.overrides) for job in expanded(composer, arguments)] == wanted


def test_swept_keys_are_named_as_people_name_them(composer: Composer) -> None:
    (job, _) = expanded(composer, ["policy/trigger=madvise,khugepaged", "run.seed=1", "+run.x=1"])
    assert job.varied == {"trigger": "madvise"}


def test_continuous_intervals_are_refused(composer: Composer) -> None:
    with pytest.raises(SweepError, match="interval"):
        expanded(composer, ["sharing.degree=interval(1,3)"])


def test_sweepers_that_optimise_are_told_means_of_metrics(
    make_plan: Callable[..., Plan], degrees: Callable[..., Any]
) -> None:
    plan = make_plan(degrees(2))
    result = {"metrics": {"cost/cpu_ms": {"mean": 2.5}, "benefit/lru_reduction": {"mean": 0.5}}}
    assert _returned(Application(), "cost/cpu_ms", None, plan)(result, ()) == 2.5
    assert _returned(Application(), ["benefit/lru_reduction", "cost/cpu_ms"], None, plan)(result, ()) == [0.5, 2.5]
    assert _returned(Application(), None, None, plan)(result, ()) is result
    with pytest.raises(OptionError, match=r"sweep\.objective='cost/nothing'.*cost/cpu_ms"):
        _returned(Application(), "cost/nothing", None, plan)
