"""Are the keys of a profile what was measured, and can the written profile be used?"""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tests.linux.live import bench_or_skip
from thpsweep.cli import main
from thpsweep.errors import DisturbedError, LiveError, OptionError, ThpsweepError
from thpsweep.linux.calibrate import rounds
from thpsweep.linux.calibrate.prices import PRICES, priced
from thpsweep.linux.calibrate.probes import aging, interrupting, migrating
from thpsweep.linux.calibrate.rounds import Calibration, Failure, Figure, calibrate
from thpsweep.linux.calibrate.samples import line, typical_ns
from thpsweep.linux.calibrate.write import text
from thpsweep.linux.live.actor import Reply
from thpsweep.linux.live.tracing import Event
from thpsweep.linux.proc import lru_gen
from thpsweep.linux.prototype.derive import DERIVABLE, MEASURED
from thpsweep.linux.prototype.kernels import DEFAULT
from thpsweep.linux.prototype.table import load as load_tables
from thpsweep.model.accounting import prices
from thpsweep.model.machines.profile import Profile
from thpsweep.model.scenario.scenario import Scenario
from thpsweep.model.state.counts import Counts
from thpsweep.profiles import default_file, load, sources

KEYS = [field.name for field in dataclasses.fields(Profile) if field.type is float]


def collapse_ns(machine: Profile, present: int = 512, sharers: int = 1, compound: bool = False) -> float:
    """Predict a collapse in one of so many sharers of a region, by the model."""
    scene = Scenario(processes=sharers)
    process = scene.process()
    if compound:
        process.huge()
        process.split()
    else:
        process.write(range(present))
    for _ in range(sharers - 1):
        process.fork()
    before = {name: count.copy() for name, count in scene.counts.total.items()}
    process.collapse()
    done = Counts(1)
    done.total = {name: count - before[name] for name, count in scene.counts.total.items()}
    syncs_ns = done.total["global_syncs"][0] * (machine.cpus - 1) * machine.ipi_ns
    alone = dataclasses.replace(machine, ipi_ns=0.0)
    return float(prices.collapse_ns(done, alone, 1)[0] + syncs_ns)


def test_a_collapse_is_predicted_as_it_was_measured() -> None:
    """Whatever line through the present ptes is measured, the model gives it back with the keys that come of it."""
    fixed_ns, exclusive_ns, shared_ns, compound_ns = 400_000.0, 900.0, 700.0, 300.0
    raw = {
        "collapse_empty": fixed_ns, "collapse_pte_exclusive": exclusive_ns, "collapse_pte_shared": shared_ns,
        "collapse_pte_compound": compound_ns, "scan_pte": 60.0, "copy_page": 450.0, "clear_page": 270.0,
        "drop_alone": 2_600.0, "drop_absent": 1_000.0, "exit_pte_small": 100.0, "drop_ipi": 14_000.0,
    }  # fmt: skip
    measured = priced(raw) | {"ipi_receiver_ns": 0.0}  # the call's own time was measured, not its receivers'
    machine = dataclasses.replace(load(default_file()), cpus=2, **measured)
    for present in (1, 200, 512):
        assert collapse_ns(machine, present) == pytest.approx(fixed_ns + exclusive_ns * present, rel=0.01)
    assert collapse_ns(machine, sharers=4) == pytest.approx(fixed_ns + shared_ns * 512, rel=0.01)
    for sharers in (1, 4):
        assert collapse_ns(machine, sharers=sharers, compound=True) == pytest.approx(
            fixed_ns + compound_ns * 512, rel=0.01
        )


def test_a_profile_of_before_prices_folios_as_small_pages() -> None:
    """What a profile does not have has a default: subpages are cleared as pages are, freeing is part of that."""
    known = {field.name: getattr(load(default_file()), field.name) for field in dataclasses.fields(Profile)}
    old = Profile(
        **{key: value for key, value in known.items() if key not in ("pte_clear_compound_ns", "page_free_ns")}
    )
    assert (old.pte_clear_compound_ns, old.page_free_ns) == (old.pte_clear_ns, 0.0)
    with pytest.raises(OptionError, match=r"machine\.pte_clear_compound_ns"):
        dataclasses.replace(old, pte_clear_compound_ns=-2.0)


