"""What every workload promises: memory that fits together, events that no policy moves."""

import dataclasses

import numpy as np
import pytest

from tests.model.points import option, point
from thpsweep.model import bits, events, registry
from thpsweep.model.family import Family
from thpsweep.model.simulate import scene_key, setting, simulate
from thpsweep.model.start import populate

NAMES = list(registry.members("workload"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degree", [1, 2, 5])
def test_start_fits_together(name: str, degree: int) -> None:
    start = registry.build("workload", option("workload", name)).start(degree)
    assert start.class_of.shape == (degree,) and start.class_of[0] == 0
    assert start.cell_slots.shape == (start.cell_region.size, 8)
    family = Family(2, start.n_regions, degree)
    populate(family, start)
    mapped = bits.count(family.records.present[family.record_of]).reshape(2, start.n_regions, degree)
    assert (mapped[0] == mapped[1]).all()
    ptes = family.gauge["small_ptes"] + family.gauge["compound_ptes"] + 512 * family.gauge["pmds"]
    assert (mapped.sum(axis=(1, 2)) == ptes).all()
    assert (mapped[:, :, 0].sum(axis=1) > 0).all(), "the root maps something"


@pytest.mark.parametrize("name", NAMES)
def test_describes_its_regions(name: str) -> None:
    workload = registry.build("workload", option("workload", name))
    assert workload.describe(3)["regions"] == workload.start(3).n_regions


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_numbers(name: str) -> None:
    busy = {"worker_hot_writes_per_page_hour": 30.0, "hot_regions": 0.5, "worker_life_s": 200.0}
    one = point("inplace_pmd", 3, workload=name, **busy)
    assert str(simulate(one)) == str(simulate(one))
    assert str(simulate(one)) != str(simulate({**one, "run": {**one["run"], "seed": 8}}))


@pytest.mark.parametrize("name", NAMES)
def test_events_know_no_policy_and_no_machine(name: str) -> None:
    busy = {"worker_hot_writes_per_page_hour": 30.0, "hot_regions": 0.5, "worker_life_s": 200.0}
    copy, inplace = point("copy", 3, workload=name, **busy), point("inplace", 3, workload=name, **busy)
    inplace["machine"] = {**inplace["machine"], "copy_page_ns": 1.0}
    assert scene_key(copy) == scene_key(inplace)
    assert scene_key(copy) != scene_key(point("copy", 4, workload=name, **busy))
    drawn = [list(_ticks(one)) for one in (copy, inplace)]
    for mine, theirs in zip(*drawn, strict=True):
        assert np.array_equal(mine.writes, theirs.writes) and np.array_equal(mine.reborn, theirs.reborn)
    assert sum(tick.writes.size for tick in drawn[0]) > 0 and sum(tick.reborn.size for tick in drawn[0]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_replicates_do_not_depend_on_how_many_there_are(name: str) -> None:
    few, many = (point("copy", 3, workload=name, run={"replicates": n}) for n in (1, 4))
    first, all_of_them = simulate(few)["replicates"], simulate(many)["replicates"]
    assert {metric: values[0] for metric, values in all_of_them.items()} == pytest.approx(
        {metric: values[0] for metric, values in first.items()}, abs=0, rel=0, nan_ok=True
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(registry.members("workload")["prefork"])])
def test_refuses_negative_values_by_name(name: str, field: str) -> None:
    options = option("workload", name)
    if field in options and not isinstance(options[field], str):
        with pytest.raises(ValueError, match=f"workload.{field}=-1"):
            registry.build("workload", {**options, field: -1})


def _ticks(one: dict) -> "list[events.Tick]":
    built = setting(one)
    start = built.workload.start(built.n_sharers)
    scene = events.Scene(built.workload, start.n_regions, built.n_sharers, built.n_ticks, built.tick_s)
    return list(events.ticks(scene, built.seed, built.scene_key, 0))
