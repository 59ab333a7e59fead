"""Is one thing recommended, for the reason that there is?"""

import dataclasses
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.answers.test_advise import TODAY, result
from thpsweep import profiles
from thpsweep.answers.advise import levers, show
from thpsweep.answers.advise.chance import WalkShare, at_most, breakeven, chance
from thpsweep.answers.advise.choices import AS_SET, choices
from thpsweep.answers.advise.commands import Commands, ServiceName, collapse, service, settings
from thpsweep.answers.advise.overrides import parse, split
from thpsweep.answers.advise.recommend import Advice, Circumstances, recommend
from thpsweep.answers.advise.scene import AdviseScene
from thpsweep.answers.advise.suits import known_advice, sorted_out
from thpsweep.answers.advise.verdict import Prediction, predict
from thpsweep.answers.advise.watched import Unfit, cpus, settings_lines, settings_to_assume, unfit
from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.model.capture import files
from thpsweep.model.capture.activity import Activity, Rate
from thpsweep.model.capture.copied import copied
from thpsweep.model.capture.layout import Layout

SHARE = WalkShare.assumed(0.02)
HOUR = Circumstances(hours=1.0, share=SHARE, cpu_ms=10_000.0)


def made(name: str, net: list[float], walks: list[float] | None = None, extra_bytes: float = 0.0) -> Prediction:
    """Make a prediction whose net gain holds so much of page walks saved, at 2 % of cycles."""
    found = result(net, walks)
    found["replicates"]["cost/extra_bytes_peak"] = [extra_bytes] * len(net)
    return predict(dataclasses.replace(TODAY, name=name), found)


def test_what_surely_pays_is_recommended_in_per_cent() -> None:
    about = recommend([made("good", [200.0, 202.0], [210.0, 212.0], 2**30), made("less", [50.0, 51.0])], HOUR)
    assert about.advice is Advice.DO and about.choice.choice.name == "good"
    text = "\n".join(show.headline(about))
    assert text.startswith("Do this: good") and "saves 2 % of this tree's CPU time" in text and "1.0 GiB" in text


def test_nothing_is_an_answer() -> None:
    about = recommend([made("bad", [-50.0, -51.0])], HOUR)
    assert about.advice is Advice.NOTHING and "bad, would cost 0.51 %" in "\n".join(about.lines)


def test_a_gain_too_small_to_change_a_service_for_is_none() -> None:
    assert recommend([made("tiny", [0.5, 0.6])], HOUR).advice is Advice.NOTHING
    assert (
        recommend([made("tiny", [0.5, 0.6])], Circumstances(1.0, SHARE)).advice is Advice.DO
    )  # nobody knows what it takes


def test_where_page_walks_decide_they_are_to_be_measured() -> None:
    found = [made("perhaps", [-50.0, -50.0], [100.0, 100.0])]  # 150 ms to make up for: from 3 % of cycles on
    about = recommend(found, HOUR)
    assert (
        about.advice is Advice.MEASURE and "walk_active" in "\n".join(about.lines) and "3.0 %" in "\n".join(about.lines)
    )
    known = dataclasses.replace(HOUR, share=WalkShare.measured(0.02))
    assert recommend(found, known).advice is Advice.NOTHING


def test_an_idle_window_decides_nothing() -> None:
    idle = dataclasses.replace(HOUR, unfit=Unfit("it was idle", "put load on it"))
    about = recommend([made("good", [200.0, 202.0])], idle)
    text = "\n".join(show.headline(about))
    assert text.startswith("Measure this first: put load on it") and "best guess is good" in text


def test_what_does_not_fit_is_not_recommended_and_marked() -> None:
    small = dataclasses.replace(HOUR, room_bytes=2**20)
    found = [made("huge", [200.0, 202.0], None, 2**30), made("fits", [100.0, 102.0])]
    assert recommend(found, small).choice.choice.name == "fits"
    assert "does not fit" in "".join(show._cells(found[0], small))


def test_only_what_comes_on_top_of_khugepaged_as_set_counts() -> None:
    now = made(AS_SET, [200.0, 202.0])
    about = recommend([now, made("same", [200.0, 202.0])], HOUR)
    assert about.advice is Advice.NOTHING and "already" in about.lines[-1]


