"""Real scenarios on this kernel and in the model: equal in all that is compared."""

import dataclasses

import pytest

from tests.linux.live import bench_or_skip
from thpsweep.linux.live.actor import Advice
from thpsweep.linux.validate import on_model
from thpsweep.linux.validate.cases import cases
from thpsweep.linux.validate.interference import InterferenceWatch
from thpsweep.linux.validate.on_kernel import OnKernel
from thpsweep.linux.validate.random_cases import random_case
from thpsweep.linux.validate.run import validate
from thpsweep.linux.validate.steps import Case
from thpsweep.linux.validate.verdict import CaseVerdict
from thpsweep.profiles import default_file, load

pytestmark = pytest.mark.live

CASES = {case.name: case for case in cases()}


@pytest.fixture(scope="module")
def bench():
    with bench_or_skip() as found:
        yield found


def judge(case: Case, bench) -> CaseVerdict:
    verdict = validate([case], load(default_file()), bench, rounds=1)[0]
    if verdict.skipped:
        pytest.skip(verdict.skipped)
    return verdict


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.low])
def test_the_model_does_what_this_kernel_does(name: str, bench) -> None:
    verdict = judge(CASES[name], bench)
    assert not verdict.differences and not verdict.inexpressible


@pytest.mark.parametrize("seed", range(20))
def test_the_model_does_what_this_kernel_does_at_random(seed: int, bench) -> None:
    verdict = judge(random_case(seed, plain=True), bench)
    assert not verdict.differences and not verdict.inexpressible


@pytest.mark.alone
@pytest.mark.slow
def test_the_model_does_what_this_kernel_does_at_random_for_long(bench) -> None:
    drawn = [random_case(seed, plain=True) for seed in range(20, 200)]
    verdicts = [validate([case], load(default_file()), bench, rounds=1)[0] for case in drawn]
    assert {verdict.case.name: (verdict.lines, verdict.interference) for verdict in verdicts if verdict.lines} == {}
    odd = {verdict.case.name: verdict.once for verdict in verdicts if verdict.once}
    untold = {verdict.case.name: verdict.skipped for verdict in verdicts if verdict.skipped}
    retries = sum(verdict.retries for verdict in verdicts)
    print("under interference, and not again:", odd, "untold:", untold, "retries:", retries)
    if not bench.missing:
        assert len(odd) + len(untold) + retries <= len(verdicts) // 20  # what happens more often is no accident


def test_a_seed_draws_one_case() -> None:
    assert random_case(7) == random_case(7) != random_case(8)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.low])
def test_every_sharer_finds_a_migrated_page(name: str, bench) -> None:
    assert judge(CASES[name], bench).equal


def test_what_the_model_cannot_express_is_run_live(bench, monkeypatch) -> None:
    monkeypatch.delattr(on_model.OnModel, "_pin")
    verdict = judge(CASES["pin_before_fork"], bench)
    assert "'pin'" in verdict.inexpressible and verdict.model == [] and not verdict.equal
    if "tracefs" not in bench.missing:
        assert verdict.kernel == ["PAGE_COUNT EAGAIN", "SUCCEED"]


def test_a_model_that_forgets_a_write_is_caught(bench, monkeypatch) -> None:
    monkeypatch.setattr(on_model.OnModel, "_write", lambda self, step: None)
    verdict = judge(CASES["cow_small"], bench)
    assert "memory" in verdict.differences
    assert "frames" in bench.missing or "sharing" in verdict.differences


def test_a_model_that_miscounts_faults_is_caught(bench, monkeypatch) -> None:
    if "tracefs" in bench.missing:
        pytest.skip(bench.missing["tracefs"])
    monkeypatch.setattr(on_model, "_FAULTS", ("minor_faults", "reuse_faults"))
    assert judge(CASES["cow_small"], bench).lines == ["after 'c write 0..511': page faults: kernel 512, model 0"]


def test_a_model_that_keeps_frames_over_a_collapse_is_caught(bench, monkeypatch) -> None:
    monkeypatch.setattr(on_model.OnModel, "_collapse", lambda self, step: ("SUCCEED", ""))
    differences = judge(CASES["collapse_child"], bench).differences
    assert "outcome" not in differences and "memory" in differences
    assert "frames" in bench.missing or any("kept their frame" in line for line in differences["sharing"])


def test_a_model_with_another_outcome_is_caught(bench, monkeypatch) -> None:
    monkeypatch.setattr(on_model.OnModel, "_collapse", lambda self, step: ("PAGE_COUNT", "EAGAIN"))
    assert "outcome" in judge(CASES["full"], bench).differences


def test_a_model_that_is_wrong_but_once_is_caught(bench, monkeypatch) -> None:
    write, calls = on_model.OnModel._write, []

    def first_nothing(self, step) -> None:
        calls.append(step)
        if len(calls) > 1:
            write(self, step)

    monkeypatch.setattr(on_model.OnModel, "_write", first_nothing)
    monkeypatch.setattr(
        InterferenceWatch, "_damon", lambda self: []
    )  # without other processes, as far as that can be had
    verdict = judge(CASES["full"], bench)
    assert verdict.differs and not verdict.once


@pytest.mark.parametrize("times", [1, 100])
def test_what_others_swap_out_is_told_by_its_sign(times: int, bench, monkeypatch) -> None:
    if "swap" in bench.missing:
        pytest.skip(bench.missing["swap"])
    fork, left = OnKernel._fork, [None] * times

    def swapped(self, step):
        if left and left.pop() is None:
            self._actors["p"].advise(self._memory, Advice.PAGEOUT)
        return fork(self, step)

    monkeypatch.setattr(OnKernel, "_fork", swapped)
    verdict = validate([CASES["fork_small"]], load(default_file()), bench, rounds=1)[0]
    assert not verdict.differs and all("pages were swapped out" in line for line in verdict.once)
    assert verdict.once and verdict.equal == (times == 1) and bool(verdict.skipped) == (times > 1)


def test_names_are_used_once() -> None:
    assert len(CASES) == len(cases())


def test_each_case_names_only_processes_that_it_started() -> None:
    for case in [*CASES.values(), *map(random_case, range(200))]:
        known: set[str] = set()
        for step in (*case.ready, *case.question):
            if step.verb == "start":
                known.add(step.who)
            assert set(step.who.split()) <= known, f"{case.name}: {step}"
            known |= {step.other} if step.other else set()
            known -= {step.who} if step.verb == "end" else set()


def test_a_case_is_data() -> None:
    for case in CASES.values():
        assert dataclasses.is_dataclass(case) and hash(case)
