"""Our grid makes the points that Hydra's own basic sweeper makes, in its order, whatever the overrides."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from thpsweep.config.point import point_of
from thpsweep.config.register import register
from thpsweep.shipped import conf_dir
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.plan import planned
from thpsweep.sweep.records.point import canonical

Plugins.instance()

from hydra_plugins.thpsweep_launcher._compose import Composer  # noqa: E402
from hydra_plugins.thpsweep_launcher._overrides import jobs, replaced  # noqa: E402

FIXED = ("workload=prefork", "workload.regions=1", "run.replicates=2", "run.duration_s=300")

VALUES: dict[str, list[str]] = {
    "run.seed": ["1", "1,2", "3,1,2", "range(0,3)", "range(4,0,-2)", "choice(5,6)", "sort(2,1)"],
    "run.tick_s": ["60", "30,60", "range(30.5,31.5,0.5)", "range(20,30,2.5)", "range(60.0,59.0,-0.4)"],
    "sharing.degree": ["2", "2,4", "range(2,8,3)"],
    "workload.regions": ["1,2", "3"],
    "policy": ["copy", "copy,switch", "glob(switch*)"],
    "policy/trigger": ["madvise", "madvise,khugepaged"],
    "run": ["{seed:7}", "{seed:8},{seed:9}"],
    "machine.cpus": ["2", "4,2"],
}
"""Keys and what may be given to them: values, choices, ranges whole and not, groups, dicts."""

PREFIXED = [key for key in VALUES if "/" not in key and key != "policy"]

OVERRIDES = st.lists(
    st.sampled_from(list(VALUES)).flatmap(
        lambda key: st.tuples(
            st.sampled_from(["", "", "++"] if key in PREFIXED else [""]), st.just(key), st.sampled_from(VALUES[key])
        ).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}")
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    register()
    setup_globals()
    loader = ConfigLoaderImpl(create_config_search_path(str(conf_dir())))
    master = loader.load_configuration("config", overrides=["hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)
    yield Composer(loader, master)


def parsed(composer: Composer, texts: Sequence[str]) -> list[Any]:
    return OverridesParser.create(config_loader=composer.loader).parse_overrides(list(texts))


@functools.cache
def composed(composer: Composer, overrides: tuple[str, ...]) -> Any:
    return point_of(composer.slow(overrides))


MOST = 16
"""Combinations of an example: Hydra takes a tenth of a second to compose each."""


def by_hydra(composer: Composer, texts: Sequence[str]) -> list[str]:
    """List what the basic sweeper would run, each once: as Hydra composes it."""
    (batch,) = BasicSweeper.split_arguments(parsed(composer, texts), max_batch_size=None)
    points = (canonical(composed(composer, tuple(overrides))) for overrides in batch if _no_schema(overrides))
    return list(dict.fromkeys(points))


def _no_schema(overrides: Sequence[str]) -> bool:
    return not any("=base_" in text for text in overrides)


def by_us(composer: Composer, texts: Sequence[str], zipped: Sequence[Sequence[str]] = ()) -> list[str]:
    found = planned(jobs(parsed(composer, texts), zipped), composer.point).points
    return [canonical(point.point) for point in found]


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.filter_too_much])
@given(texts=OVERRIDES)
def test_same_points_in_the_same_order(composer: Composer, texts: list[str]) -> None:
    compare(composer, texts)


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(texts=OVERRIDES)
def test_same_points_in_the_same_order_of_many(composer: Composer, texts: list[str]) -> None:
    compare(composer, texts)


def compare(composer: Composer, texts: list[str]) -> None:
    """Hold our points against Hydra's."""
    every = [*FIXED, *texts]
    assume(len(BasicSweeper.split_arguments(parsed(composer, every), max_batch_size=None)[0]) <= MOST)
    assert by_us(composer, every) == by_hydra(composer, every)


ZIPPED = given(texts=OVERRIDES, seeds=st.permutations(["1", "2", "3"]), degrees=st.permutations(["2", "4", "8"]))


@settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.filter_too_much])
@ZIPPED
def test_zipped_keys_are_the_diagonal_of_hydras_product(
    composer: Composer, texts: list[str], seeds: list[str], degrees: list[str]
) -> None:
    compare_zipped(composer, texts, seeds, degrees)


