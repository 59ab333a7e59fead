"""What every shape of sharing promises, with every workload: memory that fits together, and the shape that it names."""

import re
from typing import Any

import numpy as np
import pytest

from tests.contracts.test_workloads import small
from tests.model.points import option, totals
from thpsweep.errors import ThpsweepError
from thpsweep.model import bits, registry
from thpsweep.model.capture import files
from thpsweep.model.capture.start import Start, populate
from thpsweep.model.sharings import base
from thpsweep.model.sharings.base import Sharing
from thpsweep.model.simulate import simulate
from thpsweep.model.state.family import Family
from thpsweep.model.state.mm_slots import shared_slots

NAMES = list(registry.options("sharing"))
WORKLOADS = list(registry.options("workload"))
DEGREE = 11


def options(name: str, **changed: Any) -> dict[str, Any]:
    """Read an option of the group, with a degree that is no power of anything."""
    content = {key: option("workload", "captured")["path"] if value == "${workload.path}" else value
               for key, value in option("sharing", name).items()}  # fmt: skip
    return {**content, **({"degree": DEGREE} if "degree" in content else {}), **changed}


def begun(sharing: Sharing, workload: str, **changed: Any) -> Start:
    """Shape the start of a small workload."""
    made = registry.build("workload", small("none", 2, workload, **changed)["workload"])
    return sharing.shape(made.start(sharing.sharers))


def groups(start: Start) -> dict[tuple[int, int], set[frozenset[int]]]:
    """Say who maps the same frame, for each (region, slot), straight from the cells."""
    found: dict[tuple[int, int], set[frozenset[int]]] = {}
    expanded = bits.expand(start.cell_slots)
    for cell, region in enumerate(start.cell_region):
        sharers = frozenset(np.flatnonzero(start.cell_classes[cell][start.class_of]).tolist())
        for slot in np.flatnonzero(expanded[cell]):
            if sharers:
                found.setdefault((int(region), int(slot)), set()).add(sharers)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_start_fits_together(name: str, workload: str) -> None:
    sharing = registry.build("sharing", options(name))
    start = begun(sharing, workload)
    n_classes = start.cell_classes.shape[1]
    assert start.class_of.shape == (sharing.sharers,) and start.class_of[0] == 0
    assert start.swapped.shape == (n_classes, start.n_regions, 8) and start.pmd.shape == (n_classes, start.n_regions)
    for place, found in groups(start).items():
        assert sum(map(len, found)) == len(frozenset().union(*found)), f"{place}: a sharer maps two frames"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_state_agrees_with_the_cells(name: str, workload: str) -> None:
    """Mapcounts, gauges and the kernel's idea of shared, against a plain count over the cells."""
    sharing = registry.build("sharing", options(name))
    start = begun(sharing, workload)
    family = Family(1, start.n_regions, sharing.sharers)
    populate(family, start)
    found = groups(start)
    assert family.gauge["small_frames"] + family.gauge["folios"] * 512 >= sum(map(len, found.values()))
    ptes = family.gauge["small_ptes"] + family.gauge["compound_ptes"] + 512 * family.gauge["pmds"]
    assert ptes == sum(len(sharers) for frames in found.values() for sharers in frames)
    present = bits.expand(family.records.present[family.record_of])
    shared = bits.expand(shared_slots(family, family.record_of.astype(np.int64)))
    small_cells = not start.cell_folio.any()
    for region in range(start.n_regions):
        for slot in range(0, 512, 37):
            frames = found.get((region, slot), set())
            for sharer in range(sharing.sharers):
                row = region * sharing.sharers + sharer
                mine = [sharers for sharers in frames if sharer in sharers]
                assert present[row, slot] == len(mine)
                assert not small_cells or shared[row, slot] == (len(mine) == 1 and len(mine[0]) > 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_root_maps_what_it_did(name: str, workload: str) -> None:
    sharing = registry.build("sharing", options(name))
    made = registry.build("workload", small("none", 2, workload)["workload"])
    before, after = made.start(sharing.sharers), begun(sharing, workload)
    of_root = [{place for place, frames in groups(one).items() if any(0 in sharers for sharers in frames)}
               for one in (before, after)]  # fmt: skip
    assert of_root[0] == of_root[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_runs(name: str, workload: str) -> None:
    one = small("inplace", 2, workload, run={"replicates": 1})
    one["sharing"] = options(name)
    assert simulate(one)["facts"]["sharers"] == registry.build("sharing", options(name)).sharers


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_small_families(name: str, degree: int) -> None:
    if "degree" in options(name):
        start = begun(registry.build("sharing", options(name, degree=degree)), "prefork")
        populate(Family(1, start.n_regions, degree), start)


def test_fixed_shares_everything() -> None:
    found = groups(begun(registry.build("sharing", options("fixed")), "prefork"))
    assert set(map(frozenset, found.values())) == {frozenset({frozenset(range(DEGREE))})}


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_zipf_shares_a_region_among_the_first_few(exponent: float) -> None:
    sharing = registry.build("sharing", options("zipf", degree=100, exponent=exponent))
    for (region, _), frames in groups(begun(sharing, "prefork", regions=20)).items():
        assert frames == {frozenset(range(max(1, round(100 / (region + 1) ** exponent))))}


@pytest.mark.parametrize("fanout", [1, 2, 3, 20])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 1.0])
def test_tree_equals_forks_and_writes_done_one_by_one(fanout: int, share: float) -> None:
    sharing = registry.build("sharing", options("tree", fanout=fanout, written_share=share))
    frames: list[list[int]] = []
    generation: list[int] = []
    fresh = iter(range(1000, 10**6))
    width = round(share * 512)
    for sharer in range(DEGREE):
        parent = (sharer - 1) // fanout
        frames.append(list(frames[parent]) if sharer else list(range(512)))
        generation.append(generation[parent] + 1 if sharer else 0)
        if sharer and sharer * fanout + 1 < DEGREE:  # it will fork: it writes before
            for step in range(width):
                frames[sharer][((generation[sharer] - 1) * width + step) % 512] = next(fresh)
    expected = {}
    for slot in range(512):
        by_frame: dict[int, set[int]] = {}
        for sharer in range(DEGREE):
            by_frame.setdefault(frames[sharer][slot], set()).add(sharer)
        expected[slot] = set(map(frozenset, by_frame.values()))
    found = groups(begun(sharing, "prefork"))
    assert all(found[region, slot] == expected[slot] for region in range(4) for slot in range(512))