def test_a_migration_is_predicted_as_it_was_measured() -> None:
    raw = {
        "migration_page": 2_300.0, "migration_pte": 700.0, "copy_page": 460.0,
        "migration_set_traced": 470.0, "migration_restore_traced": 400.0,
    }  # fmt: skip
    machine = dataclasses.replace(load(default_file()), **priced(raw))
    assert machine.migration_entry_set_ns - machine.migration_entry_restore_ns == pytest.approx(70.0)
    counts = Counts(1)
    counts.total["pages_migrated"][:], counts.total["ptes_migrated"][:] = 10, 10 * 16
    assert prices.compaction_ns(counts, machine)[0] == pytest.approx(10 * (2_300 + 16 * 700))


def test_no_price_is_negative_however_noisy_what_it_is_from() -> None:
    """A slope between noisy figures can be: -240 ns a PMD, in one quick round beside other programs."""
    names = {name for price in PRICES for name in price.needs}
    for low in names:
        raw = {name: 100.0 for name in names} | {low: -240.0}
        assert all(value >= 0 for value in priced(raw).values()), low


def test_what_an_interrupt_takes_is_the_turns_that_are_missing() -> None:
    """A thread makes 2 turns a ns; 20 interrupts of 1.5 us in 100 us leave 70 us of turns. Who lost the CPU is left out."""
    quiet = [(200_000, 100_000)] * 40 + [(0, 100_000)] * 40
    busy = [(140_000, 100_000)] * 70 + [(10_000, 100_000)] * 40
    assert interrupting.receiver_ns(quiet, busy, 20) == pytest.approx(1_500)
    with pytest.raises(DisturbedError, match="free enough"):
        interrupting.receiver_ns(quiet[30:], busy, 20)
    with pytest.raises(DisturbedError, match="free enough"):
        interrupting.receiver_ns([], busy, 20)


def test_a_walk_that_is_not_cached_takes_as_long_as_a_cached_one_at_least() -> None:
    cached = {"load_small_256_mib": 60.0, "load_huge_256_mib": 40.0, "load_huge_1024_mib": 50.0}
    for small_ns, expected in ((150.0, 100.0), (55.0, 20.0)):
        prices = priced({**cached, "load_small_1024_mib": small_ns})
        assert (prices["page_walk_ns"], prices["page_walk_uncached_ns"]) == (20.0, expected)


def test_what_a_kernel_with_mglru_does_is_not_taken_for_classic_aging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its eviction has the same tracepoint."""
    monkeypatch.setattr(lru_gen, "is_enabled", lambda: True)
    with pytest.raises(LiveError, match="ages by MGLRU"):
        aging.aging(None)


def test_what_was_not_measured_is_no_key() -> None:
    assert priced({"copy_page": 400.0}) == {"copy_page_ns": 400.0}


def test_times_between_entries_are_of_walks_that_met_each_sharer() -> None:
    """A walk of 3 takes 2 us from the first to the last entry; others' pages, and walks cut short, are no part of it."""

    def walk(start_s: float, name: str, address: str, n: int) -> list[Event]:
        return [Event(1, start_s + i * 1e-6, name, {"addr": address}) for i in range(n)]

    events = [e for i in range(300) for e in walk(i * 1e-3, "set_migration_pte", f"{i:x}", 2 if i % 3 == 2 else 3)]
    restored = [e for i in range(300) for e in walk(1 + i * 1e-3, "remove_migration_pte", f"{i:x}", 2)]
    assert migrating._between(events + restored, "set_migration_pte", 3) == pytest.approx(1000, rel=1e-3)
    with pytest.raises(DisturbedError, match="fewer than"):
        migrating._between(events + restored, "remove_migration_pte", 3)


def test_every_price_is_a_key_of_a_profile() -> None:
    assert {price.key for price in PRICES} <= set(KEYS)
    assert len({price.key for price in PRICES}) == len(PRICES)


