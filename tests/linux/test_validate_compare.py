"""What counts as a difference between the kernel and the model."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from thpsweep.linux.validate import command, compare, run
from thpsweep.linux.validate.cases import cases
from thpsweep.linux.validate.on_model import OnModel
from thpsweep.linux.validate.random_cases import random_case
from thpsweep.linux.validate.report import show, summary, write_json
from thpsweep.linux.validate.state import State, StepResult, View
from thpsweep.linux.validate.steps import Case, collapse, start
from thpsweep.linux.validate.verdict import CaseVerdict
from thpsweep.profiles import default_file, load


def view(frames: list[int], **changed: object) -> View:
    plain: dict[str, object] = {
        "frames": np.array(frames),
        "swapped": np.zeros(len(frames), bool),
        "alone": np.zeros(len(frames), bool),
        "huge": np.zeros(1, bool),
        "rss_kib": 4 * np.count_nonzero(frames),
        "pss_kib": 4.0,
        "huge_kib": 0,
        "swap_kib": 0,
        "slack_kib": 1.0,
    }
    return View(**{**plain, **changed})


def state(*, pages: int | None = 3, **views: View) -> State:
    return State(views, pages)


def test_names_of_frames_do_not_matter_only_who_shares() -> None:
    kernel = state(p=view([7, 8, 0]), c=view([7, 9, 0]))
    assert compare.sharing(kernel, state(p=view([1, 2, 0]), c=view([1, 3, 0]))) == []
    found = compare.sharing(kernel, state(p=view([1, 2, 0]), c=view([1, 2, 0])))
    assert found == ["p: 1 pages shared with c in the kernel, 2 in the model, 1 differ"]


def test_a_page_that_is_there_on_one_side_only_differs() -> None:
    found = compare.sharing(state(p=view([7, 8])), state(p=view([1, 0])))
    assert found == ["p: 2 pages present in the kernel, 1 in the model, 1 differ"]


def test_a_frame_that_one_side_kept_differs() -> None:
    before, after = state(p=view([7, 8])), state(p=view([7, 9]))
    assert compare.kept((before, after), (before, after)) == []
    assert compare.kept((before, after), (before, before)) != []


def test_without_frames_who_maps_a_page_alone_is_compared() -> None:
    hidden = state(p=replace(view([7, 8]), frames=None, alone=np.array([True, False])))
    assert compare.sharing(hidden, state(p=view([1, 2], alone=np.array([True, False])))) == []
    found = compare.sharing(hidden, state(p=view([1, 2], alone=np.array([True, True]))))
    assert found == ["p: 1 pages mapped by one process alone on one side only"]


def test_without_pagemap_sums_are_compared() -> None:
    hidden = state(p=replace(view([7]), frames=None, swapped=None, alone=None, huge=None))
    model = state(p=view([1], huge=np.ones(1, bool), swapped=np.ones(1, bool)))
    assert compare.memory(hidden, model) == compare.sharing(hidden, model) == []
    assert compare.memory(hidden, state(p=view([1], rss_kib=8))) != []


def test_pss_may_be_off_by_rounding_rss_may_not() -> None:
    kernel = state(p=view([7], pss_kib=4.0))
    assert compare.memory(kernel, state(p=view([7], pss_kib=4.9))) == []
    assert compare.memory(kernel, state(p=view([7], pss_kib=5.1))) != []
    assert compare.memory(kernel, state(p=view([7], rss_kib=8))) != []


def test_dead_pages_of_a_folio_are_memory() -> None:
    assert compare.memory(state(p=view([7]), pages=512), state(p=view([7]), pages=1)) != []
    assert compare.memory(state(p=view([7]), pages=None), state(p=view([7]), pages=1)) == []


@pytest.mark.parametrize(
    ("kernel_kib", "model_kib", "equal"), [(0, 0, True), (4, 0, True), (-4, 0, False), (8, 0, False)]
)
def test_page_tables(kernel_kib: int, model_kib: int, equal: bool) -> None:
    assert (compare.tables(StepResult(tables_kib=kernel_kib), StepResult(tables_kib=model_kib)) == []) == equal


def test_hidden_frames_are_not_compared() -> None:
    assert compare.sharing(state(p=dataclasses.replace(view([7]), frames=None)), state(p=view([0]))) == []


@pytest.mark.parametrize(
    ("kernel", "model", "equal"),
    [
        (StepResult("SUCCEED"), StepResult("SUCCEED"), True),
        (StepResult("PAGE_COUNT", "EAGAIN"), StepResult("PAGE_COUNT", "EAGAIN"), True),
        (StepResult("PAGE_COUNT", "EAGAIN"), StepResult("EXCEED_NONE_PTE", "EAGAIN"), False),
        (StepResult("", "EAGAIN"), StepResult("PAGE_COUNT", "EAGAIN"), True),  # no trace: only the errno is known
        (StepResult("", "EAGAIN"), StepResult("NO_PTE_TABLE", "EINVAL"), False),
        (StepResult("", ""), StepResult("SUCCEED", ""), True),
        (StepResult("", ""), StepResult("NO_PTE_TABLE", "EINVAL"), False),
    ],
)
def test_outcomes(kernel: StepResult, model: StepResult, equal: bool) -> None:
    assert (compare.outcomes(kernel, model) == []) == equal


def test_the_report_counts_and_lists(tmp_path) -> None:
    case = Case("one", "a case", (start("p"),), (collapse("p"),))
    same = CaseVerdict(case, kernel=["SUCCEED"], model=["SUCCEED"], measured_ns=100_000.0, predicted_ns=90_000.0)
    other = CaseVerdict(
        case, kernel=["SUCCEED"], model=["PAGE_COUNT EAGAIN"], differences={"outcome": ["after 'x': y"]}
    )
    skipped = CaseVerdict(case, skipped="no swap")
    unheard = CaseVerdict(case, kernel=["done"], inexpressible="the scenario API has no 'pin'")
    verdicts = [same, other, skipped, unheard]
    said = summary(verdicts)
    assert said.startswith("1 of 2 scenarios equal") and "median 0.90" in said
    console = Console(record=True, width=150)
    show(verdicts, "here", console)
    printed = console.export_text()
    assert "after 'x': y" in printed and "skipped: no swap" in printed and "has no 'pin'" in printed
    write_json(verdicts, "here", [], tmp_path / "v.json")
    stored = json.loads((tmp_path / "v.json").read_text())
    assert [scenario["equal"] for scenario in stored["scenarios"]] == [True, False, False, False]


@pytest.mark.parametrize(
    ("maker", "faults", "equal"),
    [
        ("AMD", 1, True),  # one fault makes the PMD writable, and no stale entry is met: Zen 3, Linux 6.18
        ("Intel", 2, True),  # a Xeon with nested paging, Linux 6.18: the next page has a read-only TLB entry
        ("Intel", 4, True),
        ("any", 512, True),  # each page has one
        ("any", 513, False),  # none has two
        ("any", 0, False),  # one fault there has to be
    ],
)
def test_stale_tlb_entries_may_add_faults_where_a_pmd_becomes_writable(maker: str, faults: int, equal: bool) -> None:
    del maker
    case = next(case for case in cases() if case.name == "exit_pmd")
    model = OnModel(case, load(default_file()))
    for step in case.ready:
        model.do(step, StepResult())
    mine = model.do(case.question[0], StepResult())
    assert (mine.faults, mine.spurious_faults) == (1, 511)
    assert (compare.faults(StepResult(faults=faults), mine) == []) == equal


@pytest.mark.parametrize("name", ["exit_small", "cow_small", "thp_fault", "thp_write_child"])
def test_of_other_faults_every_one_is_counted(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    model = OnModel(case, load(default_file()))
    for step in case.ready:
        model.do(step, StepResult())
    mine = model.do(case.question[0], StepResult())
    assert mine.faults and mine.spurious_faults == 0
    assert compare.faults(StepResult(faults=mine.faults), mine) == []
    assert compare.faults(StepResult(faults=mine.faults + 1), mine) != []


@pytest.mark.parametrize(
    ("rounds_us", "measured_us"),
    [
        ([200, 210, 190, 205, 195], 200),
        ([200, 210, 190, 205, 2000], 205),  # one odd round moves nothing
        ([200, 900, 190, 850, 1000], None),  # a busy machine: no time
        ([200], 200),
    ],
)
def test_a_time_whose_rounds_spread_is_not_measured(rounds_us: list[float], measured_us: float | None) -> None:
    verdict = CaseVerdict(cases()[0], predicted_ns=200_000.0)
    run._time(verdict, [(ns * 1000.0, None) for ns in rounds_us])
    assert verdict.measured_ns == (None if measured_us is None else measured_us * 1000)
    assert (verdict.ratio is None) == (measured_us is None) == verdict.unsteady


def test_seeds_begin_where_they_are_told_to(capsys) -> None:
    assert command.run(command.ValidateRequest(None, [], random=3, seed=7, rounds=1, json=None, list_only=True)) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["random_7", "random_8", "random_9"]


def test_random_cases_hold_any_page_and_never_lose_a_page_table() -> None:
    steps = [step for seed in range(200) for step in random_case(seed).question]
    assert {step.verb for step in steps} >= {"hold", "pin", "release", "discard", "page_out", "age", "scan", "split"}
    assert len({step.pages.start for step in steps if step.verb in ("hold", "pin")}) > 50
    assert max(len(step.pages) for step in steps if step.verb == "discard") == 511
