"""A gate of a user's own that answers in another form than it was asked for is found out."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.model.points import point
from thpsweep.model.gates import always
from thpsweep.model.simulate import simulate


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda n: np.full(n, np.nan), "float64"),
        (lambda n: np.ones(n + 2, bool), "shape"),
        (lambda n: True, "True"),
        (lambda n: None, "None"),
        (lambda n: [True] * n, "True"),
    ],
)
def test_an_answer_of_another_form_is_an_error(answer: Any, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(always.Always, "allow", lambda self, state, proposal: answer(proposal.rows.size))
    with pytest.raises(ValueError, match=rf"Always\.allow\(\) gave .*{found}.*expected bool of shape"):
        simulate(point("inplace", 3))


def test_the_right_form_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataclasses.is_dataclass(always.Always)
    monkeypatch.setattr(always.Always, "allow", lambda self, state, proposal: np.zeros(proposal.rows.size, bool))
    assert simulate(point("inplace", 3))["outcomes"].keys() == {"GATE_REFUSED"}
