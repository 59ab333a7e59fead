"""The cost-benefit frontier: what nothing else beats in both."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """List which (cost, benefit) pairs are on the frontier, cheapest first: no other costs no more and brings no less,
    and is better in one of the two. Equal pairs are all on it."""
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    kept: list[int] = []
    for at in order:
        best = points[kept[-1]] if kept else None
        if best is None or points[at][1] > best[1] or points[at] == best:
            kept.append(at)
    return kept
