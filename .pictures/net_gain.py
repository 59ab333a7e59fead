"""Draw net gain against degree: python .pictures/net_gain.py sweeps/seed_debate-* writes net_gain.png beside itself."""

import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

import thpsweep

WRITES = "workload.worker_cold_writes_per_page_hour"
RATE = 0.1
NET = "tradeoff/net_cpu_ms"
STYLES = {
    "copy": ("#D55E00", "s", "copy: private copies, the sharing is lost"),
    "switch_pmd": ("#0072B2", "o", "switch_pmd: shared folio, then a PMD for each"),
    "inplace_pmd": ("#009E73", "^", "inplace_pmd: the same by migration entries"),
    "switch": ("#56B4E9", "D", "switch: shared folio, mapped by ptes"),
    "inplace": ("#CC79A7", "v", "inplace: the same by migration entries"),
}


def main(sweep: Path) -> None:
    """Write the picture."""
    table = thpsweep.load(sweep)
    table = table[(table[WRITES] == RATE) & table["policy"].isin(STYLES)]
    drawn = Figure(figsize=(9, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    for policy, (colour, marker, label) in STYLES.items():
        line = table[table["policy"] == policy].sort_values("sharing.degree")
        axes.plot(line["sharing.degree"], line[NET] / 1000, marker=marker, color=colour, label=label, markersize=5)
        axes.fill_between(
            line["sharing.degree"], line[f"{NET}_low"] / 1000, line[f"{NET}_high"] / 1000, color=colour, alpha=0.2
        )
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set(xlabel="sharing degree", ylabel="net gain within an hour (s of CPU)")
    axes.set_title(
        f"32 MiB shared by so many processes, each page written by a worker {RATE:g} times an hour", fontsize=10
    )
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.legend(fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    drawn.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
