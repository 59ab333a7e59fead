"""What a test machine printed, as values."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_PAIR = re.compile(r"(\w+)=(\S+)")


@dataclass
class CheckOutcome:
    """Checks by name with whether they passed, what failed, and the lines of prices."""

    checks: dict[str, bool] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    costs: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether something was checked, and all of it was right."""
        return bool(self.checks) and all(self.checks.values()) and not self.failures

    def take(self, line: str) -> str | None:
        """Take a line; give what to show of it, if anything."""
        kind, _, rest = line.partition(" ")
        if kind in ("ok", "NOT-OK"):
            self.checks[rest] = kind == "ok"
            return line
        if kind == "FAIL":
            self.failures.append(rest)
            return line
        if kind == "cost":
            name, _, values = rest.partition(" ")
            self.costs.append((name, dict(_PAIR.findall(values))))
        return None


def outcome(lines: Iterable[str]) -> CheckOutcome:
    """Read all lines of a machine."""
    read = CheckOutcome()
    for line in lines:
        read.take(line)
    return read