@pytest.mark.parametrize("share", [SHARE, WalkShare(0.05, 0.02, 0.1)])
def test_the_chance_is_that_of_drawn_shares(share: WalkShare) -> None:
    each = made("x", [-50.0, 10.0, 30.0], [100.0, 90.0, 120.0])
    drawn = np.exp(np.random.default_rng(1).uniform(np.log(share.low), np.log(share.high), 200_000))
    net = each.dry_values + (each.net_values - each.dry_values) * (drawn[:, None] / share.value)
    assert chance(each, share) == pytest.approx(float((net > 0).mean()), abs=0.005)
    assert at_most(each, share) == pytest.approx(float(net[drawn > 0.99 * share.high].mean()), rel=0.02)
    at = breakeven(each, share)
    assert each.dry_values + (each.net_values - each.dry_values) * at / share.value == pytest.approx(0.0, abs=1e-9)


def test_what_never_and_what_always_pays() -> None:
    assert chance(made("x", [5.0, 6.0]), SHARE) == 1 and chance(made("x", [-5.0, -6.0]), SHARE) == 0
    assert math.isinf(breakeven(made("x", [-5.0, -6.0]), SHARE)[0])


def test_more_than_all_cycles_is_never() -> None:
    """What rounding leaves of walks that nothing saves makes no break-even of 1e15 %."""
    assert math.isinf(breakeven(made("x", [-50.0, -50.0], [1e-12, 1e-12]), SHARE)[0])


@pytest.fixture
def layout() -> Layout:
    return files.load(files.find("", "redis_bgsave"))


def known(layout: Layout, **facts: int | str) -> Layout:
    return dataclasses.replace(layout, provenance={**layout.provenance, **facts})


def watched(layout: Layout, root: int, others: int, least: int, most: int, seconds: float = 30.0) -> Layout:
    facts = {
        "cpu_root_us_per_s": root, "cpu_others_us_per_s": others, "cpu_least_part_us_per_s": least,
        "cpu_most_part_us_per_s": most,
    }  # fmt: skip
    return dataclasses.replace(known(layout, **facts), activity=Activity(seconds, {}, ()))


def test_a_window_is_judged(layout: Layout) -> None:
    assert "not watched" in unfit(layout).why
    assert "idle" in unfit(watched(layout, 1_000, 2_000, 0, 5_000)).why
    assert "load changed" in unfit(watched(layout, 100_000, 400_000, 100_000, 900_000)).why
    assert "2 s only" in unfit(watched(layout, 100_000, 400_000, 400_000, 600_000, 2.0)).why
    busy = watched(layout, 100_000, 400_000, 400_000, 600_000)
    assert unfit(busy) is None and cpus(busy).whole == 0.5


def test_a_momentary_setting_is_asked_about(layout: Layout) -> None:
    hurried = known(layout, khugepaged_scan_sleep_millisecs=10, settings_held=1)
    assumed, asked = settings_to_assume(hurried, {})
    assert assumed == {"scan_sleep_millisecs": 10_000} and "was 10" in asked[0] and "Is that meant" in asked[0]
    assert settings_to_assume(hurried, {"scan_sleep_millisecs": 10}) == ({"scan_sleep_millisecs": 10}, [])
    assert settings_to_assume(layout, {}) == ({}, [])
    lines = "\n".join(settings_lines(hurried))
    assert "scan_sleep_millisecs=10" in lines and "another thpsweep" in lines
    by_name = {
        each.name: each for each in choices({**hurried.provenance, "thp_enabled": "always"}, 60.0, 9, None, assumed)
    }
    assert by_name[AS_SET].policy["trigger"]["scan_sleep_millisecs"] == 10_000
    undo = by_name["scan_sleep_millisecs=2500"].commands.undo
    assert undo[0].startswith("echo 10 > ")  # what was there comes back, whatever was assumed


@pytest.mark.parametrize(
    ("facts", "n_processes", "gone", "why"),
    [
        ({}, 2, "THP from the start", "turns THP off for itself"),
        ({"thp_disabled_processes": 2}, 2, "enabled=always", "disable-thp no"),
        ({}, 1, "MADV_COLLAPSE by parent", "no workers"),
        ({}, 2, "THP off in workers", "writes a snapshot and ends"),
        ({}, 1, "switch", "shares nothing"),
        ({"kernel_release": "5.15.0-91"}, 2, "MADV_COLLAPSE by all", "Linux 6.1"),
        ({"thp_enabled": "absent"}, 2, "enabled=always", "no transparent huge pages"),
        ({"thp_enabled": "always", "khugepaged_max_ptes_shared": 511}, 2, "max_ptes_shared=511", "so already"),
    ],
)
def test_what_makes_no_sense_is_left_out_with_a_word(layout, facts, n_processes, gone, why) -> None:
    mine = {**layout.provenance, **facts}
    kept, left = sorted_out(choices(mine, 60.0, 9), mine, n_processes)
    assert gone not in {each.name for each in kept}
    assert any(gone in line and why in line for line in left), left