def test_no_price_is_negative() -> None:
    """Noise may turn a difference around."""
    raw = dict.fromkeys({name for price in PRICES for name in price.needs}, 1.0)
    raw |= {"copy_page": 1e9, "cow_fault": 1e9, "clear_page": 1e6, "load_huge_256_mib": 1e9}
    assert min(priced(raw).values()) >= 0


def test_a_line_through_exact_points() -> None:
    assert line({1.0: 5.0, 4.0: 11.0, 16.0: 35.0}) == pytest.approx((3.0, 2.0))


def test_pieces_that_waited_for_a_cpu_are_left_out() -> None:
    calm, waited = [100_000] * 6, [100_000, 160_000, 150_000]
    reply = Reply(0, 0, (*calm, *waited), (*calm, 9_000_000, 9_000_000, 9_000_000))
    assert typical_ns(reply, 10) == 10_000
    assert typical_ns(reply, 1, wall=True) == 100_000


def test_rounds_are_summed_up_by_their_median() -> None:
    values = iter([300.0, 100.0, 200.0])
    found = calibrate(None, 3, 1e9, lambda what: None, [lambda bench: {"copy_page": next(values)}])
    assert found.prices == {"copy_page_ns": Figure(200.0, 100.0, 300.0, 3)}


def test_a_difference_that_was_nothing_in_a_round_has_no_ratio() -> None:
    assert str(Figure(5.0, 0.0, 9.0, 3)) == "3 rounds, 0..9"


def test_a_probe_that_fails_is_told_and_the_others_go_on() -> None:
    def broken(bench):
        raise LiveError("no swap")

    found = calibrate(None, 2, 1e9, lambda what: None, [broken, lambda bench: {"clear_page": 5.0}])
    assert found.failures == {"broken": Failure("no swap", 2, 2, disturbed=False)}
    assert found.prices["clear_page_ns"].rounds == 2


def test_no_round_is_begun_that_does_not_fit(monkeypatch) -> None:
    clock = iter(np.arange(0.0, 1000.0, 40.0))
    monkeypatch.setattr(rounds.time, "monotonic", lambda: next(clock))
    found = calibrate(None, 100, 150.0, lambda what: None, [lambda bench: {"copy_page": 1.0}])
    assert found.prices["copy_page_ns"].rounds == 3  # 40 s each by this clock: a fourth would end at 160 s


def test_a_written_profile_says_of_each_key_where_it_comes_from(tmp_path) -> None:
    fallback = load(default_file())
    found = Calibration(
        {"copy_page_ns": Figure(412.3, 400.0, 500.0, 5)}, {}, {"swapped": Failure("no swap", 2, 5, False)}
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text("mine", found, fallback))
    written = load(path)
    assert (written.name, written.copy_page_ns, written.ipi_ns) == ("mine", 412.0, fallback.ipi_ns)
    lines = {line.partition(":")[0]: line for line in path.read_text().splitlines()}
    assert re.search(r"# measured: .*; 5 rounds, spread 1\.25, 400\.\.500$", lines["copy_page_ns"])
    for key in KEYS:
        assert re.search(r"# (measured|derived|assumed): ", lines[key])
        assert key == "copy_page_ns" or "assumed: of profile milan_vm" in lines[key]
    assert "# Not measured by swapped in 2 of 5 rounds, no swap" in path.read_text()


def test_what_no_kernel_does_is_derived_from_instruction_counts(tmp_path) -> None:
    """At half a nanosecond an instruction, a counted operation costs half its instructions; `again` is the fork counted."""
    per_pte = load_tables()[DEFAULT].per_pte
    figures = {key: Figure(0.5 * per_pte[operation], 1.0, 9.0, 5) for key, operation in MEASURED.items()}
    figures["pte_clear_compound_ns"] = Figure(428.0, 1.0, 900.0, 5)
    again = {"fork_pte_small_again": figures["fork_pte_small_ns"]}
    found = Calibration({**figures, "fork_pte_small_ns": Figure(900.0, 800.0, 1000.0, 5)}, again)
    path = tmp_path / "mine.yaml"
    path.write_text(text("mine", found, load(default_file())))
    written, known = load(path), sources(path)
    assert written.fork_pte_small_ns == 900
    for key, operation in DERIVABLE.items():
        assert getattr(written, key) == pytest.approx(0.5 * per_pte[operation], rel=0.01)
        assert known[key].kind == "derived" and known[key].is_inferred
        assert re.search(r", (\d+)\.\.\1$", known[key].text), "seven prices that agree leave no range"
    few = Calibration(dict(list(figures.items())[:2]), {})
    assert not few.by_instructions
    assert "# assumed: of profile milan_vm" in text("mine", few, load(default_file())).partition("pte_switch_ns")[2]


