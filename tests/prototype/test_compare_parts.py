"""Plays are drawn, written and read without loss, and a difference is found wherever it is."""

import dataclasses

import numpy as np
import pytest

from thpsweep.linux.prototype.compare.differ import FIELDS, differences
from thpsweep.linux.prototype.compare.draw import MECHANISMS, draw
from thpsweep.linux.prototype.compare.kernel import did, kernel_results, process
from thpsweep.linux.prototype.compare.model import model_result
from thpsweep.linux.prototype.compare.script import script
from thpsweep.linux.prototype.compare.state import MappedRegion, PlayResult, runs
from thpsweep.linux.prototype.compare.steps import Collapse, Drop, Exit, Fork, Play, Read, Refer, Release, Write
from thpsweep.linux.prototype.errors import PrototypeError

SEEDS = range(70)


def test_the_same_seed_is_the_same_play_and_all_kinds_of_steps_come():
    assert draw(5) == draw(5) != draw(12)
    kinds = {type(step) for seed in SEEDS for step in draw(seed).steps}
    assert kinds == {Write, Read, Drop, Fork, Exit, Refer, Release, Collapse}
    assert {draw(seed).mechanism for seed in SEEDS} == set(MECHANISMS)
    assert max(draw(seed).processes for seed in range(200)) > 50


@pytest.mark.parametrize("seed", range(14))
def test_only_living_processes_act(seed):
    living = {0}
    for step in draw(seed).steps:
        assert step.process in living
        living |= {step.child} if isinstance(step, Fork) else set()
        living -= {step.process} if isinstance(step, Exit) else set()


@pytest.mark.parametrize("seed", range(21))
def test_no_process_of_the_model_ever_reads_what_it_did_not_write(seed):
    assert all(seen.wrong == 0 for state in model_result(draw(seed)).states for seen in state.values())


def as_printed(play, told):
    """Print a play as a test machine would that came to the same as the model."""
    lines = [f"family {play.seed}"]
    states = list(zip(told.states, told.small_folios, strict=True))
    collapses = [step for step in play.steps if isinstance(step, Collapse)]
    for number, (state, small) in enumerate(states):
        if number < len(told.did):
            counts = told.did[number].counts
            named = {mine: counts.get(its, 0) for mine, its in FIELDS[collapses[number].mechanism].items()}
            fields = " ".join(f"{name}={value}" for name, value in named.items())
            lines.append(f"did op=x rc=0 code={told.did[number].result} {fields} why=-")
        for who, seen in state.items():
            head = f"state {who} huge={seen.huge_kib} rss={seen.rss_kib} bad={seen.wrong}"
            lines.append(f"{head} {runs(seen)}")
        lines.append(f"small {small}")
    return lines


@pytest.mark.parametrize("seed", range(14))
def test_a_kernel_that_comes_to_the_same_has_no_difference(seed):
    play = draw(seed)
    told = model_result(play)
    assert differences(play, kernel_results(as_printed(play, told), [play])[seed], told) == []


def first_state(told, **changes):
    """Change something of one process in the first state."""
    who, seen = next(iter(told.states[0].items()))
    changed = {**told.states[0], who: dataclasses.replace(seen, **changes)}
    return PlayResult(told.did, [changed, *told.states[1:]], told.small_folios)


def test_every_change_is_a_difference():
    play = next(play for play in map(draw, SEEDS) if play.mechanism == "switch" and len(model_result(play).did) == 1)
    model = model_result(play)
    told = kernel_results(as_printed(play, model), [play])[play.seed]
    seen: MappedRegion = next(iter(told.states[0].values()))
    other = np.where(np.arange(512) == 77, seen.mapcount + 1, seen.mapcount)
    for changes in ({"huge_kib": 2048}, {"rss_kib": 4}, {"wrong": 1}, {"mapcount": other}):
        (found,) = differences(play, first_state(told, **changes), model)
        assert found.what.startswith("state 0: process 0") and not found.reason
    fewer = PlayResult(told.did, told.states, [told.small_folios[0] + 1, *told.small_folios[1:]])
    assert len(differences(play, fewer, model)) == 1
    refused = PlayResult(
        [dataclasses.replace(told.did[0], result="PAGE_COUNT"), *told.did[1:]], told.states, told.small_folios
    )
    assert differences(play, refused, model)[0].what.endswith("result: kernel PAGE_COUNT, model -")
    for name in FIELDS["switch"]:
        more = dataclasses.replace(told.did[0], counts={**told.did[0].counts, name: told.did[0].counts[name] + 1})
        (found,) = differences(play, PlayResult([more], told.states, told.small_folios), model)
        assert f" {name}: kernel" in found.what and not found.reason


def changed(mechanism, **changes):
    """What differs of a play of a mechanism in which the kernel's first collapse came to something else."""
    play = next(
        play for play in map(draw, SEEDS) if play.mechanism == mechanism and model_result(play).did[0].result == "-"
    )
    model = model_result(play)
    told = kernel_results(as_printed(play, model), [play])[play.seed]
    counts = {name: change(told.did[0].counts) for name, change in changes.items()}
    first = dataclasses.replace(told.did[0], counts={**told.did[0].counts, **counts})
    return differences(play, PlayResult([first, *told.did[1:]], told.states, told.small_folios), model)


@pytest.mark.parametrize("mechanism", ["switch", "switch_over", "switch_page"])
@pytest.mark.parametrize("name", ["flushes", "visits", "walks"])
def test_another_count_is_not_explained(mechanism, name):
    (found,) = changed(mechanism, **{name: lambda counts: counts[name] + 7})
    assert f" {name}: kernel" in found.what and not found.reason


def test_page_by_page_the_model_flushes_each_pte():
    play = next(
        play for play in map(draw, SEEDS) if play.mechanism == "switch_page" and model_result(play).did[0].result == "-"
    )
    counts = model_result(play).did[0].counts
    assert counts["tlb_flushes"] == counts["ptes_switched"] + (counts["ptes_protected"] > 0)


def test_a_script_has_a_line_for_each_step_and_a_state_after_each_collapse():
    play = Play(3, "switch", (Write(0, 1, 5), Fork(0, 1), Refer(1, 4), Collapse(1, "switch"), Release(1), Exit(1)))
    expected = "family 3\nw 0 1 5\nf 0 1\nv 1 4\nc 1 switch 512\ns\nu 1\nx 1\ns\nend\n"
    assert script([play]).decode() == expected


def test_what_a_machine_prints_is_read():
    assert did("did op=switch rc=-11 code=PAGE_COUNT ptes=3 why=an extra=reference").counts["ptes"] == 3
    who, seen = process("state 4 huge=2048 rss=8 bad=0 500c0*3 12.0*0")
    assert (who, seen.huge_kib, seen.form[499], seen.form[500], seen.mapcount[0]) == (4, 2048, "c", ".", 3)
    with pytest.raises(PrototypeError, match="did not play"):
        kernel_results([], [draw(0)])
    with pytest.raises(PrototypeError, match="no process 9"):
        kernel_results(["family 0", "FAIL no process 9"], [draw(0)])
