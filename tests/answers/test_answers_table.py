"""Does the table say what the closed forms say, and own up to what is missing?"""

import math

import pytest

from thpsweep.answers.terminal import columns, numbers, table
from thpsweep.units import size


def lines_of(sweep, **options):
    return [line.split() for line in table.text(sweep, **options).splitlines()]


def row_of(sweep, degree, policy, **options):
    (found,) = [words for words in lines_of(sweep, **options) if words[:2] == [str(degree), policy]]
    return found


def test_the_hundred_thousand_ptes_of_195_sharers(sweep_of):
    visits = {"inplace": {"SUCCEED": 4, "PTE_MAPPED_HUGEPAGE": 776}}
    sweep = sweep_of(regions=2, outcomes=visits, facts=lambda *_: {"regions": 2})
    assert row_of(sweep, 195, "inplace") == [
        "195",
        "inplace",
        "2",
        "of",
        "2",
        "199,680",
        "399,360",
        "1,022",
        "391",
        "24.0",
        "0",
        "-24.0",
        "±0.50",
        "not",
        "within",
        "the",
        "run",
    ]


def test_switch_changes_each_pte_once(sweep_of):
    assert row_of(sweep_of(regions=1), 195, "switch")[2:5] == ["–", "99,840", "99,840"]


def test_copy_shows_the_sharing_it_loses(sweep_of):
    sweep = sweep_of(regions=2)
    lost_mib = 2 * 194 * 512 * 4096 / 2**20
    assert f"{lost_mib:.0f}" == "776" and "MiB" in table.text(sweep)
    assert row_of(sweep, 195, "copy")[8] == "776"


def test_a_narrow_terminal_gets_every_number_whole(sweep_of):
    sweep = sweep_of(degrees=(1, 1024), policies=("none", "copy", "inplace_pmd"), regions=40)
    assert max(len(line) for line in table.text(sweep, width=80).splitlines()) <= 80
    assert row_of(sweep, 1024, "inplace_pmd", width=80)[2:4] == ["62,914,560", "20,440"]


def test_whatever_the_overrides_varied_is_a_column(sweep_of):
    def slices(record):
        if record["type"] == "point":
            record["params"]["policy.mechanism.ptes_per_slice"] = 64 * (record["index"] + 1)
        return record

    text = table.text(sweep_of(degrees=(4,), policies=("switch", "inplace"), change=slices))
    assert "ptes_per_slice" in text
    assert [words[1] for words in map(str.split, text.splitlines()) if words[:1] == ["4"]] == ["64", "128"]


def test_a_missing_metric_is_named_and_breaks_nothing(sweep_of):
    def without_payback(record):
        if record["type"] == "result":
            del record["result"]["metrics"]["tradeoff/payback_s"]
        return record

    text = table.text(sweep_of(change=without_payback))
    assert "not in the results: tradeoff/payback_s" in text
    assert "within the run" not in text


def test_failed_and_waiting_points_are_named(sweep_of):
    def broken(record):
        if record["type"] == "result" and record["id"].endswith("0"):
            error = {"type": "MemoryError", "message": "too large", "traceback": ""}
            return {**record, "state": "failed", "result": None, "error": error}
        return None if record["type"] == "result" and record["id"].endswith("1") else record

    text = table.text(sweep_of(degrees=(4,), policies=("copy", "inplace", "switch"), change=broken))
    assert "failed: copy at prefork x4: MemoryError: too large" in text
    assert "inplace (not run)" in text
    assert "1 of 3 points have not run" in text


def test_a_captured_row_is_explained_where_it_stands(sweep_of):
    text = table.text(sweep_of(degrees=(4,), policies=("copy",), workloads=("captured",)))
    assert "captured x4: the captured tree with 4 processes" in text
    assert "captured x" not in table.text(sweep_of(degrees=(4,), policies=("copy",)))


def test_a_refusal_is_said_once_in_words_and_shown_in_each_row(sweep_of):
    facts = {"copy": {"note_refused": "nothing was collapsed: more shared ptes than max_ptes_shared"}}
    outcomes = {"copy": {"EXCEED_SHARED_PTE": 9, "LACK_REFERENCED_PAGE": 1}}
    sweep = sweep_of(degrees=(4, 16, 64), outcomes=outcomes, facts=lambda policy, _: facts.get(policy, {}))
    text = table.text(sweep)
    assert text.count("copy at prefork x4, prefork x16, prefork x64: nothing was collapsed: more shared ptes") == 1
    assert text.count("nothing was collapsed") == 1
    assert text.count("EXCEED_SHARED_PTE") == 3 and "LACK_REFERENCED_PAGE" not in text


def test_a_note_that_differs_in_numbers_alone_is_said_once(sweep_of):
    def scaled(policy, degree):
        return {"note": f"2 captured sharers, {degree - 2} replicated", "captured_sharers": 2} if degree > 2 else {}

    text = table.text(sweep_of(degrees=(1, 64, 195), facts=scaled))
    assert text.count("replicated") == 1
    assert "prefork x64, prefork x195: 2 captured sharers, 193 replicated (numbers of prefork x195)" in text


def test_notes_of_one_policy_name_it(sweep_of):
    facts = {"switch": {"note": "no kernel has it"}}
    text = table.text(sweep_of(degrees=(4,), facts=lambda policy, _: facts.get(policy, {})))
    assert "switch at prefork x4: no kernel has it" in text


def test_a_region_that_each_process_collapses_for_itself_is_private(sweep_of):
    outcomes = {"copy": {"SUCCEED": 8, "EXCEED_SHARED_PTE": 1}}
    sweep = sweep_of(degrees=(4,), policies=("copy",), outcomes=outcomes, facts=lambda *_: {"regions": 2})
    assert row_of(sweep, 4, "copy")[2:4] == ["8", "private"]
    assert "each process collapses a copy of its own" in table.text(sweep)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ((7.2, 14_436.0, math.inf), ("min", 60.0)),
        ((7_200.0, 14_436.0), ("h", 3_600.0)),
        ((0.4, 3.0), ("s", 1.0)),
        ((math.inf, math.nan), ("s", 1.0)),
    ],
)
def test_a_column_has_one_unit_in_which_every_value_can_be_read(values, unit):
    column = next(column for column in columns.COLUMNS if column.metric == "tradeoff/payback_s")
    assert column.unit([{"tradeoff/payback_s": value} for value in values]) == unit


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (math.inf, "never"),
        (0.0123, "12.3 ms"),
        (59.94, "59.9 s"),
        (90, "1.50 min"),
        (7200, "2.00 h"),
        (864_000, "10.0 d"),
    ],
)
def test_durations_read_well(value_s, text):
    assert numbers.duration(value_s) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.001234, "0.00123"), (12.345, "12.3"), (-1234.5, "-1,234"), (math.inf, "inf")]
)
def test_three_digits(value, text):
    assert numbers.significant(value) == text


@pytest.mark.parametrize(
    ("value_bytes", "text"), [(0, "0 B"), (4096, "4.0 KiB"), (2**21, "2.0 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes(value_bytes, text):
    assert size(value_bytes) == text


def test_a_varied_sharing_shape_has_a_column() -> None:
    assert table._leading([{"workload": "w", "sharing": shape, "choices": ()} for shape in ("fixed", "tree")]) == [
        "sharing",
        "sharing.degree",
    ]
