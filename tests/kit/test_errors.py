"""What a user's own file does wrong is said with file, line, point and values, in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.conftest import Load
from thpsweep.errors import PluginError
from thpsweep.kit.new import new

BOOM = '''
import dataclasses
from thpsweep.model.mechanisms.switch import Switch

@dataclasses.dataclass
class Boom(Switch):
    """Fail."""

    def attempt(self, visit):
        pages = visit.mapped.sum(axis=1)
        return pages / 0 if not pages.size else [][pages.size]
'''
SMALL = ["workload=prefork", "workload.regions=1", "run.replicates=1", "run.duration_s=120", "sharing.degree=4"]
SMALL += ["hydra/launcher=serial", "sweep.track=false"]


def sweep(where: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "thpsweep", "sweep", *arguments, *SMALL]
    return subprocess.run(command, cwd=where, capture_output=True, text=True)


def test_a_failed_point_says_file_line_values_and_what_tells_it_from_others(tmp_path: Path) -> None:
    (tmp_path / "boom.py").write_text(BOOM)
    done = sweep(tmp_path, "--plugin", "boom.py", "policy=switch,boom")
    (line,) = [line for line in done.stdout.replace("\n", " ").split("failed: ")[1:2]]
    assert done.returncode == 1
    assert line.startswith(
        "boom at prefork x4: IndexError: list index out of range at boom.py:11 in attempt() (self=<Boom>"
    )
    assert "pages=int64[1], 512..512" in line


def test_a_mechanism_that_is_named_by_its_group_alone_is_in_the_label(tmp_path: Path) -> None:
    (tmp_path / "boom.py").write_text(BOOM)
    done = sweep(tmp_path, "--plugin", "boom.py", "policy=switch", "policy/mechanism=switch,boom")
    assert "failed: switch at prefork x4 mechanism=boom: IndexError" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("old", "new_text", "said"),
    [
        ("@dataclasses.dataclass\n", "", "@dataclasses.dataclass above class Boom"),
        ('    """Fail."""', "    outcomes = {'SUCCEED': 'x'}", "with names of its own; not 'SUCCEED'"),
        ('    """Fail."""', "    counters = {'forks': 1}", "with names of its own; not 'forks'"),
        ('    """Fail."""', "    counters = {'a': Counter('a', 'b', 'no_ns')}", "one of pte_scan_ns"),
    ],
)
def test_a_class_that_is_none_is_refused_in_one_line(load: Load, old: str, new_text: str, said: str) -> None:
    head = "from thpsweep.model.state.counts import Counter\n"
    with pytest.raises(PluginError, match=r"boom\.py: expected") as raised:
        load("boom", head + BOOM.replace(old, new_text))
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new_text", "said"),
    [
        ("load: 1.0", "# load", "mine.yaml: no value of load; expected `load: VALUE`, or a default in mine.py"),
        ("load: 1.0", "lod: 1.0", "mine.yaml:2: lod: no option of mine.py; expected load?"),
        ("load: 1.0", "load: much", "mine.yaml:2: load='much': expected a value of type float"),
        ("load: 1.0", "load: {_target_: os.system}", "mine.yaml: expected values; load._target_=os.system names code"),
        ("load: 1.0", "load: [", "mine.yaml: expected KEY: VALUE lines that can be read as YAML"),
        ("load: 1.0", "load: -1.0", "workload.load=-1.0: expected 0..100"),
    ],
)
def test_a_yaml_that_is_wrong_says_what_is_there(tmp_path: Path, old: str, new_text: str, said: str) -> None:
    new("workload", "mine", tmp_path)
    file = tmp_path / "mine.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new_text))
    command = [sys.executable, "-m", "thpsweep", "plan", "--plugin", "mine.py", "workload=mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
