"""Overrides of advice in Hydra's way: workload.KEY=VALUE, machine.KEY=VALUE, khugepaged.KEY=VALUE."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thpsweep.answers.advise.choices import DEFAULTS
from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.model.machines.profile import Profile
from thpsweep.model.workloads.base import Workload
from thpsweep.model.workloads.captured import Captured

WALK_SHARE = "page_walk_share"
GROUPS = ("workload", "machine", "khugepaged")
_PATTERN = re.compile(rf"({'|'.join(GROUPS)})\.(\w+)=(.*)")


@dataclasses.dataclass(frozen=True)
class Overrides:
    """What a user says of rates, of prices, and of khugepaged's settings, by key."""

    workload: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    machine: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    khugepaged: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def priced(self, machine: Profile) -> Profile:
        """Change a profile. Raises: OptionError."""
        return dataclasses.replace(machine, **self.machine) if self.machine else machine

    def words(self) -> list[str]:
        """Spell them as a command line has them."""
        return [f"{group}.{key}={value}" for group in GROUPS for key, value in getattr(self, group).items()]


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the overrides that a line begins with from a command behind them."""
    n = next((at for at, word in enumerate(words) if not _PATTERN.fullmatch(word)), len(words))
    return list(words[:n]), list(words[n:])


def parse(words: Iterable[str], walk_share: float | None) -> Overrides:
    """Read overrides. Raises: ThpsweepError naming key, value and what is expected."""
    found: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    if walk_share is not None:
        if not 0 <= walk_share < 1:
            raise OptionError("--walk-share", walk_share, "a share of all cycles, 0 or more and below 1")
        words = [f"workload.{WALK_SHARE}={walk_share}", *words]
    keys = {"workload": _names(Workload), "machine": _names(Profile) - {"name"}, "khugepaged": set(DEFAULTS)}
    for word in words:
        matched = _PATTERN.fullmatch(word)
        if matched is None:
            raise ThpsweepError(f"{word}: expected workload.KEY=VALUE, machine.KEY=VALUE or khugepaged.KEY=VALUE")
        group, key, text = matched.groups()
        if key not in keys[group]:
            raise ThpsweepError(f"{word}: expected {group}.KEY with KEY one of {_near(key, keys[group])}")
        found[group][key] = _value(f"{group}.{key}", text, only_whole=group == "khugepaged")
    return Overrides(**found)


def _names(kind: type) -> set[str]:
    known = {field.name for field in dataclasses.fields(kind)}
    return known & {field.name for field in dataclasses.fields(Captured)} if kind is Workload else known


def _near(key: str, keys: Iterable[str]) -> str:
    """List the keys that are meant most likely, or all."""
    return ", ".join(difflib.get_close_matches(key, sorted(keys), 3) or sorted(keys))


def _value(key: str, text: str, *, only_whole: bool) -> float | int | str:
    for kind in (int,) if only_whole else (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if only_whole or not re.fullmatch(r"[a-z]\w*", text):
        raise OptionError(key, text, "a whole number" if only_whole else "a number")
    return text
