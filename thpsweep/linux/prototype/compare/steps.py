"""What happens in a family, step by step: the words that both sides understand."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Write:
    """A process writes pages [first, end)."""

    process: int
    first: int
    end: int


@dataclass(frozen=True)
class Read:
    """A process reads pages [first, end); an empty one gets the zero page."""

    process: int
    first: int
    end: int


@dataclass(frozen=True)
class Drop:
    """A process gives pages [first, end) back (MADV_DONTNEED)."""

    process: int
    first: int
    end: int


@dataclass(frozen=True)
class Fork:
    """A process forks; the child has the next free number."""

    process: int
    child: int


@dataclass(frozen=True)
class Exit:
    """A process ends."""

    process: int


@dataclass(frozen=True)
class Refer:
    """A process takes a reference on a page as it is (vmsplice), shared or not."""

    process: int
    page: int


@dataclass(frozen=True)
class Release:
    """A process drops its reference."""

    process: int


@dataclass(frozen=True)
class Collapse:
    """A process's region is collapsed, for all sharers, as `mechanism` does it.

    mechanism: switch, switch_over, switch_page, switch_pmd, inplace, inplace_pmd; begin and slice for incremental; visit
    for deferred.
    """

    process: int
    mechanism: str
    slice: int = 512


Step = Write | Read | Drop | Fork | Exit | Refer | Release | Collapse


@dataclass(frozen=True)
class Play:
    """The steps of one family; its state is compared after each collapse and at the end."""

    seed: int
    mechanism: str
    steps: Sequence[Step]

    @property
    def processes(self) -> int:
        """How many processes there ever are."""
        return 1 + sum(isinstance(step, Fork) for step in self.steps)
