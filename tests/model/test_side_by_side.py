"""Points that differ in their seeds only have, side by side, the results that they have alone, to the last digit."""

import json
from typing import Any

import pytest

from tests.model.test_pairwise import ROWS, Row, made
from thpsweep.errors import OptionError
from thpsweep.model.simulate import simulate, simulate_each

SEEDS = (7, 3, 2**40)


def seeded(one: dict[str, Any], seed: Any) -> dict[str, Any]:
    """Give a point another seed."""
    return {**one, "run": {**one["run"], "seed": seed}}


def texts(results: list[dict[str, Any]]) -> list[str]:
    """Write results as JSON, which has one way for each number, and for what is no number."""
    return [json.dumps(result) for result in results]


def same(row: Row) -> None:
    """Run the seeds of a row both ways."""
    points = [seeded(made(row), seed) for seed in SEEDS]
    assert texts(simulate_each(points)) == texts([simulate(point) for point in points])


@pytest.mark.parametrize("row", ROWS[::8], ids=lambda row: "-".join(row.values()))
def test_side_by_side_is_as_alone(row: Row) -> None:
    same(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_side_by_side_is_as_alone_for_every_pair_of_options(row: Row) -> None:
    same(row)


def test_each_seed_has_its_own_events() -> None:
    busy = next(row for row in ROWS if row["writes"] == "as it is" and row["degree"] == "24" and row["regions"] == "7")
    assert len(set(texts(simulate_each([seeded(made(busy), seed) for seed in SEEDS])))) == len(SEEDS)


def test_each_seed_is_checked() -> None:
    one = made(ROWS[0])
    with pytest.raises(OptionError, match=r"run\.seed=-1"):
        simulate_each([one, seeded(one, -1)])
