"""A filter answers what Python would answer, for what is in its grammar, and refuses all else at once."""

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thpsweep.errors import OptionError
from thpsweep.sweep.planning.where import Where, as_override

POINT: dict[str, Any] = {
    "workload": {"kind": "prefork", "regions": 64, "worker_life_s": 0.0},
    "sharing": {"kind": "fixed", "degree": 16},
    "policy": {"name": "mine", "trigger": {"kind": "madvise", "at_s": [60.0]}, "gate": {"kind": "always"}},
}
OTHER: dict[str, Any] = {**POINT, "workload": {"kind": "captured", "path": "x"}}

numbers = st.sampled_from(["sharing.degree", "workload.regions", "workload.worker_life_s", "3", "0.5", "-2", "1e6"])


def joined(left: str, operator: str, right: str) -> str:
    return f"({left} {operator} {right})"


arithmetic = st.recursive(
    numbers,
    lambda inner: st.builds(joined, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
    max_leaves=5,
)
comparisons = st.builds(joined, arithmetic, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), arithmetic)
expressions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(joined, inner, st.sampled_from(["and", "or"]), inner), inner.map("(not {})".format)
    ),
    max_leaves=4,
)


@given(expressions)
def test_answers_are_pythons(text: str) -> None:
    plain = (
        text.replace("sharing.degree", "16").replace("workload.regions", "64").replace("workload.worker_life_s", "0.0")
    )
    try:
        wanted = eval(plain)
    except ZeroDivisionError:
        with pytest.raises(OptionError, match=r"zero|modulo"):
            Where(text).chosen([POINT])
    else:
        assert Where(text).chosen([POINT]) == [wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sharing.degree * workload.regions < 1e6", True),
        ("workload.kind in ['prefork', 'zygote']", True),
        ("workload == 'prefork' and policy == 'mine' and policy.gate == 'always'", True),
        ("policy.trigger.at_s == [60.0]", True),
        ("60 in policy.trigger.at_s", True),
        ("1 < sharing.degree <= 16 < 17", True),
        ("2 ** 4 == sharing.degree", True),
        ("not true", False),
        ("workload.kind < 'q'", True),
        ("false or null == None", True),
    ],
)
def test_grammar(text: str, wanted: bool) -> None:
    assert Where(text).chosen([POINT]) == [wanted]


def test_a_name_that_only_other_points_have_is_null() -> None:
    assert Where("workload.path == null or workload.regions == 1").chosen([POINT, OTHER]) == [True, False]
    with pytest.raises(OptionError, match=r"workload=captured, policy=mine: workload.regions is null, not a number"):
        Where("workload.regions < 99").chosen([POINT, OTHER])


def test_a_name_that_no_point_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"in place of sharing.degre: workload.kind, .*sharing.degree"):
        Where("sharing.degre < 3").chosen([POINT])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sharing.degree <",
        "__import__('os').system('true')",
        "sharing.degree.real == 16 or len([1]) == 1",
        "().__class__ == 1",
        "[x for x in [1]] == []",
        "lambda: 1",
        "(x := 1) == 1",
        "1 if true else 2",
        "'%s' % 1 == '1' or f'{1}' == ''",
        "{1: 2} == {}",
        "policy.trigger.at_s[0] == 60",
        "1 << 99999999999 > 0",
        "~1 == 1",
        "1 is 1",
        "1j == 1",
        "b'' == 1",
        "*[1]",
        "(" * 300 + "1" + ")" * 300,
        "-" * 900 + "1 < 2",
        "not " * 240 + "true",
        "1" * 1001,
        "\0",
    ],
)
def test_what_is_not_in_the_grammar_is_refused_before_there_are_points(text: str) -> None:
    with pytest.raises(OptionError, match=r"sweep\.where"):
        Where(text)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9 > 1",
        "10.0**400 > 1",
        "(-8) ** 0.5 > 1",
        "1 / 0 > 1",
        "sharing.degree",
        "'a' * 3 == 'aaa'",
        "'a' + 'b' == 'ab'",
        "'a' < 1",
        "workload.regions and true",
        "not sharing.degree",
        "'a' in 'abc'",
        "true + 1 == 2",
        "[1] < [2]",
        "-'a' == 1",
    ],
)
def test_what_has_no_answer_is_refused_at_once(text: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(OptionError, match=r"sweep\.where"):
        Where(text).chosen([POINT])
    assert time.monotonic() - began_s < 1


def test_infinity_is_a_number() -> None:
    assert Where("workload.worker_life_s < 1e999").chosen([POINT]) == [True] and math.isinf(1e999)


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("sweep.where=a < 1", "sweep.where='a < 1'"),
        ("sweep.where=a == 'b'", r"sweep.where='a == \'b\''"),
        ("sweep.where='a' == a", r"sweep.where='\'a\' == a'"),
        ("sweep.where='a < 1'", "sweep.where='a < 1'"),
        ('sweep.where="a < 1"', 'sweep.where="a < 1"'),
        ("sweep.where=null", "sweep.where=null"),
        ("sweep.name=a < 1", "sweep.name=a < 1"),
        ("--cfg", "--cfg"),
    ],
)
def test_an_expression_is_quoted_for_hydra_once(argument: str, wanted: str) -> None:
    assert as_override(argument) == wanted


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0$"), min_size=1).filter(lambda t: t != "null"))
def test_hydra_reads_an_expression_as_it_was_written(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    argument = as_override(f"sweep.where={text}")
    if argument != f"sweep.where={text}":
        assert OverridesParser.create().parse_override(argument).value() == text
