"""What a search is to the engine: points that are not known beforehand, proposed one by one as results come in."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from thpsweep.sweep.records.point import PlannedPoint

Note = Mapping[str, Any]
"""What a search has to know of a point that it proposed; JSON types, kept in the point's record."""


@dataclasses.dataclass(frozen=True)
class ProposedPoint:
    """A point that is to run next, whatever comes in until then."""

    point: PlannedPoint
    note: Note


class SearchState(Protocol):
    """A search under way. Given the same proposals and results in the same order, it proposes the same."""

    def propose(self, n_idle: int) -> Sequence[ProposedPoint]:
        """Say what is to run next, to keep so many workers busy; nothing where that depends on what is not in yet."""

    def proposed(self, key: str, note: Note) -> None:
        """Take note of a proposal that was recorded: the next thing it would have proposed."""

    def learn(self, key: str, state: str, result: Any) -> None:
        """Take a point's outcome, which may come again."""

    def ahead(self) -> tuple[int, int]:
        """Predict how many points are still to be proposed, and how many can run side by side."""

    def is_over(self) -> bool:
        """Tell whether nothing is left to propose, once all that was proposed has ended."""


class Search(Protocol):
    """A search before it begins."""

    @property
    def points(self) -> Sequence[PlannedPoint]:
        """Give points that it may ask, by which it is checked, and identified together with `spec`."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """Say what is searched for, in JSON types: with `points`, all that its proposals depend on."""

    @property
    def note(self) -> Mapping[str, Any]:
        """Say what else its answer is made of, for the journal; it identifies nothing."""

    def begin(self) -> SearchState:
        """Begin, knowing nothing."""

    def outlook(self) -> tuple[int, str]:
        """Predict how many points it will take in all, and say on what that rests."""
