"""What others measured of address translation: to set a break-even share of cycles in page walks beside."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Published:
    """A published figure, as a share of 1. walks: it is of cycles in TLB misses; else what cheaper translation gained,
    so that the share of cycles in page walks was at least as much."""

    share: float
    what: str
    source: str
    walks: bool


PUBLISHED = (
    Published(0.20, "cycles in TLB misses, data-centre services, the most", "Contiguitas, ISCA'23", walks=True),
    Published(0.10, "cycles in TLB misses although pages are large, the most", "Basu et al., ISCA'13", walks=True),
    Published(0.18, "gained by huge pages, the most", "Ingens, OSDI'16", walks=False),
    Published(0.11, "mean latency gained by sharing translations", "BabelFish, ISCA'20", walks=False),
    Published(
        0.077, "requests a second gained by an allocator that keeps huge pages whole", "Temeraire, OSDI'21", walks=False
    ),
    Published(
        0.018,
        "gained by THP always, for 7.7 % more memory",
        "Usama Arif, 20240730125346.1580150-1",
        walks=False,
    ),
)
"""Largest first of each kind."""


def beside(share: float) -> str:
    """Say between which published figures a share lies."""
    order = sorted(PUBLISHED, key=lambda one: one.share)
    below, above = [one for one in order if one.share < share], [one for one in order if one.share >= share]
    if not above:
        return f"more than the most that is published, {_cited(order[-1])}"
    if not below:
        return f"less than the least that is published, {_cited(order[0])}"
    return f"published: {_cited(below[-1])} and {_cited(above[0])}"


def _cited(one: Published) -> str:
    return f"{100 * one.share:g} % ({one.source}: {one.what})"
