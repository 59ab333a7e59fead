"""What others did is separated from what the kernel does by the trace it leaves: a difference without one counts."""

import pytest

from thpsweep.linux.validate.confirm import settled
from thpsweep.linux.validate.interference import DAMON, FILL, IDLE, InterferenceWatch
from thpsweep.linux.validate.steps import Case, collapse, start
from thpsweep.linux.validate.verdict import CaseVerdict

CASE = Case("one", "a case", (start("p"),), (collapse("p"),))
MOVED = "pages were migrated"


def verdict(word: str) -> CaseVerdict:
    """Make what a run came to: "a" differs without interference, "a/D" while DAMON ran, "a/M" while pages were migrated."""
    if word == "skipped":
        return CaseVerdict(CASE, skipped="no swap")
    line, _, trace = word.partition("/")
    interference = {"": [], "D": [DAMON], "M": [MOVED]}[trace]
    return CaseVerdict(CASE, differences={"memory": [line]} if line else {}, interference=interference)


@pytest.mark.parametrize(
    ("runs", "n_runs", "lines", "once"),
    [
        ([""], 1, [], []),
        (["a"], 1, ["a"], []),  # nobody else was there
        (["a/D", "a/D"], 2, ["a"], []),  # the same again
        (["a/D", "", ""], 3, [], [f"a (meanwhile: {DAMON})"]),  # not again
        (["a/M", "", ""], 3, [], [f"a (meanwhile: {MOVED})"]),
        (["a/D", "", "a/D"], 3, ["a"], []),  # again, later
        (["a/D", "b"], 2, ["b"], []),  # another one, and nobody else was there
        (["a/D", "", "a"], 3, ["a"], []),
        (["a/M", "a"], 2, ["a"], []),
        (["a/D", "b/D", "", ""], 4, [], [f"a (meanwhile: {DAMON})", f"b (meanwhile: {DAMON})"]),
        (["a/D", "b/D", "", "b/D"], 4, ["b"], []),
        (["a/D", *(f"{letter}/D" for letter in "bcdefg")], 7, ["g"], []),  # never the same, and never none
        (["a/D", *["skipped"] * 6], 7, ["a"], []),  # that is no agreement
    ],
)
def test_when_a_difference_counts(runs: list[str], n_runs: int, lines: list[str], once: list[str]) -> None:
    left = list(runs)
    found = settled(lambda: verdict(left.pop(0)))
    assert (len(runs) - len(left), found.lines, found.once) == (n_runs, lines, once)


def test_a_case_that_others_change_each_time_is_skipped_and_says_by_what() -> None:
    found = settled(lambda: verdict("a/M"))
    assert not found.equal and not found.differs and MOVED in found.skipped
    assert len(found.once) == 7


class Machine:
    """Play the files that interference is read from."""

    def __init__(self, folder) -> None:
        self.vmstat, self.proc = folder / "vmstat", folder / "proc"
        self.counts = {"thp_split_page": 5, "pgmigrate_success": 7, "pswpout": 9, "pgfault": 1}
        self.damon = self.proc / "77"
        self.damon.mkdir(parents=True)
        (self.damon / "comm").write_text("kdamond.0\n")
        self.run(100)
        (self.proc / "12").mkdir()
        (self.proc / "12" / "comm").write_text("bash\n")
        self.raise_("pgfault")

    def raise_(self, name: str) -> None:
        self.counts[name] += 1
        self.vmstat.write_text("".join(f"{key} {value}\n" for key, value in self.counts.items()))

    def run(self, ns: int) -> None:
        (self.damon / "schedstat").write_text(f"{ns} 3 4\n")


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def watch(machine) -> InterferenceWatch:
    return InterferenceWatch(machine.vmstat, machine.proc)


@pytest.mark.parametrize(
    ("counter", "verb", "found"),
    [
        ("pgfault", "write", []),
        ("thp_split_page", "write", ["folios were split"]),
        ("thp_split_page", "page_out", []),  # the step's own
        ("pgmigrate_success", "page_out", [MOVED]),
        ("pgmigrate_success", "migrate", []),
        ("pgmigrate_success", FILL, []),
        ("pgmigrate_success", "huge", [MOVED]),
        ("pswpout", "collapse", ["pages were swapped out"]),
        ("pswpout", "page_out", []),
    ],
)
def test_a_counter_shows_interference_where_the_step_itself_does_not_raise_it(
    machine, watch, counter, verb, found
) -> None:
    machine.raise_(counter)
    watch.after(verb)
    assert watch.take(verb) == found


def test_interference_is_of_the_step_in_which_it_showed(machine, watch) -> None:
    machine.raise_("pgmigrate_success")
    watch.after("write")
    watch.after("")  # nothing more when it is looked at
    assert watch.take("write") == [MOVED]
    watch.after("read")
    assert watch.take("read") == []


def test_that_damon_ran_is_interference_at_its_step(machine, watch) -> None:
    machine.run(101)
    watch.after("write")
    assert watch.take("write") == [DAMON]
    watch.after("scan")
    assert watch.take("scan") == []


def test_young_bits_that_were_moved_are_interference_at_every_later_step_that_asks_for_them(watch) -> None:
    watch.after("scan")
    assert watch.take("scan") == []
    watch.after("", idle=True)
    assert watch.take("write") == []  # what a write does hangs on no young bit
    watch.after("age")
    assert watch.take("age") == []
    watch.after("scan")
    assert watch.take("scan") == [IDLE]


def test_a_machine_without_damon_has_no_sign_of_it(machine) -> None:
    (machine.damon / "comm").unlink()
    watch = InterferenceWatch(machine.vmstat, machine.proc)
    machine.run(102)
    watch.after("scan")
    assert watch.take("scan") == []
