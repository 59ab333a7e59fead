"""Does `thpsweep advise` judge by intervals, name what can be done, and say what it rests on?"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thpsweep import profiles
from thpsweep.answers.advise import basis, show
from thpsweep.answers.advise.choices import UINT_MAX, NamedPolicy, choices
from thpsweep.answers.advise.command import AdviseRequest, run
from thpsweep.answers.advise.commands import Commands
from thpsweep.answers.advise.scene import AdviseScene, planned, restarted
from thpsweep.answers.advise.suits import sorted_out
from thpsweep.answers.advise.verdict import ChoiceVerdict, later, ordered, predict
from thpsweep.errors import ThpsweepError
from thpsweep.model.capture import files
from thpsweep.model.capture.activity import Activity, Rate

TODAY = NamedPolicy("today", "", {}, Commands(("do it",)))
LATER = NamedPolicy("later", "", {})


def result(net: list[float], tlb: list[float] | None = None, **outcomes: int) -> dict[str, Any]:
    """Make a result with a net gain in each replicate, of which `tlb` is the TLB's."""
    names = ("tradeoff/payback_s", "cost/stall_max_ms", "cost/extra_bytes_peak", "cost/sharing_lost_bytes")
    flat = {name: [1.0] * len(net) for name in names}
    gain = [value + 1.0 if value else 0.0 for value in net]
    own = {"tradeoff/net_cpu_ms": net, "tradeoff/gain_cpu_ms": gain, "cost/cpu_ms": [1.0] * len(net)}
    tlb = tlb or [0.0] * len(net)
    return {"replicates": {**flat, **own, "benefit/tlb_ms_saved": tlb}, "outcomes": outcomes or {"SUCCEED": 3}}


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (result([10.0, 11.0, 12.0]), ChoiceVerdict.PAYS),
        (result([10.0, 11.0, 12.0], [20.0, 20.0, 20.0]), ChoiceVerdict.BY_TLB),
        (result([-10.0, -11.0, -12.0]), ChoiceVerdict.LOSES),
        (result([-10.0, 1.0, 12.0]), ChoiceVerdict.OPEN),
        (result([0.0, 0.0, 0.0], EXCEED_SHARED_PTE=7), ChoiceVerdict.IDLE),
    ],
)
def test_verdicts_follow_from_intervals(made: dict[str, Any], verdict: ChoiceVerdict) -> None:
    assert predict(TODAY, made).verdict is verdict


def test_every_choice_of_today_has_its_command() -> None:
    found = {
        choice.name: choice for choice in choices({"khugepaged_max_ptes_shared": 100, "thp_enabled": "always"}, 60.0, 9)
    }
    assert found["khugepaged as set"].policy["trigger"]["max_ptes_shared"] == 100
    assert found["pages_to_scan=65536"].policy["trigger"]["max_ptes_shared"] == 100
    assert found["max_ptes_shared=511"].commands.apply == (
        "echo 511 > /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_shared",
    )
    assert any("PR_SET_THP_DISABLE" in line for line in found["THP off in workers"].commands.apply)
    assert found["khugepaged as set"].commands.apply == ("# nothing: it is so",) and not found["switch"].possible


def test_khugepaged_has_to_be_let_at_the_memory_first() -> None:
    found = {choice.name: choice for choice in choices({"thp_enabled": "madvise"}, 60.0, 9)}
    for name in ("enabled=always", "max_ptes_shared=511", "THP off in workers"):
        assert any(line.startswith("echo always > ") for line in found[name].commands.apply), name


@pytest.mark.parametrize(
    ("asking", "name", "said"),
    [
        (0, "enabled=always", "none of this memory"),
        (4, "enabled=always", "4 of 9 regions"),
        (9, "khugepaged as set", ""),
    ],
)
def test_khugepaged_visits_what_asks_for_huge_pages(asking: int, name: str, said: str) -> None:
    found = {each.name: each for each in choices({"thp_enabled": "madvise", "regions_hugepage": asking}, 60.0, 9)}
    assert said in "".join(found[name].notes) and bool(found[name].notes) == bool(said)


def test_who_has_thp_off_has_to_undo_it_first() -> None:
    found = choices({"thp_enabled": "always", "thp_disabled_processes": 3}, 60.0, 9)
    for choice in found:
        assert choice.possible == any("3 processes have THP off" in note for note in choice.notes), choice.name


@pytest.fixture
def scene() -> AdviseScene:
    file = files.find("", "redis_bgsave")
    return AdviseScene(file, profiles.load(profiles.default_file()), duration_s=120.0, replicates=2)