def test_a_kernel_without_a_knob(layout: Layout) -> None:
    mine = {key: value for key, value in layout.provenance.items() if key != "khugepaged_max_ptes_shared"}
    kept, left = sorted_out(choices(mine, 60.0, 9), mine, 2)
    assert "max_ptes_shared=511" not in {each.name for each in kept} and "no khugepaged/max_ptes_shared" in "".join(
        left
    )


def test_the_usual_advice_is_answered(layout: Layout) -> None:
    assert "4 KiB" in known_advice(layout.provenance)[0] and known_advice({"program": "gunicorn"}) == []


def test_overrides_are_read_and_refused_in_one_line() -> None:
    found = parse(
        ["workload.reads_per_page_hour=5", "machine.cow_fault_ns=900.5", "khugepaged.scan_sleep_millisecs=10"], None
    )
    assert found.workload == {"reads_per_page_hour": 5} and found.machine == {"cow_fault_ns": 900.5}
    assert found.khugepaged == {"scan_sleep_millisecs": 10}
    machine = profiles.load(profiles.default_file())
    assert found.priced(machine).cow_fault_ns == 900.5
    for word, expected in (
        ("workload.reads_per_page=5", "reads_per_page_hour"), ("workload.path=x", "workload.KEY"),
        ("khugepaged.pages_to_scan=1.5", "a whole number"), ("sweep.track=1", "khugepaged.KEY=VALUE"),
    ):  # fmt: skip
        with pytest.raises(ThpsweepError, match=expected):
            parse([word], None)
    with pytest.raises(OptionError, match="--walk-share"):
        parse([], 1.5)
    assert split(["workload.a=1", "gunicorn", "workload.b=2"]) == (["workload.a=1"], ["gunicorn", "workload.b=2"])


def test_a_rate_above_what_was_seen_is_said(layout: Layout) -> None:
    from thpsweep.answers.advise import basis

    seen = dataclasses.replace(layout, activity=Activity(9.0, {"reads_per_page_hour": Rate(12.0, 10.0, 15.0, "")}, ()))
    file, machine = profiles.default_file(), profiles.load(profiles.default_file())
    for given, said in ((100.0, True), (14.0, False)):
        workload = {**dict.fromkeys(("reads_per_page_hour",), given)}
        every = {**_rates(), **workload}
        lines = "\n".join(basis.lines(machine, file, False, seen, every, workload))
        assert ("above what was seen: at most 15" in lines) == said and "rates given: reads_per_page_hour" in lines


def _rates() -> dict[str, float]:

    return AdviseScene(files.find("", "redis_bgsave"), profiles.load(profiles.default_file())).workload()


