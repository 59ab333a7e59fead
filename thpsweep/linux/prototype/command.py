"""`thpsweep prototype`: run the module in a virtual machine, and say what came of it."""

from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.prototype.bench import GuestMachine, bench, say
from thpsweep.linux.prototype.compare.command import compare, plays, report
from thpsweep.linux.prototype.kernels import kernel
from thpsweep.linux.prototype.machine import CHECKING
from thpsweep.linux.prototype.price import known, price

_PASSED, _FAILED = 0, 1
_LIMIT_S = {"check": 300.0, "stress": 1800.0}


@dataclass(frozen=True)
class PrototypeRequest:
    """What the command line asks for."""

    action: str
    kernel: str
    families: int = 20
    seed: int = 0
    out: Path | None = None


def run(request: PrototypeRequest) -> int:
    """Do what is asked; 1 where a check failed. Raises: ThpsweepError."""
    chosen = plays(request.families, request.seed) if request.action == "compare" else []
    others = known(request.out)
    with bench(kernel(request.kernel)) as ready:
        say(f"booting {ready.version} under emulation; nothing is loaded into the kernel of this machine")
        if request.action == "compare":
            return report(chosen, compare(ready, chosen))
        if request.action == "price":
            return price(ready, request.kernel, request.out, others)
        return _checked(ready, request.action)


def _checked(ready: GuestMachine, test: str) -> int:
    outcome = ready.run(test, CHECKING, _LIMIT_S[test])
    passed = sum(outcome.checks.values())
    print(f"{test}: {passed} of {len(outcome.checks)} checks passed on Linux {ready.version}")
    return _PASSED if outcome.passed else _FAILED
