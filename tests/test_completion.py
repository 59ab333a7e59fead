"""What a shell completes: verbs, options of groups, and nothing where a line is not ready."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.place import Place
from thpsweep import cli
from thpsweep.arguments import HYDRA_VERBS, PLAIN_VERBS


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("line", ["thpsweep sweep policy=in", "thpsweep policy=in"])
def test_shells_complete_group_options(place: Place, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert place.run("-sc", "query=bash").stdout.split() == [
        "policy=incremental",
        "policy=inplace",
        "policy=inplace_pmd",
    ]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("thpsweep s", ["status", "sweep", "sync"]),
        ("thpsweep status sweeps/a", []),  # the shell then completes files
        ("thpsweep sweep sharing.degree=1,,", []),
    ],
)
def test_shells_complete_verbs_and_are_told_of_no_errors(
    place: Place, monkeypatch: pytest.MonkeyPatch, line: str, wanted: list[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    ended = place.run("-sc", "query=bash")
    assert (sorted(ended.stdout.split()), ended.stderr) == (wanted, "")


def test_every_verb_is_completed() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = set(re.findall(r"^    (\w+)\b", said.getvalue(), re.MULTILINE))
    assert shown == {*HYDRA_VERBS, *PLAIN_VERBS}
