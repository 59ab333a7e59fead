"""A point's id depends on its content and on nothing else."""

import copy
import json
from collections.abc import Callable

import pytest

from thpsweep.sweep.records.point import Point, canonical, point_id, scene_id


def reordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    return value


def test_id_survives_reordering_and_a_trip_through_json(make_point: Callable[..., Point]) -> None:
    point = make_point()
    travelled = json.loads(json.dumps(reordered(point)))
    assert point_id(travelled) == point_id(point)


@pytest.mark.parametrize("override", ["sharing.degree=3", "policy=copy", "run.seed=2", "machine.cpus=3"])
def test_any_difference_is_another_id(make_point: Callable[..., Point], override: str) -> None:
    assert point_id(make_point(override)) != point_id(make_point())


def test_another_model_is_another_id(make_point: Callable[..., Point]) -> None:
    assert point_id(make_point(), model="next") != point_id(make_point())


def test_captured_file_is_known_by_content_not_by_place(make_point: Callable[..., Point]) -> None:
    here = make_point()
    here["workload"] = {"kind": "captured", "path": "/a", "sha256": "1"}
    moved, changed = copy.deepcopy(here), copy.deepcopy(here)
    moved["workload"]["path"] = "/b"
    changed["workload"]["sha256"] = "2"
    assert point_id(moved) == point_id(here) != point_id(changed)


def test_scene_is_shared_by_policies_and_machines_only(make_point: Callable[..., Point]) -> None:
    here = scene_id(make_point())
    assert scene_id(make_point("policy=copy", "machine.cpus=7")) == here
    assert scene_id(make_point("sharing.degree=3")) != here


def test_canonical_form_tells_numbers_apart_that_print_alike() -> None:
    assert canonical({"b": 0.1 + 0.2, "a": 1}) == '{"a":1,"b":0.30000000000000004}'
