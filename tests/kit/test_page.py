"""What the page "Write your own" shows works as it stands there."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "thpsweep" / "kit" / "README.md").read_text()
FILES = {name: text for name, text in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)}
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SMALL = ["workload.regions=1", "run.replicates=2", "run.duration_s=300", "hydra/launcher=serial", "sweep.track=false"]


def run(line: str, where: Path) -> "subprocess.CompletedProcess[str]":
    words = shlex.split(line)[1:]
    more = SMALL if words[0] == "sweep" else []
    return subprocess.run([sys.executable, "-m", "thpsweep", *words, *more], cwd=where, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Put all of the page's files where its commands run."""
    made = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


def test_the_page_has_its_examples() -> None:
    assert set(FILES) == {"hot.py", "hot_blocks.py", "double_memory.py"} and len(COMMANDS) == 7
    assert len(FILES["hot.py"].partition("class ")[2].splitlines()) <= 12


def test_what_is_written_at_first_is_checked_and_swept(tmp_path: Path) -> None:
    for line in COMMANDS[:3]:
        done = run(line, tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "hot" in done.stdout


@pytest.mark.parametrize("line", [*COMMANDS[3:], "thpsweep check hot.py"], ids=lambda line: line[:60])
def test_the_example_grows(line: str, folder: Path) -> None:
    done = run(line, folder)
    assert done.returncode == 0 and "BROKEN" not in done.stdout, f"{done.stdout}{done.stderr}"
    if "sharing.degree" in line:
        heads = [table.read_text().splitlines()[0] for table in (folder / "sweeps").glob("*/table.csv")]
        assert any("cost/double_bytes_per_pte" in head and "cost/ptes_tested" in head for head in heads)


@pytest.mark.slow
def test_the_report_prices_a_mechanism_anew_with_its_file(folder: Path) -> None:
    run("thpsweep sweep --plugin hot_blocks.py policy=hot_blocks workload=prefork sweep.name=priced", folder)
    (sweep,) = (folder / "sweeps").glob("priced-*")
    for plugin, missing in (("", True), (re.findall(r"`thpsweep report (--plugin \w+\.py)`", PAGE)[0], False)):
        done = run(f"thpsweep report {plugin} {sweep}", folder)
        assert done.returncode == 0, done.stderr
        assert ("expected --plugin hot_blocks.py" in (sweep / "report.html").read_text()) == missing


@pytest.mark.slow
def test_an_option_of_some_of_the_policies_is_swept(folder: Path) -> None:
    (words,) = re.findall(r"`(policy=switch,hot '.*?')`", PAGE)
    (folder / "some").mkdir()
    assert run("thpsweep new mechanism hot --dir some", folder).returncode == 0
    done = run(f"thpsweep sweep --plugin some/hot.py {words} workload=prefork", folder)
    assert done.returncode == 0 and "3 points" in done.stdout, done.stdout + done.stderr
    wrong = run(f"thpsweep sweep --plugin some/hot.py {words} workload=prefork".replace("?=", "="), folder)
    assert "min_young?=VALUE sets it in those policies alone that have it" in wrong.stderr


def test_the_policy_by_one_name_is_one(folder: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (folder / "my" / "policy").mkdir(parents=True)
    (folder / "my" / "policy" / "patient.yaml").write_text(text)
    done = run("thpsweep sweep --plugin hot.py --config-dir my workload=prefork policy=patient", folder)
    assert done.returncode == 0 and "patient" in done.stdout, done.stderr


def test_the_notebook_holds() -> None:
    (text,) = re.findall(r"```python\n(>>> .*?)```", PAGE, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(text, {}, "page", None, 0)
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


def test_all_that_a_visit_shows_is_in_the_table() -> None:
    from thpsweep.model.mechanisms.visit import Visit

    shown = {name for name, member in vars(Visit).items() if isinstance(member, property) and not name.startswith("_")}
    assert all(f"`{name}`" in PAGE for name in shown), shown
