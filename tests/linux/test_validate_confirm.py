"""What comes once is told from what the kernel does: a difference counts when it comes twice, or never goes."""

import pytest

from thpsweep.linux.validate.confirm import settled
from thpsweep.linux.validate.steps import Case, collapse, start
from thpsweep.linux.validate.verdict import Verdict

CASE = Case("one", "a case", (start("p"),), (collapse("p"),))


def verdict(line: str) -> Verdict:
    if line == "skipped":
        return Verdict(CASE, skipped="no swap")
    return Verdict(CASE, differences={"memory": [line]} if line else {})


@pytest.mark.parametrize(
    ("runs", "n_runs", "lines", "once"),
    [
        ([""], 1, [], []),
        (["a", "a"], 2, ["a"], []),  # the same again
        (["a", "", ""], 3, [], ["a"]),  # not again
        (["a", "", "a"], 3, ["a"], []),  # again, later
        (["a", "b", "", ""], 4, [], ["a", "b"]),
        (["a", "b", "", "b"], 4, ["b"], []),
        (["a", "b", "c", "d", "e", "f", "g"], 7, ["g"], []),  # never the same, and never none
        (["a", "skipped", "skipped", "skipped", "skipped", "skipped", "skipped"], 7, ["a"], []),  # that is no agreement
    ],
)
def test_when_a_difference_counts(runs: list[str], n_runs: int, lines: list[str], once: list[str]) -> None:
    left = list(runs)
    found = settled(lambda: verdict(left.pop(0)))
    assert (len(runs) - len(left), found.lines, found.once) == (n_runs, lines, once)
