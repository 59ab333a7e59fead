"""The module in a real kernel, under emulation."""

import pytest

from thpsweep.linux.prototype.compare.command import compare, plays
from thpsweep.linux.prototype.machine import CHECKING

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prototype")]  # one machine is built for all


def test_all_checks_of_the_module_pass(machine):
    outcome = machine.run("check", CHECKING, 600.0, shown=False)
    assert outcome.failures == [] and all(outcome.checks.values()) and len(outcome.checks) >= 18


def test_families_come_to_the_same_in_model_and_kernel(machine):
    found = compare(machine, plays(21, seed=0))
    assert [one for each in found.values() for one in each if not one.reason] == []