def test_all_points_can_run_and_are_paired(scene: AdviseScene) -> None:
    wanted = choices(scene.layout.provenance, scene.tick_s, scene.layout.n_regions)
    points = planned(scene, wanted)
    assert len({point.id for point in points.values()}) >= len(wanted) - 1  # two choices may be predicted alike
    degrees = {point.point["sharing"]["degree"] for point in points.values()}
    assert degrees == {scene.layout.n_processes}


def test_a_restarted_tree_has_the_parent_s_memory_and_the_rates(scene: AdviseScene) -> None:
    anew = restarted(scene)
    pages = np.bitwise_count(scene.layout.present[0]).sum()
    assert anew["regions"] * anew["present_ptes"] == pytest.approx(pages, rel=0.02)
    assert anew["root_cold_writes_per_page_hour"] == scene.workload()["root_cold_writes_per_page_hour"]


def test_workers_that_live_shortly_shorten_the_tick(scene: AdviseScene, tmp_path: Path) -> None:
    rates = {"worker_life_s": Rate(7.5, 1, 20, "")}
    dataclasses.replace(scene.layout, activity=Activity(10.0, rates, ())).save(tmp_path / "short.npz")
    assert dataclasses.replace(scene, file=tmp_path / "short.npz").tick_s == 7.5


def test_it_says_what_was_measured_and_what_assumed(scene: AdviseScene) -> None:
    said = "\n".join(basis.lines(scene.machine, profiles.default_file(), True, scene.layout, scene.workload()))
    for words in (
        "measured",
        "assumed prices: page_free_ns, pmd_write_ns",
        "thpsweep calibrate",
        "was not watched",
        "reads_per_page_hour=60",
    ):
        assert words in said, words
    activity = Activity(10.0, {"reads_per_page_hour": Rate(12.0, 10, 15, "")}, ("writes of ghosts",))
    layout = dataclasses.replace(
        scene.layout, activity=activity, provenance={**scene.layout.provenance, "regions_nohugepage": 3}
    )
    workload = {**scene.workload(), "reads_per_page_hour": 12.0}
    said = "\n".join(basis.lines(scene.machine, profiles.default_file(), False, layout, workload))
    for words in (
        "rates watched for 10 s: reads_per_page_hour=12",
        "could not be seen here:\n  - writes of ghosts",
        "3 regions of the parent",
    ):
        assert words in said, words
    assert "thpsweep calibrate" not in said


def test_it_says_what_a_capture_assumed_or_left_out(scene: AdviseScene) -> None:
    said = {
        "sharing": "assumed: so", "frames_hidden": "no root", "ptes_shared": 9, "ptes_grouped_wrongly_at_most": 2,
        "mean_sharers": "3", "nohugepage_regions_left_out": 5, "thp_disabled_processes": 1,
    }  # fmt: skip
    layout = dataclasses.replace(scene.layout, provenance={**scene.layout.provenance, **said})
    lines = "\n".join(basis.lines(scene.machine, profiles.default_file(), False, layout, scene.workload()))
    for words in (
        "sharing is assumed: so (no root)",
        "of 9 ptes of shared pages at most 2",
        "5 regions forbid",
        "1 processes",
    ):
        assert words in lines, words


def test_what_the_machine_cannot_do_is_said_first(scene: AdviseScene) -> None:
    assert list(basis.cannot(scene.layout)) == []
    for key, value, words in (("thp_enabled", "absent", "CONFIG_TRANSPARENT_HUGEPAGE"),):
        layout = dataclasses.replace(scene.layout, provenance={**scene.layout.provenance, key: value})
        assert words in "".join(basis.cannot(layout))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"capture": None}, "--pid PID, --capture FILE.npz, --try"),
        ({"pid": 1}, "--pid PID, --capture FILE.npz, --try"),
        ({"hours": 0.0}, "--hours=0.0"),
        ({"replicates": 1}, "--replicates=1"),
    ],
)
def test_bad_requests_are_refused(scene: AdviseScene, tmp_path: Path, changed: dict[str, Any], match: str) -> None:
    made = AdviseRequest(None, scene.file, profiles.default_file(), True, tmp_path, 0.0, 1.0, 2)
    with pytest.raises(ThpsweepError, match=match):
        run(dataclasses.replace(made, **changed))


def test_instructions_name_what_to_type() -> None:
    found = [predict(TODAY, result([1.0, 1.1])), predict(LATER, result([1.0, 1.1]))]
    assert [line.strip() for line in show.instructions(found)] == ["today (; pays):", show.APPLY, "do it"]


def test_what_brings_more_stands_first_and_what_cannot_be_done_last() -> None:
    small, large = (dataclasses.replace(TODAY, name=name) for name in ("small", "large"))
    found = [predict(LATER, result([9.0, 9.1])), predict(small, result([1.0, 1.1])), predict(large, result([2.0, 2.1]))]
    assert [each.choice.name for each in ordered(found)] == ["large", "small", "later"]
    (line,) = later(found, 1.0)
    assert "no released kernel does, later would bring most" in line