def test_commands_apply_and_undo_in_a_shell(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two words"
    one.write_text("1\n")
    changes, before = {str(one): 5}, {str(one): 1}
    commands = settings(changes, before)
    _shell(commands.apply)
    assert one.read_text() == "5\n"
    _shell(commands.undo)
    assert one.read_text() == "1\n"
    kept = [line.replace("/etc/tmpfiles.d", str(two)) if "'" not in str(two) else line for line in commands.keep]
    kept = [line.replace(str(two), f"'{two}'") for line in kept]
    _shell(kept)
    assert (two / "thpsweep.conf").read_text() == f"w {one} - - - - 5\n"


def test_undoing_puts_back_what_the_kernel_raised() -> None:
    """Linux 6.18 raises vm.min_free_kbytes whenever `enabled` is written; knobs of khugepaged raise nothing."""
    enabled, knob, least = "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/knob", "/proc/sys/vm/min_free_kbytes"
    before = {enabled: "madvise", knob: 1, least: 20_000}
    assert settings({enabled: "always", knob: 2}, before).undo == (
        f"echo 1 > {knob}", f"echo madvise > {enabled}", f"echo 20000 > {least}",
    )  # fmt: skip
    assert settings({knob: 2}, before).undo == (f"echo 1 > {knob}",)
    (choice,) = [
        each
        for each in choices({"thp_enabled": "madvise", "min_free_kbytes": 20_000}, 60.0, 4)
        if each.name == "enabled=always"
    ]
    assert f"echo 20000 > {least}" in choice.commands.undo


def _shell(lines: list[str] | tuple[str, ...]) -> None:
    subprocess.run(["sh", "-eu", "-c", "\n".join(lines)], check=True)


def test_a_setting_is_said_to_be_the_whole_machine_s() -> None:
    by_setting = dataclasses.replace(TODAY, commands=settings({"/sys/x": 1}, {"/sys/x": 0}))
    each = dataclasses.replace(made("good", [200.0, 202.0]), choice=by_setting)
    assert "whole machine" in "\n".join(show.headline(recommend([each], HOUR)))
    assert "whole machine" not in "\n".join(show.headline(recommend([made("good", [200.0, 202.0])], HOUR)))


def test_a_unit_gets_a_drop_in() -> None:
    commands = collapse(ServiceName("7", "web.service"), only_root=True)
    assert commands.apply[0].startswith("thpsweep collapse --pid 7 --no-children")
    assert "/etc/systemd/system/web.service.d" in commands.keep[-1] and "ExecStartPost=-+/" in commands.keep[-1]
    assert "systemctl restart web.service" in commands.undo and "daemon-reload" in commands.unkeep[0]
    assert service("gunicorn", None).pid == '"$(pgrep -o -x -- gunicorn)"' and "PID:?" in service("python3", None).pid
    assert Commands(("b",)).after("a").then("c").apply == ("a", "b", "c")


def test_all_lines_of_instructions_are_shell(layout: Layout) -> None:
    found = [
        dataclasses.replace(made(each.name, [1.0, 1.1], None, 2**20), choice=each)
        for each in choices(layout.provenance, 60.0, 9)
        if each.possible
    ]
    lines = [line for line in show.instructions(found) if line.startswith("  ") and not line.startswith("  (")]
    assert len(lines) > 20
    subprocess.run(["sh", "-n", "-c", "\n".join(lines)], check=True)
    assert all(re.match(r"  (#|echo |mkdir |rm |thpsweep |systemctl )", line) for line in lines)


def test_pages_that_workers_have_copied(layout: Layout) -> None:
    found = copied(layout)
    root = int(np.bitwise_count(layout.present[0]).sum())
    degree = layout.members.sum(axis=1)[layout.cell_members]
    shared = int(np.bitwise_count(layout.cell_slots[degree == 2]).sum())
    both = int(np.bitwise_count(layout.present[0] & layout.present[1]).sum())
    assert found.of_root == root and found.by_each == found.by_all == both - shared


def test_a_lever_is_bounded_by_what_all_have_copied(layout: Layout) -> None:
    three = dataclasses.replace(
        layout, present=layout.present[[0, 1, 1]], swapped=layout.swapped[[0, 1, 1]], huge=layout.huge[[0, 1, 1]],
        members=layout.members[:, [0, 1, 1]], parent=np.zeros(3, np.int32),
        provenance={**layout.provenance, "program": "gunicorn"},
    )  # fmt: skip
    machine = profiles.load(profiles.default_file())
    found = {each.choice.name: each for each in levers.levers(three, machine, {"worker_life_s": 0.0}, 3600.0, 2)}
    by_all = copied(layout).by_all
    freeze = found["gc.freeze() before fork"]
    assert freeze.extra_bytes.mean == -by_all * 2 * 4096
    assert freeze.net.mean == pytest.approx(by_all * 2 * machine.cow_fault_ns / 1e6)
    assert levers.levers(layout, machine, {"worker_life_s": 0.0}, 3600.0, 2) == []  # one child is no pool of workers
    assert "gc.freeze" in "\n".join(show.headline(recommend([made("bad", [-1.0, -1.1]), *found.values()], HOUR)))


def test_commands_of_what_does_not_pay_are_left_out_unless_asked_for() -> None:
    found = [made("good", [200.0, 202.0]), made("bad", [-50.0, -51.0])]
    for every, names in ((False, ["good"]), (True, ["good", "bad"])):
        heads = [line.split(" (")[0] for line in show.instructions(found, every) if not line.startswith("  ")]
        assert heads == names


def test_a_choice_that_does_nothing_says_why_in_words() -> None:
    idle = dataclasses.replace(made("idle", [0.0, 0.0]), outcomes={"EXCEED_SHARED_PTE": 7})
    assert "does nothing here: more shared ptes than max_ptes_shared" in show._cells(idle, HOUR)


def test_what_no_kernel_does_stands_below_a_line_that_says_so() -> None:
    later = dataclasses.replace(made("later", [300.0, 302.0]), choice=dataclasses.replace(TODAY, commands=Commands()))
    laid = show.table([later, made("good", [200.0, 202.0])], "title", HOUR)
    assert [*laid.columns[0].cells][1] == show.IN_NO_KERNEL


def test_without_a_unit_a_restart_is_named_once() -> None:
    lines = collapse(ServiceName("1"), only_root=False).undo
    assert len(lines) == 1 and "restart the service" in lines[0]
    assert collapse(ServiceName("1", "web.service"), only_root=False).undo[-1] == "systemctl restart web.service"
