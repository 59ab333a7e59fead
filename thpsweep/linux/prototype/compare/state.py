"""What a family looks like at one moment, as a kernel and the model can both tell it."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.units import HPAGE_PMD_NR

NOTHING, SMALL, SUBPAGE, ASTRAY = ".", "s", "c", "?"
"""Nothing or zeroes; a small page; a subpage of a 2 MiB folio in its place; a large folio otherwise."""


@dataclass(frozen=True, eq=False)
class MappedRegion:
    """What one process maps. Shapes: (512,) each; first = the lowest process that maps the same frame."""

    form: np.ndarray
    first: Ints
    mapcount: Ints
    huge_kib: int
    rss_kib: int
    wrong: int


@dataclass(frozen=True)
class Did:
    """What a collapse came to: the kernel's name of the result ("-" = done), and counts."""

    result: str
    counts: dict[str, int]


@dataclass
class PlayResult:
    """What one side tells of a play: each collapse, and the state after it and at the end."""

    did: list[Did] = field(default_factory=list)
    states: list[dict[int, MappedRegion]] = field(default_factory=list)
    small_folios: list[int] = field(default_factory=list)


def runs(seen: MappedRegion) -> str:
    """Write a process's pages down in runs, as the test machine does."""
    keys = list(zip(seen.form.tolist(), seen.first.tolist(), seen.mapcount.tolist(), strict=True))
    edges = [0, *(i for i in range(1, len(keys)) if keys[i] != keys[i - 1]), len(keys)]
    return " ".join(f"{b - a}{keys[a][0]}{keys[a][1]}*{keys[a][2]}" for a, b in pairwise(edges))


def from_runs(words: list[str]) -> tuple[np.ndarray, Ints, Ints]:
    """Read runs. Raises: ValueError where they are not 512 pages."""
    forms: list[str] = []
    numbers: list[tuple[int, int]] = []
    for word in words:
        form = next(letter for letter in word if letter in (NOTHING, SMALL, SUBPAGE, ASTRAY))
        length, rest = word.split(form)
        first, mapcount = rest.split("*")
        forms += [form] * int(length)
        numbers += [(int(first), int(mapcount))] * int(length)
    if len(forms) != HPAGE_PMD_NR:
        raise ValueError(f"{len(forms)} pages")
    table = np.array(numbers, np.int64)
    return np.array(forms), table[:, 0], table[:, 1]
