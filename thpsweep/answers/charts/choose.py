"""What a chart's axes are, where a sweep has more factors than paper has directions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from thpsweep.answers.analysis.study import DEGREE, Entry, Key, Study, is_policy, level_name, named

HEADLINE_DEGREE = 195
"""512 ptes in each of so many mms are the hundred thousand of 2016."""


@dataclasses.dataclass(frozen=True)
class Directions:
    """The factor along x, the one from panel to panel, and the level at which each other factor of the scene is held."""

    x: str
    panel: str | None
    held: Mapping[str, Any]

    def panels(self, study: Study) -> list[Any]:
        """List the levels of the panels; a single panel has none."""
        return list(study.factors[self.panel]) if self.panel else [None]

    def shows(self, entry: Entry, level: Any) -> bool:
        """Tell whether an entry belongs into the panel of a level."""
        return all(entry.choice(key) == value for key, value in self.held.items()) and (
            self.panel is None or entry.choice(self.panel) == level
        )

    def title(self, level: Any) -> str:
        """Name a panel."""
        return f"{named(self.panel)} {level_name(self.panel, level)}" if self.panel else ""

    @property
    def held_at(self) -> str:
        """Say at which levels other factors are held, or nothing."""
        levels = ", ".join(f"{named(key)} = {level_name(key, level)}" for key, level in self.held.items())
        return f" Held at {levels}." if levels else ""


def directions(study: Study) -> Directions | None:
    """Take the numeric factor with most levels as x, the scene's next one for panels; hold the others in the middle."""
    numeric = study.numeric()
    if not numeric:
        return None
    x = numeric[0]
    others = [key for key in study.scene_factors if key != x]
    panel = next((key for key in [*numeric[1:], *others] if key in others), None)
    held = {key: headline_level(study, key) for key in others if key != panel}
    return Directions(x, panel, held)


def headline_level(study: Study, key: str) -> Any:
    """Choose the level that stands for a factor: the degree next to HEADLINE_DEGREE, else the middle one."""
    levels = study.factors[key]
    if key == DEGREE:
        return min(levels, key=lambda level: abs(level - HEADLINE_DEGREE))
    return levels[len(levels) // 2]


def headline_scene(study: Study) -> Key:
    """Choose the scene that stands for a sweep, among those that were run."""
    wanted = {key: headline_level(study, key) for key in study.scene_factors}
    return max(study.scenes(), key=lambda scene: sum(wanted[key] == value for key, value in scene))


def lines(entries: list[Entry], x: str) -> dict[str, list[Entry]]:
    """Gather entries into lines along x; what else tells contenders apart stays in the name."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        short = f"{x.rpartition('.')[2]}="
        words = [word for word in entry.contender.split(" ") if not (is_policy(x) and word.startswith(short))]
        found.setdefault(" ".join(words), []).append(entry)
    return found
