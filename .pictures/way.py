"""Draw the way of a point through the code: python .pictures/way.py writes way.png beside itself."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

COMMAND, SWEEP, MODEL, ANSWERS = "#F0F0F0", "#DCEBF7", "#DDF1E7", "#FBE9D0"
BOXES = {
    "command": (-0.35, 3.0, "command line", "overrides,\nconf/*.yaml", COMMAND),
    "plan": (2.3, 3.0, "plan", "every point composed,\nchecked, named by its hash\nsweep/planning", SWEEP),
    "launch": (4.9, 3.0, "launch", "this process, or\nRay actors, one a CPU\nsweep/local, sweep/ray", SWEEP),
    "simulate": (
        7.5,
        3.0,
        "simulate",
        "prepare, step, finish:\npolicy and baseline,\nsame events\nmodel/simulate.py",
        MODEL,
    ),
    "journal": (4.9, 1.2, "journal", "journal.jsonl: the record;\nthe same command resumes\nsweep/records", SWEEP),
    "answers": (2.3, 1.2, "answers", "table, report.html, charts\nanswers/", ANSWERS),
    "mlflow": (7.5, 1.2, "MLflow", "cost against benefit\nin the browser\nsweep/tracking", ANSWERS),
}
ARROWS = (
    ("command", "plan", ""), ("plan", "launch", "points"), ("launch", "simulate", "a point"),
    ("simulate", "journal", "a result"), ("journal", "answers", ""), ("journal", "mlflow", ""),
)  # fmt: skip
WIDTH, HEIGHT = 2.05, 1.25


def box(axes: Axes, x: float, y: float, title: str, about: str, colour: str) -> None:
    """Draw a station."""
    style = "round,pad=0.02,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), WIDTH, HEIGHT, boxstyle=style, facecolor=colour, edgecolor="0.45"))
    axes.text(x + WIDTH / 2, y + HEIGHT - 0.2, title, ha="center", va="center", fontsize=11, fontweight="bold")
    axes.text(x + WIDTH / 2, y + (HEIGHT - 0.32) / 2, about, ha="center", va="center", fontsize=8)


def arrow(axes: Axes, start: str, end: str, label: str) -> None:
    """Draw the way from one station to the next."""
    (x1, y1, *_), (x2, y2, *_) = BOXES[start], BOXES[end]
    if y1 == y2:
        a, b = ((x1 + WIDTH, y1), (x2, y2)) if x2 > x1 else ((x1, y1), (x2 + WIDTH, y2))
        a, b = (a[0], a[1] + HEIGHT / 2), (b[0], b[1] + HEIGHT / 2)
    else:
        a, b = (x1 + WIDTH / 3, y1), (x2 + WIDTH * 0.8, y2 + HEIGHT)
    axes.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=14, color="0.3", linewidth=1.3))
    if label:
        axes.text(
            (a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 0.09, label, ha="center", va="bottom", fontsize=8, color="0.25"
        )


def main() -> None:
    """Write the picture."""
    drawn = Figure(figsize=(10.5, 3.9), dpi=110, layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    for station in BOXES.values():
        box(axes, *station)
    for start, end, label in ARROWS:
        arrow(axes, start, end, label)
    axes.set(xlim=(-0.45, 9.7), ylim=(1.05, 4.4))
    axes.set_axis_off()
    drawn.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
