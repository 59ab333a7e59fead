"""`thpsweep prototype`: run the module in a virtual machine, and say what came of it."""

from dataclasses import dataclass

from thpsweep.linux.prototype.bench import Bench, bench, say
from thpsweep.linux.prototype.kernels import kernel
from thpsweep.linux.prototype.machine import CHECKING

_PASSED, _FAILED = 0, 1
_CHECK_S, _STRESS_S = 300.0, 1800.0


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    action: str
    kernel: str


def run(request: Request) -> int:
    """Do what is asked; 1 where a check failed. Raises: ThpsweepError."""
    with bench(kernel(request.kernel)) as ready:
        say(f"booting {ready.version} under emulation; nothing is loaded into the kernel of this machine")
        return _ACTIONS[request.action](ready)


def _check(ready: Bench) -> int:
    return _checked(ready, "check", _CHECK_S)


def _stress(ready: Bench) -> int:
    return _checked(ready, "stress", _STRESS_S)


def _checked(ready: Bench, test: str, timeout_s: float) -> int:
    outcome = ready.run(test, CHECKING, timeout_s)
    passed = sum(outcome.checks.values())
    print(f"{test}: {passed} of {len(outcome.checks)} checks passed on Linux {ready.version}")
    return _PASSED if outcome.passed else _FAILED


_ACTIONS = {"check": _check, "stress": _stress}
