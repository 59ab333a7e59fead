"""What every workload promises: memory that fits together, events that no policy moves."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.model.points import option, point, totals
from thpsweep.model import bits, registry
from thpsweep.model.capture.start import populate
from thpsweep.model.events import draw
from thpsweep.model.events.scene import Scene
from thpsweep.model.setting import estimate, scene_key, setting
from thpsweep.model.simulate import simulate
from thpsweep.model.state.family import Family

NAMES = list(registry.options("workload"))
MECHANISMS = list(registry.options("mechanism"))
FIELDS = sorted({field.name for cls in registry.options("workload").values() for field in dataclasses.fields(cls)})
BUSY = {"worker_hot_writes_per_page_hour": 30.0, "hot_regions": 0.5, "worker_life_s": 200.0}


def small(mechanism: str, degree: int, name: str, **changed: Any) -> dict[str, Any]:
    """Make a point of a small family of any workload."""
    return point(mechanism, degree, workload=name, **{**({} if name == "captured" else {"regions": 4}), **changed})


def drawn(one: dict[str, Any], replicate: int = 0) -> list[draw.Tick]:
    """Draw all events of one replicate of a point."""
    built = setting(one)
    start = built.workload.start(built.n_sharers)
    scene = Scene(built.workload, start.n_regions, built.n_sharers, built.n_ticks, built.tick_s)
    return list(draw.ticks(scene, *built.seeds, built.scene_key, replicate))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degree", [1, 2, 5, 9])
def test_start_fits_together(name: str, degree: int) -> None:
    workload = registry.build("workload", option("workload", name))
    start = workload.start(degree)
    assert start.class_of.shape == (degree,) and start.class_of[0] == 0
    assert start.cell_slots.shape == (start.cell_region.size, 8)
    family = Family(2, start.n_regions, degree)
    populate(family, start)
    mapped = bits.count(family.records.present[family.record_of]).reshape(2, start.n_regions, degree)
    assert (mapped[0] == mapped[1]).all()
    ptes = family.gauge["small_ptes"] + family.gauge["compound_ptes"] + 512 * family.gauge["pmds"]
    assert (mapped.sum(axis=(1, 2)) == ptes).all()
    assert (mapped[:, :, 0].sum(axis=1) > 0).all(), "the root maps something"
    absent = workload.absent(degree)
    assert 0 <= absent < degree and not mapped[:, :, degree - absent :].any(), "who does not live maps nothing"


@pytest.mark.parametrize("name", NAMES)
def test_describes_its_regions(name: str) -> None:
    workload = registry.build("workload", option("workload", name))
    assert workload.describe(3)["regions"] == workload.start(3).n_regions


@pytest.mark.parametrize("name", NAMES)
def test_says_which_program_it_stands_for(name: str) -> None:
    text = registry.options("workload")[name].__doc__
    assert text and (text.startswith("Stand for ") or name == "captured")


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_numbers(name: str) -> None:
    one = small("inplace_pmd", 3, name, **BUSY)
    assert str(simulate(one)) == str(simulate(one))
    assert str(simulate(one)) != str(simulate({**one, "run": {**one["run"], "seed": 8}}))


@pytest.mark.parametrize("name", NAMES)
def test_events_know_no_policy_and_no_machine(name: str) -> None:
    asked = {"pins_per_process_hour": 60.0, "vmsplices_per_process_hour": 60.0, "swap_outs_per_page_hour": 1.0}
    copy, inplace = (small(policy, 8, name, **BUSY, **asked) for policy in ("copy", "inplace"))
    inplace["machine"] = {**inplace["machine"], "copy_page_ns": 1.0}
    assert scene_key(copy) == scene_key(inplace)
    assert scene_key(copy) != scene_key(small("copy", 4, name, **BUSY, **asked))
    both = [drawn(one) for one in (copy, inplace)]
    for mine, theirs in zip(*both, strict=True):
        for one, other in ((mine, theirs), (mine.requests, theirs.requests)):
            arrays = [field.name for field in dataclasses.fields(one) if field.name != "requests"]
            assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    for kind in ("writes", "exits", "forks"):
        assert sum(getattr(tick, kind).size for tick in both[0]) > 0
    for kind in ("pins", "vmsplices", "reclaims"):
        assert sum(getattr(tick.requests, kind).size for tick in both[0]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_replicates_do_not_depend_on_how_many_there_are(name: str) -> None:
    few, many = (small("copy", 3, name, run={"replicates": n}) for n in (1, 4))
    first, all_of_them = simulate(few)["replicates"], simulate(many)["replicates"]
    assert {metric: values[0] for metric, values in all_of_them.items()} == pytest.approx(
        {metric: values[0] for metric, values in first.items()}, abs=0, rel=0, nan_ok=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_replicates_differ(name: str) -> None:
    one, other = (drawn(small("copy", 3, name, **BUSY), replicate) for replicate in (0, 1))
    assert any(not np.array_equal(mine.writes, theirs.writes) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_living_act(name: str) -> None:
    """No write before birth or after death; nobody is born twice or dies twice; the root lives on."""
    degree = 7
    alive = set(range(degree))
    one = small("copy", degree, name, **BUSY, worker_gap_s=90.0, burst_pages_share=0.9, burst_s=500.0)
    for number, tick in enumerate(drawn(one)):
        assert number == 0 or tick.absent.size == 0
        alive -= set(tick.absent)
        assert set(tick.exits) <= alive - {0}
        alive -= set(tick.exits)
        assert not set(tick.forks) & alive
        alive |= set(tick.forks)
        assert set(tick.writes // 512 % degree) <= alive


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_runs_under_every_mechanism(name: str, mechanism: str) -> None:
    metrics = totals(simulate(small(mechanism, 4, name, run={"replicates": 1})))
    assert metrics["cost/cpu_ms"] >= 0


@pytest.mark.parametrize("name", NAMES)
def test_is_estimated_above_what_it_draws(name: str) -> None:
    one = small("none", 6, name, **BUSY, run={"replicates": 1})
    found = estimate(one)
    assert found["work"] >= 0.8 * sum(tick.writes.size for tick in drawn(one)) and found["state_bytes"] > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", FIELDS)
def test_refuses_negative_values_by_name(name: str, field: str) -> None:
    options = option("workload", name)
    if field in options and not isinstance(options[field], str):
        with pytest.raises(ValueError, match=f"workload.{field}=-1"):
            registry.build("workload", {**options, field: -1})


def test_an_option_that_came_later_leaves_the_events_as_they_were() -> None:
    one = small("copy", 4, "prefork")
    older = {name: value for name, value in one["workload"].items() if name != "write_clustering"}
    assert scene_key({**one, "workload": older}) == scene_key(one)
    assert scene_key(small("copy", 4, "prefork", write_clustering=0.5)) != scene_key(one)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("worker_life_law", "weibull"),
        ("burst_pages_share", 1.0),
        ("write_zipf_exponent", 4.5),
        ("write_clustering", 1.0),
        ("worker_life_s", float("nan")),
    ],
)
def test_refuses_impossible_values_by_name(name: str, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"workload.{field}="):
        registry.build("workload", {**option("workload", name), field: value})
