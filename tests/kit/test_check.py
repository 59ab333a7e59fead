"""`thpsweep new` writes what works as it is; `thpsweep check` finds each broken rule, and none in what ships."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.conftest import Load
from tests.model.points import option
from thpsweep.arguments import KINDS
from thpsweep.config.own import spec_of_own
from thpsweep.errors import ThpsweepError
from thpsweep.kit.check import check
from thpsweep.kit.lines import Line
from thpsweep.kit.new import TRY, new
from thpsweep.model import plugins, registry


def shipped() -> list[tuple[str, dict[str, Any]]]:
    """List what ships in every group that a user can write an option of."""
    found = []
    for group in KINDS:
        for name, cls in registry.shipped(group).items():
            if group in ("workload", "sharing", "memory"):
                values = option(group, name)
                path = option("workload", "captured")["path"]
                found.append(
                    (group, {key: path if value == "${workload.path}" else value for key, value in values.items()})
                )
            elif name != "none":
                found.append((group, registry.spec(cls())))
    return found


@pytest.mark.parametrize(
    ("group", "spec"), shipped(), ids=lambda value: value if isinstance(value, str) else value["kind"]
)
def test_what_ships_keeps_every_rule(group: str, spec: dict[str, Any]) -> None:
    lines = list(check(group, None, registry.spec(registry.build(group, spec))))
    assert [str(line) for line in lines if line.broken] == [] and sum(not line.info for line in lines) > 3


def written(group: str, folder: Path) -> tuple[Path, list[Line]]:
    """Write a new file and check it."""
    new(group, f"my_{group}", folder)
    file = folder / f"my_{group}.py"
    plugin = plugins.read(str(file))
    assert plugins.load(plugin) == group
    return file, list(check(group, plugin, spec_of_own(group, plugin.name)))


@pytest.mark.parametrize("group", KINDS)
def test_what_is_written_anew_is_short_and_keeps_every_rule(group: str, tmp_path: Path) -> None:
    file, lines = written(group, tmp_path)
    assert len(file.read_text().splitlines()) <= 40
    assert [str(line) for line in lines if line.broken] == []
    assert any("a worker" in line.text for line in lines)


def test_names_that_are_taken_or_none_are_refused(tmp_path: Path) -> None:
    for name, said in (("Mine", "small letters"), ("switch", "no mechanism has yet"), ("../x", "small letters")):
        with pytest.raises(ThpsweepError, match=said):
            new("mechanism", name, tmp_path)
    new("gate", "mine", tmp_path)
    with pytest.raises(ThpsweepError, match="no file yet"):
        new("gate", "mine", tmp_path)


MECHANISM = '''
import dataclasses
import numpy as np
from thpsweep.model.mechanisms.inplace import Inplace
from thpsweep.model.mechanisms.copy import Copy
from thpsweep.model.mm.huge_memory import map_private
from thpsweep.outcomes import ScanResult

@dataclasses.dataclass
class Broken(BASE):
    """Break a rule."""

    outcomes = {"COLD": "left alone"}
    limit: int = 1

    def attempt(self, visit):
        BODY
'''


def mutant(load: Load, body: str, base: str = "Inplace") -> list[str]:
    """Check a mechanism that does one thing wrong; give what was broken, in words."""
    text = MECHANISM.replace("BASE", base).replace("BODY", body.replace("\n", "\n        "))
    plugin = load("broken", text)
    return [str(line) for line in check("mechanism", plugin, spec_of_own("mechanism", "broken")) if line.broken]


@pytest.mark.parametrize(
    ("base", "body", "said"),
    [
        ("Inplace", "return super().attempt(visit) + 90", "gave 90 for"),
        ("Inplace", "super().attempt(visit)\nreturn np.full(visit.rows.size, self.outcome('COLD'))", "(COLD|COLD for) "),
        ("Inplace", "return np.full(visit.rows.size, ScanResult.PAGE_COUNT)", "PAGE_COUNT for .* and counted 0 aborts"),
        ("Inplace", "visit.counts.total['aborts'] += 1\nreturn super().attempt(visit)", "aborts"),
        ("Inplace", "r = super().attempt(visit)\nvisit.counts.total['collapses'][:] = 0\nreturn r", "counted 0 collapses"),
        ("Inplace", "r = super().attempt(visit)\nfor k in ('migration_entries_set', 'ptes_restored'):\n"
                    "    visit.counts.total[k][:] = 0\nreturn r", "0 pte updates were counted"),
        ("Inplace", "r = super().attempt(visit)\nvisit.family.gauge['compound_ptes'][0] += 1\nreturn r", "page tables hold"),
        ("Inplace", "visit.counts.total['forks'] -= 1\nreturn super().attempt(visit)", "below zero: forks"),
        ("Inplace", "self.limit += 1\nr = np.full(visit.rows.size, self.outcome('COLD'))\nodd = np.arange(r.size) % 2 == 1\n"
                    "r[odd] = super().attempt(visit.where(odd))\nreturn r", "one after the other"),
        ("Inplace", "return 1 / 0", r"ZeroDivisionError: division by zero at .*broken.py:\d+ in attempt\(\) \(self="),
        ("Inplace", "visit.counts.add('nothing', visit.replicates, 1)", "no counter 'nothing'; there are "),
    ],
)  # fmt: skip
def test_each_broken_rule_is_said_in_words(load: Load, base: str, body: str, said: str | None) -> None:

    broken = mutant(load, body, base)
    assert (broken == ["x"][:0] or said is not None) and (
        said is None or any(re.search(said, line) for line in broken)
    ), broken


def test_a_private_copy_that_says_it_is_for_all_breaks_the_sharing(load: Load) -> None:
    text = MECHANISM.replace("BASE", "Copy").replace("BODY", "return super().attempt(visit)")
    plugin = load("broken", text.replace("    outcomes =", "    all_sharers = True\n    outcomes ="))
    broken = [str(line) for line in check("mechanism", plugin, spec_of_own("mechanism", "broken")) if line.broken]
    assert any("two processes shared a page before, and not after" in line for line in broken)


def test_one_for_all_that_says_it_is_private_moves_others(load: Load) -> None:
    text = MECHANISM.replace("BASE", "Inplace").replace("BODY", "return super().attempt(visit)")
    plugin = load("broken", text.replace("    outcomes =", "    all_sharers = False\n    outcomes ="))
    broken = [str(line) for line in check("mechanism", plugin, spec_of_own("mechanism", "broken")) if line.broken]
    assert any("ptes of other processes" in line for line in broken)


@pytest.mark.parametrize(
    ("group", "old", "new_text", "said"),
    [
        (
            "gate",
            "return so_far",
            "proposal.counts.total['forks'] += 1\n        return so_far",
            "changed the family or its",
        ),
        ("gate", "so_far + proposal.ptes <=", "so_far + proposal.ptes >", "lets pass what"),
        (
            "gate",
            "return so_far",
            "self.again = getattr(self, 'again', 0) + 1\n        return (self.again % 2) * 1e12 + so_far",
            "expected a state that follows proposal.counts",
        ),
        ("trigger", "family.rows_of(replicate, 0)", "family.rows_of(replicate, family.n_sharers - 1)", "have exited"),
        ("trigger", "family.rows_of(replicate, 0)", "np.arange(family.n_sharers)", "of the same region"),
        ("workload", "return self.load * super()", "return 1 / 0 * super()", "ZeroDivisionError"),
        (
            "workload",
            "    # start(",
            "    def describe(self, n_sharers):\n        return {'regions': 1}\n    # start(",
            "regions=1",
        ),
        ("sharing", "return 1 + self.masters", "return 0 * self.masters", "it is 0"),
        ("memory", "np.maximum(0, self.blocks", "np.maximum(5, self.blocks", "blocks add up"),
        (
            "metric",
            "        mib = ",
            "        known['cost/cpu_ms'][0][:] = 0\n        mib = ",
            "changed what it was given",
        ),
    ],
)
def test_other_groups_have_rules_too(
    load: Load, tmp_path: Path, group: str, old: str, new_text: str, said: str
) -> None:
    new(group, f"my_{group}", tmp_path)
    file = tmp_path / f"my_{group}.py"
    assert old in file.read_text()
    plugin = load(f"my_{group}", file.read_text().replace(old, new_text))
    spec = spec_of_own(group, plugin.name)
    spec = {**spec, **({"blocks": 3} if group == "memory" else {})}
    broken = [str(line) for line in check(group, plugin, spec) if line.broken]
    assert any(said in line for line in broken), broken


def test_the_command_says_it_and_ends_with_1(tmp_path: Path) -> None:
    new("gate", "mine", tmp_path)
    file = tmp_path / "mine.py"
    for text, code in ((file.read_text(), 0), (file.read_text().replace("return so_far", "return 1 / 0 + so_far"), 1)):
        file.write_text(text)
        command = [sys.executable, "-m", "thpsweep", "check", "mine.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stdout.count("ZeroDivisionError") == code  # said once, though three rules meet it


@pytest.mark.slow
@pytest.mark.parametrize("group", KINDS)
def test_it_is_swept_on_ray_as_it_is(group: str, tmp_path: Path) -> None:
    """The command that `new` prints, with few regions, in Ray's workers."""
    lines = new(group, "mine", tmp_path)
    command = (
        lines[-1].partition("thpsweep ")[2].replace("workload=prefork", "workload=prefork workload.regions=1").split()
    )
    assert TRY[group].format(name="mine").split()[0] in command
    small = ["run.replicates=1", "run.duration_s=300", "hydra/launcher=ray", "sweep.track=false"]
    small += ["workload.regions=1"] if group == "workload" else []
    done = subprocess.run(
        [sys.executable, "-m", "thpsweep", *command, *small], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if group != "metric":
        assert "mine" in done.stdout
