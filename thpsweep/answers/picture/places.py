"""Where marks and labels stand on the paper, so that none covers another; the data stay what they are."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from thpsweep.answers.picture.lines import PictureLine, X, Y

DODGE_POINTS = 6.0
"""Distance between lines that would cover each other: 1 % of a panel. Units: typographic points."""

MOST_LABELS = 200

LABEL_PLACES = tuple((side * (7 + 7 * far), 7 * up) for far in (0, 1) for up in (0, 1, -1) for side in (1, -1))
"""Where a point's label may stand from the point, best first. Units: typographic points."""


def dodges(lines: Sequence[PictureLine]) -> list[float]:
    """Give each line its distance on paper from where its data are; 0 if it covers no other. Units: points."""
    xs = [value for line in lines for value in line.values(X)]
    near = 0.02 * (max(xs) - min(xs))
    crowds: list[list[PictureLine]] = []
    for line in lines:
        found = next((crowd for crowd in crowds if _covers(crowd[0], line, near)), None)
        if found is None:
            crowds.append([line])
        else:
            found.append(line)
    crowd_of = {id(line): crowd for crowd in crowds for line in crowd}
    return [DODGE_POINTS * (_index(crowd_of[id(line)], line) - (len(crowd_of[id(line)]) - 1) / 2) for line in lines]


def _index(crowd: Sequence[PictureLine], line: PictureLine) -> int:
    return next(index for index, member in enumerate(crowd) if member is line)


def _covers(one: PictureLine, other: PictureLine, near: float) -> bool:
    """Find out whether two lines have nearly the same x at most of the degrees that both have."""
    known, others = ({row.get("sharing.degree"): float(row[X]) for row in line.rows} for line in (one, other))
    apart = [abs(known[degree] - others[degree]) for degree in known if degree in others]
    return sum(distance <= near for distance in apart) > len(apart) // 2


def write_degrees(axes: Axes, lines: Sequence[PictureLine], colours: Mapping[str, str]) -> None:
    """Write the sharing degree beside each point, where it covers no point and no other label if there is such a place.

    Beyond MOST_LABELS points there is none, and looking for it takes minutes.
    Units: typographic points from the figure's corner; a character takes 4.6, a line 8.
    """
    assert axes.figure is not None
    marks = []
    for line, dodge_points in zip(lines, dodges(lines), strict=True):
        for text, at in _degrees(line):
            x, y = axes.transData.transform(at) * 72 / axes.figure.dpi
            marks.append((x + dodge_points, y, text, at, dodge_points, colours[line.label]))
    if len(marks) > MOST_LABELS:
        return
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y, *_ in marks]
    for x, y, text, at, dodge_points, colour in marks:
        boxes = []
        for right, up in LABEL_PLACES:
            left = x + right - (4.6 * len(text) if right < 0 else 0)
            boxes.append((left, y + up - 4, left + 4.6 * len(text), y + up + 4))
        covered = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        right, up = LABEL_PLACES[best]
        axes.annotate(
            text,
            at,
            xytext=(dodge_points + right, up),
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
            ha="left" if right > 0 else "right",
            va="center",
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _degrees(line: PictureLine) -> list[tuple[str, tuple[float, float]]]:
    """Label each place of a line with the sharing degrees that are there."""
    places: dict[tuple[float, float], list[str]] = {}
    for row in line.rows:
        places.setdefault((row[X], row[Y]), []).append(str(row.get("sharing.degree", row["sharing"])))
    return [(found[0] if len(found) == 1 else f"{found[0]}–{found[-1]}", at) for at, found in places.items()]
