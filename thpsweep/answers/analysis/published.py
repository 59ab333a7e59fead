"""What others measured: to compare a break-even share of cycles in page walks, and prices, with. Figures: published.yaml."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml


@dataclasses.dataclass(frozen=True)
class Published:
    """A published figure, as a share of 1."""

    share: float
    what: str
    source: str


@dataclasses.dataclass(frozen=True)
class PublishedFork:
    """How long a fork took that copied so many ptes, which are priced by a key of a machine profile.

    side: where it lies of the interval that the profile predicts, `inside`, `below` or `above`, and why. Units: ms.
    """

    ms: float
    ptes: int
    price: str
    machine: str
    what: str
    source: str
    side: str
    why: str = ""


def walks() -> tuple[Published, ...]:
    """Give shares of cycles in TLB misses, the largest first."""
    return tuple(Published(**one) for one in _file()["walks"])


def gains() -> tuple[Published, ...]:
    """Give what cheaper translation gained in performance, the largest first: it had taken as much of the cycles before."""
    return tuple(Published(**one) for one in _file()["gains"])


def forks() -> tuple[PublishedFork, ...]:
    """Give the times of forks."""
    return tuple(PublishedFork(**one) for one in _file()["forks"])


def aging() -> tuple[Published, ...]:
    """Give shares of reclaim's CPU time in walks from pages to their ptes."""
    return tuple(Published(**one) for one in _file()["aging"])


def beside(share: float) -> str:
    """Say between which published figures a share of cycles in page walks lies."""
    of_cycles, of_gains = _among(walks(), share), _among(gains(), share)
    return f"of published shares of cycles {of_cycles}; of published gains, which take as large a share at least, {of_gains}"


def _among(figures: Sequence[Published], share: float) -> str:
    above = [one for one in figures if one.share >= share]
    below = [one for one in figures if one.share < share]
    if not above:
        return f"it is above the largest, {_cited(below[0])}"
    if not below:
        return f"it is below the least, {_cited(above[-1])}"
    return f"it is between {_cited(below[0])} and {_cited(above[-1])}"


def _cited(one: Published) -> str:
    return f"{100 * one.share:g} % ({one.source}: {one.what})"


@functools.cache
def _file() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
    return found
