"""What a kernel came to: the lines of a test machine that played."""

import re
from collections.abc import Iterable

from thpsweep.linux.prototype.compare.state import Did, MappedRegion, PlayResult, from_runs
from thpsweep.linux.prototype.compare.steps import Play
from thpsweep.linux.prototype.errors import PrototypeError

_NUMBER = re.compile(r" (\w+)=(-?\d+)")
_CODE = re.compile(r" code=(\S+)")
_STATE = re.compile(r"state (\d+) huge=(-?\d+) rss=(-?\d+) bad=(\d+) (.*)")


def kernel_results(lines: Iterable[str], plays: Iterable[Play]) -> dict[int, PlayResult]:
    """Read what the machine printed, by seed. Raises: PrototypeError where a play is missing."""
    results: dict[int, PlayResult] = {}
    now, state = PlayResult(), {}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "family":
            now = results[int(rest)] = PlayResult()
        elif word == "did":
            now.did.append(did(line))
        elif word == "state":
            number, seen = process(line)
            state[number] = seen
        elif word == "small":
            now.states.append(state)
            now.small_folios.append(int(rest))
            state = {}
        elif word == "FAIL":
            raise PrototypeError(f"prototype: the test machine: {rest}")
    lacking = [play.seed for play in plays if play.seed not in results]
    if lacking:
        raise PrototypeError(f"prototype: the test machine did not play {lacking}")
    return results


def did(line: str) -> Did:
    """Read the module's answer."""
    code = _CODE.search(line)
    return Did(code[1] if code else "?", {name: int(value) for name, value in _NUMBER.findall(line)})


def process(line: str) -> tuple[int, MappedRegion]:
    """Read what one process maps. Raises: PrototypeError."""
    found = _STATE.match(line)
    if found is None:
        raise PrototypeError(f"prototype: the test machine printed no state: {line[:80]}")
    huge, rss, wrong = (int(found[i]) for i in (2, 3, 4))
    return int(found[1]), MappedRegion(*from_runs(found[5].split()), huge_kib=huge, rss_kib=rss, wrong=wrong)