@pytest.mark.slow
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.filter_too_much])
@ZIPPED
def test_zipped_keys_are_the_diagonal_of_hydras_product_in_many_cases(
    composer: Composer, texts: list[str], seeds: list[str], degrees: list[str]
) -> None:
    compare_zipped(composer, texts, seeds, degrees)


def compare_zipped(composer: Composer, texts: list[str], seeds: list[str], degrees: list[str]) -> None:
    """Hold our points against those of Hydra's product that lie on the diagonal."""
    others = [text for text in texts if "run" not in text.partition("=")[0] and "sharing" not in text]
    own = [f"run.seed={','.join(seeds)}", f"sharing.degree={','.join(degrees)}"]
    pairs = {(int(seed), int(degree)) for seed, degree in zip(seeds, degrees, strict=True)}

    every = [*FIXED, *others, *own]
    (batch,) = BasicSweeper.split_arguments(parsed(composer, every), max_batch_size=None)
    assume(len(batch) <= 2 * MOST)
    points = [composed(composer, tuple(overrides)) for overrides in batch if _no_schema(overrides)]
    diagonal = [point for point in points if (point["run"]["seed"], point["sharing"]["degree"]) in pairs]
    assert sorted(by_us(composer, every, [["run.seed", "sharing.degree"]])) == sorted(
        dict.fromkeys(map(canonical, diagonal))
    )


@pytest.mark.parametrize(
    ("texts", "points"),
    [
        (("run.seed=1", "++run.seed=1,2,3"), 3),
        (("run.seed=1,2,3,4", "++run.seed=5"), 1),
        (("++run.seed=5", "run.seed=1,2"), 2),
        (("++run.seed=5,6", "run.seed=1"), 1),
        (("run.seed=1,2", "run.seed=4,8,9"), 3),
        (("run={seed:1},{seed:2}", "++run.seed=3"), 1),
        (("run.seed=3", "run={seed:1},{seed:2}"), 2),
        (("run.seed=3,4", "++run={replicates:3},{replicates:4}"), 4),
    ],
)
def test_the_same_key_twice(composer: Composer, texts: tuple[str, ...], points: int) -> None:
    every = [*FIXED, *texts]
    assert len(by_us(composer, every)) == points
    assert by_us(composer, every) == by_hydra(composer, every)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(["run.seed=1,2", "+run.seed=3"])))
def test_what_hydra_refuses_is_refused(composer: Composer, first: str, second: str) -> None:
    for make in (by_us, by_hydra):
        with pytest.raises(Exception, match=r"An item is already at 'run\.seed'"):
            make(composer, [*FIXED, first, second])


def test_a_choice_without_effect_is_named(composer: Composer) -> None:
    said = replaced(
        parsed(composer, ["run.seed=1,2", "policy=copy", "run.seed=4,8", "run.tick_s=1,2", "++run.tick_s=3"])
    )
    assert said == [
        "run.seed=1,2 has no effect: run.seed=4,8 has the same key, and comes later",
        "run.tick_s=1,2 has no effect: ++run.tick_s=3 has the same key, and comes later",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("range(0.5,0.9,0.1)", [0.5, 0.6, 0.7, 0.8]),
        ("range(0,1,0.1)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("range(1,0,-0.3)", [1.0, 0.7, 0.4, 0.1]),
        ("range(0.1,0.1,0.1)", []),
        ("range(1e-3,3e-3,1e-3)", [0.001, 0.002]),
    ],
)
def test_float_ranges_have_no_noise_and_no_end(composer: Composer, text: str, wanted: list[float]) -> None:
    from hydra_plugins.thpsweep_launcher._overrides import values

    (override,) = parsed(composer, [f"run.tick_s={text}"])
    assert values(override) == [str(value) for value in wanted]


def test_jobs_of_a_key_given_twice_have_its_last_value_only(composer: Composer) -> None:
    made = jobs(parsed(composer, ["run.seed=1,2", "++run.seed=5,6"]))
    assert made == [Job((f"++run.seed={n}",), {"run.seed": str(n)}) for n in (5, 6)]