def test_a_written_profile_is_an_option_of_a_sweep(tmp_path) -> None:
    (tmp_path / "machine").mkdir()
    found = Calibration({"copy_page_ns": Figure(412.3, 400.0, 500.0, 5)}, {})
    (tmp_path / "machine" / "mine.yaml").write_text(text("mine", found, load(default_file())))
    command = [sys.executable, "-m", "thpsweep", "run", f"--config-dir={tmp_path}", "machine=mine", "--cfg=job"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # of its own: Hydra runs once a process
    assert yaml.safe_load(done.stdout)["machine"]["copy_page_ns"] == 412


@pytest.mark.parametrize("name", ["a.yml", "1a.yaml", "no-dash.yaml", "nowhere/a.yaml"])
def test_a_name_that_no_profile_can_have(name: str, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "--out", str(tmp_path / name)])
    assert end.value.code == 2 and "expected" in capsys.readouterr().err


def test_a_file_that_is_no_profile(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("- 1\n")
    for path in (tmp_path / "a.yaml", tmp_path / "b.yaml"):
        with pytest.raises(ThpsweepError, match="expected a machine profile"):
            load(path)


@pytest.mark.live
@pytest.mark.alone
@pytest.mark.slow
def test_a_quick_calibration_of_this_machine(tmp_path, capsys) -> None:
    with bench_or_skip("frames", "tracefs", "khugepaged", "swap"):
        pass
    out = tmp_path / "here.yaml"
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "--quick", "--out", str(out)])
    assert end.value.code == 0
    here, said = load(out), out.read_text()
    known = r": .* # (measured|derived|derived from instruction counts): "
    missing = {price.key for price in PRICES if not re.search(price.key + known, said)}
    assert missing <= excused(said)
    # What has to be so on any machine: a copy reads and writes, a clear only writes; a huge page forks cheaper than 512.
    assert 10 < here.clear_page_ns < here.copy_page_ns < 20_000
    assert here.fork_pmd_ns < 512 * here.fork_pte_small_ns
    assert here.reuse_fault_ns < here.cow_fault_ns


def excused(said: str) -> set[str]:
    """List the keys that the machine's state kept from being measured: three probes depend on it, the rest has to work."""
    failures = dict(re.findall(r"^# Not measured by (\w+) in 1 of 1 rounds, (.*)$", said, re.M))
    assert set(failures) <= {"migrating", "entering", "interrupting"}, failures
    if why := failures.get("migrating"):  # only where the kernel found next to nothing to move, ours or not
        moved = [int(ours) + int(others) for ours, others in re.findall(r"(\d+) and (\d+)", why)]
        assert why.startswith("disturbed: ") and max(moved) < 2_000, why
    for probe in ("entering", "interrupting"):
        assert failures.get(probe, "disturbed: ").startswith("disturbed: "), failures
    needs = {
        "migrating": {"migration_page", "migration_pte"},
        "entering": {"migration_set_traced", "migration_restore_traced"},
        "interrupting": {"drop_alone", "drop_ipi"},
    }
    return {price.key for price in PRICES for name in failures if needs[name] & set(price.needs)}


def test_a_probe_that_was_disturbed_is_tried_again_at_once() -> None:
    answers = iter([DisturbedError("busy"), {"clear_page": 5.0}, DisturbedError("busy"), DisturbedError("busy")])

    def unlucky(bench):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = calibrate(None, 2, 1e9, lambda what: None, [unlucky])
    assert found.prices["clear_page_ns"].rounds == 1
    assert found.failures == {"unlucky": Failure("busy", 1, 2, disturbed=True)}
