"""Where the share of cycles in page walks comes from: what is given, young bits, the stated range, in this order."""

import dataclasses
import math
from pathlib import Path

import pytest

from tests.answers.test_recommend import HOUR, SHARE, made
from thpsweep import profiles
from thpsweep.answers.advise.chance import WalkShare, breakeven, chance
from thpsweep.answers.advise.recommend import recommend
from thpsweep.answers.advise.scene import AdviseScene
from thpsweep.answers.analysis.inputs import _captured, _numbers
from thpsweep.answers.analysis.published import walks
from thpsweep.answers.analysis.ranges import rate_range
from thpsweep.model.capture import files
from thpsweep.model.capture.activity import WALKS, Activity, Rate
from thpsweep.model.capture.layout import content_hash
from thpsweep.shipped import machine_file

SEEN = Rate(0.03, 0.01, 0.08, "young bits")


def test_what_young_bits_showed_comes_before_the_stated_range() -> None:
    share = WalkShare.estimated(SEEN)
    assert (share.value, share.low, share.high, share.known) == (0.03, 0.01, 0.08, False)
    each = made("pays above 5 %", [-50.0, -50.0], [50 / 0.05 * 0.02] * 2)
    seen = dataclasses.replace(each, net_values=each.dry_values + 1.5 * (each.net_values - each.dry_values))
    assert chance(seen, share) == pytest.approx(math.log(0.08 / breakeven(seen, share)[0]) / math.log(8))
    text = "\n".join(
        recommend([made("perhaps", [-50.0, -50.0], [100.0, 100.0])], dataclasses.replace(HOUR, share=share)).lines
    )
    assert "This tree's are 3.0 %, 1.0 % to 8.0 % (young bits)" in text and "assumed" not in text


def test_a_lower_bound_goes_up_to_the_end_of_the_stated_range() -> None:
    share = WalkShare.estimated(dataclasses.replace(SEEN, high=None))
    assert (share.low, share.high) == (0.01, rate_range("workload.page_walk_share", 0.03).high)
    none = WalkShare.estimated(Rate(0.0, 0.0, 0.0, "none seen"))
    assert 0 < none.low <= none.value <= none.high < 1e-5


def captured(path: Path, rates: dict[str, Rate]) -> Path:
    layout = files.load(files.find("", "redis_bgsave"))
    dataclasses.replace(layout, activity=Activity(30.0, rates, ())).save(path)
    return path


def test_walks_that_were_counted_are_priced_at_the_machine_at_hand(tmp_path: Path) -> None:
    file = captured(tmp_path / "walked.npz", {WALKS: Rate(1e6, 8e5, 2e6, "seen")})
    shipped = profiles.load(machine_file("--machine", "milan_vm"))
    dear = dataclasses.replace(shipped, page_walk_ns=2 * shipped.page_walk_ns, page_walk_uncached_ns=1e3)
    scenes = [AdviseScene(file, machine) for machine in (shipped, dear)]
    shares = [scene.workload()["page_walk_share"] for scene in scenes]
    assert [scene.walk_share.value for scene in scenes if scene.walk_share] == shares
    assert shares[0] < shares[1] and shares[0] >= 1e6 * shipped.page_walk_ns / 1e9
    given = AdviseScene(file, shipped, overrides={"page_walk_share": 0.11})
    assert given.workload()["page_walk_share"] == 0.11  # a PMU's, before young bits


def test_a_sweep_over_a_captured_tree_draws_from_the_interval_that_was_captured(tmp_path: Path) -> None:
    file = captured(tmp_path / "walked.npz", {"page_walk_share": Rate(0.03, 0.01, None, "young bits")})
    workload = {"path": str(file), "sha256": content_hash(file), "page_walk_share": 0.03, "reach_exponent": 0.5}
    found = _captured(workload, _numbers(workload))
    assert {key: (one.low, one.high, one.kind) for key, one in found.items()} == {
        "workload.page_walk_share": (0.01, 0.51, "measured")
    }
    assert _captured(workload, _numbers({**workload, "page_walk_share": 0.05})) == {}  # given instead
    assert _captured({**workload, "sha256": "0"}, _numbers(workload)) == {}  # another file by now
    file.unlink()
    assert _captured(workload, _numbers(workload)) == {}


def test_advice_draws_the_share_from_the_range_that_sweeps_draw_it_from() -> None:
    stated = rate_range("workload.page_walk_share", 0.02)
    assert (SHARE.low, SHARE.high) == (stated.low, stated.high) and SHARE.how in stated.source
    assert SHARE.high == walks()[0].share
