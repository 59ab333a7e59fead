"""Draw one collapse before and after: python .pictures/collapse.py writes collapse.png beside itself."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

SHARERS, PTES = 3, 8
PAGE, FOLIO, TABLE = "#56B4E9", "#009E73", "#E69F00"
SCATTERED = (0, 3, 7, 1, 10, 5, 12, 8)
"""Frames of the old pages: anywhere in memory."""

OLD = 0.0
LEFT, STEP = 1.2, 0.62


def frames(axes: Axes, used: tuple[int, ...], colour: str, label: str) -> None:
    """Draw physical memory, with the frames that are used."""
    for number in range(14):
        face = colour if number in used else "white"
        axes.add_patch(Rectangle((LEFT + 0.5 * number, OLD), 0.5, 0.4, facecolor=face, edgecolor="0.5", linewidth=0.6))
    axes.text(LEFT + 3.5, OLD - 0.28, label, ha="center", va="center", fontsize=8.5)


def table(axes: Axes, sharer: int, names: bool) -> list[tuple[float, float]]:
    """Draw the part of a sharer's page table; give where its ptes are."""
    y = 1.7 + sharer * STEP
    places = []
    for number in range(PTES):
        x = LEFT + 1.1 + 0.6 * number
        axes.add_patch(Rectangle((x, y), 0.6, 0.3, facecolor=TABLE, edgecolor="0.4", linewidth=0.6, zorder=3))
        places.append((x + 0.3, y))
    if names:
        axes.text(LEFT + 0.95, y + 0.15, f"process {sharer + 1}", ha="right", va="center", fontsize=8.5)
    return places


def before(axes: Axes) -> None:
    """Every process maps the same scattered pages."""
    frames(axes, SCATTERED, PAGE, "512 pages of 4 KiB, each an entry of the LRU")
    for sharer in range(SHARERS):
        for (x, y), frame in zip(table(axes, sharer, True), SCATTERED, strict=True):
            axes.plot([x, LEFT + 0.25 + 0.5 * frame], [y, OLD + 0.4], color="0.55", linewidth=0.5, zorder=1)
    axes.set_title("before: 512 ptes in each process, pages anywhere", fontsize=10, loc="left")


def by_ptes(axes: Axes) -> None:
    """Every pte of every process has changed; the sharing stays."""
    frames(axes, tuple(range(3, 11)), FOLIO, "one folio of 2 MiB, still shared: one entry of the LRU")
    for sharer in range(SHARERS):
        for number, (x, y) in enumerate(table(axes, sharer, True)):
            axes.plot([x, LEFT + 0.25 + 0.5 * (number + 3)], [y, OLD + 0.4], color="0.55", linewidth=0.5, zorder=1)
    axes.set_title("switch, inplace: 512 ptes changed in each process", fontsize=10, loc="left")


def by_pmd(axes: Axes) -> None:
    """Every process maps the folio by one PMD."""
    frames(axes, tuple(range(3, 11)), FOLIO, "the same folio: one TLB entry covers it, forks copy one PMD")
    for sharer in range(SHARERS):
        y = 1.7 + sharer * STEP
        axes.add_patch(
            Rectangle((LEFT + 1.1, y), 4.8, 0.3, facecolor="#CC79A7", edgecolor="0.4", linewidth=0.6, zorder=3)
        )
        axes.text(LEFT + 3.5, y + 0.14, "PMD", ha="center", va="center", fontsize=8.5, zorder=4)
        axes.text(LEFT + 0.95, y + 0.15, f"process {sharer + 1}", ha="right", va="center", fontsize=8.5)
        axes.plot(
            [LEFT + 1.9 + 1.6 * sharer, LEFT + 2.9 + 0.6 * sharer], [y, OLD + 0.4], color="0.4", linewidth=1.2, zorder=1
        )
    axes.set_title("switch_pmd, inplace_pmd: then one PMD in each process", fontsize=10, loc="left")


def private(axes: Axes) -> None:
    """Every process has a folio of its own."""
    for sharer in range(SHARERS):
        y, x = 1.7 + sharer * STEP, LEFT + 2.4 * sharer
        axes.add_patch(
            Rectangle((LEFT + 1.1, y), 4.8, 0.3, facecolor="#CC79A7", edgecolor="0.4", linewidth=0.6, zorder=3)
        )
        axes.text(LEFT + 3.5, y + 0.14, "PMD", ha="center", va="center", fontsize=8.5, zorder=4)
        axes.text(LEFT + 0.95, y + 0.15, f"process {sharer + 1}", ha="right", va="center", fontsize=8.5)
        axes.add_patch(Rectangle((x, OLD), 2.2, 0.4, facecolor="#D55E00", edgecolor="0.5", linewidth=0.6))
        axes.plot([LEFT + 1.9 + 1.6 * sharer, x + 1.1], [y, OLD + 0.4], color="0.4", linewidth=1.2, zorder=1)
    axes.text(
        LEFT + 3.5,
        OLD - 0.28,
        "a folio of 2 MiB for each process: the sharing is lost",
        ha="center",
        va="center",
        fontsize=8.5,
    )
    axes.set_title("copy: a private copy in each process", fontsize=10, loc="left")


def main() -> None:
    """Write the picture."""
    drawn = Figure(figsize=(10.5, 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(drawn)
    for axes, draw in zip(drawn.subplots(2, 2).flat, (before, private, by_ptes, by_pmd), strict=True):
        draw(axes)
        axes.set(xlim=(0, 8.6), ylim=(-0.5, 3.4))
        axes.set_axis_off()
    drawn.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