def test_tree_turns_what_is_written_of_a_folio_into_small_pages() -> None:
    whole_folio = Start(
        n_regions=1, class_of=np.zeros(3, np.int64), cell_region=np.zeros(1, np.int64), cell_slots=bits.full(1),
        cell_folio=np.ones(1, np.int64), cell_classes=np.ones((1, 1), bool), swapped=np.zeros((1, 1, 8), np.uint64),
        pmd=np.ones((1, 1), bool),
    )  # fmt: skip
    start = registry.build("sharing", options("tree", degree=3, fanout=1, written_share=0.25)).shape(whole_folio)
    family = Family(1, 1, 3)
    populate(family, start)
    # Sharer 1 wrote 128 pages and forked sharer 2; the root still maps the folio by its PMD.
    assert family.pmd.tolist() == [True, False, False]
    assert family.gauge["small_frames"] == 128 and family.gauge["small_ptes"] == 2 * 128
    assert family.gauge["folios"] == 1 and family.gauge["compound_ptes"] == 2 * 384


def test_captured_takes_the_number_from_the_file() -> None:
    path = option("workload", "captured")["path"]
    sharing = registry.build("sharing", options("captured"))
    assert sharing.sharers == files.load(files.find("sharing.path", path)).present.shape[0]


def test_a_shape_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_MEMBERSHIPS", 10)
    with pytest.raises(ThpsweepError, match=re.escape("sharing.degree")):
        begun(registry.build("sharing", options("tree", fanout=2)), "prefork")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [(name, "degree", value) for name in NAMES if "degree" in option("sharing", name) for value in (0, -1, 2001, 1.5)]
    + [("zipf", "exponent", -1), ("tree", "fanout", 0), ("tree", "fanout", -1), ("tree", "written_share", -1)]
    + [("tree", "written_share", 1.1), ("captured", "path", ""), ("zipf", "exponent", float("inf"))],
)
def test_refuses_by_name(name: str, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"sharing.{field}=")):
        registry.build("sharing", options(name, **{field: value}))


def test_captured_names_a_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"sharing\.path='nowhere\.npz'"):
        _ = registry.build("sharing", options("captured", path="nowhere.npz")).sharers


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_a_run_begins_with_the_shape(exponent: float) -> None:
    """inplace sets and restores one pte a page and sharer: 2 * 512 * the sum over regions of their sharers."""
    one = small("inplace", 2, "prefork", worker_hot_writes_per_page_hour=0.0, run={"replicates": 1})
    one["sharing"] = options("zipf", degree=20, exponent=exponent)
    sharers = sum(max(1, round(20 / region**exponent)) for region in range(1, 5))
    assert totals(simulate(one))["cost/pte_updates"] == 2 * 512 * sharers
