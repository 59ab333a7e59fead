"""A plan has every point once, checked, or none at all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.planning.axes import Job
from thpsweep.sweep.planning.plan import Plan, planned
from thpsweep.sweep.records.point import Point


def plan_degrees(make_point: Callable[..., Point], *degrees: int) -> list[int]:
    jobs = [Job((f"sharing.degree={degree}",), {"sharing.degree": str(degree)}) for degree in degrees]
    points = planned(jobs, lambda overrides: make_point(*overrides)).points
    return [point.params["sharing.degree"] for point in points]


def test_points_keep_their_order_and_typed_params(make_point: Callable[..., Point]) -> None:
    assert plan_degrees(make_point, 4, 1, 9) == [4, 1, 9]


def test_equal_points_are_planned_once(make_point: Callable[..., Point]) -> None:
    assert plan_degrees(make_point, 4, 1, 4, 4) == [4, 1]


def test_one_bad_point_refuses_the_plan(make_point: Callable[..., Point]) -> None:
    with pytest.raises(OptionError, match=r"sharing\.degree=0"):
        plan_degrees(make_point, 4, 0)


def test_no_point_is_an_error(make_point: Callable[..., Point]) -> None:
    with pytest.raises(SweepError):
        plan_degrees(make_point)


def test_group_choice_is_named_by_its_option(make_point: Callable[..., Point]) -> None:
    jobs = [Job(("policy/trigger=khugepaged",), {"trigger": "khugepaged"})]
    (point,) = planned(jobs, lambda overrides: make_point(*overrides)).points
    assert point.params["trigger"] == "khugepaged"


def test_capture_is_identified_by_its_content(make_point: Callable[..., Point], tmp_path: Path) -> None:
    import shutil

    from thpsweep.model.workloads.captured import SAMPLES

    sample = next(SAMPLES.glob("*.npz"))
    moved = tmp_path / "moved.npz"
    shutil.copy(sample, moved)

    def compose(overrides: Sequence[str]) -> Point:
        point = make_point()
        settings = {key: value for key, value in point["workload"].items() if key not in ("regions", "present_ptes")}
        return {**point, "workload": {**settings, "kind": "captured", "path": overrides[0]}}

    points = planned([Job((str(path),), {}) for path in (sample, moved)], compose).points
    assert len(points) == 1


def test_id_of_a_sweep_ignores_the_order_of_its_points(
    make_plan: Callable[..., Plan], degrees: Callable[..., list[tuple[str, Point]]]
) -> None:
    assert make_plan(degrees(1, 2)).directory == make_plan(degrees(2, 1)).directory
    assert make_plan(degrees(1, 2)).directory != make_plan(degrees(1, 3)).directory