@pytest.mark.slow
def test_advice_on_a_captured_file_resumes(
    scene: AdviseScene, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    request = AdviseRequest(None, scene.file, profiles.default_file(), True, tmp_path, 0.0, 0.05, 2)
    assert run(request) == 0
    first = capfd.readouterr()
    assert run(request) == 0
    again = capfd.readouterr()
    assert "already done" in again.err and again.out == first.out
    for words in (
        "Measure this first",
        "MADV_COLLAPSE by parent",
        "to be pasted",
        "What this rests on:",
        "disable-thp",
    ):
        assert words in first.out


@pytest.mark.parametrize(
    ("sleep_ms", "pages", "expected"),
    [(0, 4096, (1_000, 4_096_000)), (1, 4096, (1_000, 4_096_000)), (300, 10, (1_200, 40)), (10_000, 4096, (10_000, 4096)),
     (UINT_MAX, UINT_MAX, (UINT_MAX, UINT_MAX)), (0, UINT_MAX, (1_000, UINT_MAX))],
)  # fmt: skip
def test_every_pace_that_the_kernel_takes_is_predicted(sleep_ms, pages, expected):
    captured = {
        "thp_enabled": "always", "khugepaged_scan_sleep_millisecs": sleep_ms, "khugepaged_pages_to_scan": pages,
        "khugepaged_alloc_sleep_millisecs": UINT_MAX,
    }  # fmt: skip
    now = {each.name: each for each in choices(captured, 60.0, 9)}["khugepaged as set"]
    trigger = now.policy["trigger"]
    assert (trigger["scan_sleep_millisecs"], trigger["pages_to_scan"]) == expected
    assert any("larger passes" in note for note in now.notes) == (sleep_ms != expected[0])


def test_huge_pages_of_a_pmd_have_their_own_setting():
    on = {"thp_enabled": "never", "thp_pmd_setting": "always", "thp_pmd_enabled": "always"}
    assert "khugepaged as set" in {each.name for each in choices(on, 60.0, 9)}
    off = {"thp_enabled": "always", "thp_pmd_setting": "never", "thp_pmd_enabled": "never"}
    enabled = {each.name: each for each in choices(off, 60.0, 9)}["enabled=always"]
    assert enabled.commands.apply[0].endswith("hugepages-2048kB/enabled")


def test_thp_off_unless_advised_is_as_enabled_madvise():
    captured = {"thp_enabled": "always", "thp_pmd_enabled": "always", "thp_except_advised_processes": 9}
    by_name = {each.name: each for each in choices(captured, 60.0, 9)}
    assert "khugepaged as set" not in by_name
    assert "PR_SET_THP_DISABLE, 0" in by_name["enabled=always"].commands.apply[0]


@pytest.mark.parametrize(
    ("release", "offered", "doubted"),
    [("5.15.0-91-generic", False, False), ("6.1.0-40-amd64", True, False), ("5.14.0-427.el9.x86_64", True, True),
     ("custom", True, True)],
)  # fmt: skip
def test_nothing_is_offered_that_the_kernel_does_not_have(release: str, offered: bool, doubted: bool) -> None:
    """MADV_COLLAPSE is of Linux 6.1; of a vendor's kernel its version says little, and so the advice says."""
    known: dict[str, str | int] = {"thp_enabled": "always", "kernel_release": release}
    found, left = sorted_out(choices(known, 60.0, 9), known, 9)
    assert any("MADV_COLLAPSE by all" in line for line in left) is not offered
    today = [choice for choice in found if choice.possible]
    assert ("MADV_COLLAPSE by all" in {choice.name for choice in today}) is offered
    assert {"THP off in workers", "THP from the start"} <= {choice.name for choice in today}
    assert all(any(f"kernel {release}" in note or repr(release) in note for note in choice.notes) is doubted
               for choice in today)  # fmt: skip
    assert "switch_pmd" in {choice.name for choice in found}


@pytest.mark.parametrize(("release", "kernel"), [("6.1.0-40-amd64", "6.1.0-40-amd64"), ("5.15.0", "6.18")])
def test_the_kernel_of_the_capture_decides(scene: AdviseScene, tmp_path: Path, release: str, kernel: str) -> None:
    layout = dataclasses.replace(scene.layout, provenance={**scene.layout.provenance, "kernel_release": release})
    layout.save(tmp_path / "there.npz")
    asked = dataclasses.replace(scene, file=tmp_path / "there.npz")
    assert asked.point({}, asked.workload())["machine"]["kernel"] == kernel
