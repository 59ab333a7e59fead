"""What the window in which a tree was watched is worth: how busy it was, how steady, and under which settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from thpsweep.answers.advise.choices import DEFAULTS
from thpsweep.model.capture.layout import Layout
from thpsweep.units import US_PER_S

IDLE_CPUS = 0.02
"""A tree that keeps less than so much of one CPU busy shows nothing of its load."""

SHORT_S = 5.0
UNSTEADY = 3.0
"""A tree that takes so many times as much CPU time in one half of the window as in the other."""

HURRY = 10
"""A daemon that is set to so many times its usual pace may be set so for a moment: by a test, or a measurement."""


@dataclass(frozen=True)
class CpuShares:
    """CPUs that the root keeps busy, and all others together."""

    root: float
    others: float

    @property
    def whole(self) -> float:
        """Give the CPUs that the tree keeps busy."""
        return self.root + self.others


def cpus(layout: Layout) -> CpuShares | None:
    """Give what was measured while the tree was watched; None where it was not."""
    known = layout.provenance
    if "cpu_root_us_per_s" not in known:
        return None
    return CpuShares(int(known["cpu_root_us_per_s"]) / US_PER_S, int(known["cpu_others_us_per_s"]) / US_PER_S)


def measured_shares(layout: Layout) -> dict[str, float]:
    """Give the CPU shares of the workload that were measured: of the root, and of each other process."""
    busy = cpus(layout)
    if busy is None:
        return {}
    return {"root_cpu_share": busy.root, "worker_cpu_share": busy.others / max(1, layout.n_processes - 1)}


@dataclass(frozen=True)
class Unfit:
    """Why rates that were seen in a window are not those of the service at work, and how to see those."""

    why: str
    what_to_do: str


def unfit(layout: Layout) -> Unfit | None:
    """Judge the window by its load, its steadiness and its length; None where nothing is wrong with it."""
    busy = cpus(layout)
    if layout.activity is None or busy is None:
        return Unfit("it was not watched, so that all rates are assumed", "watch it under its usual load, for 30 s")
    if busy.whole < IDLE_CPUS:
        return Unfit(f"it was idle while it was watched ({busy.whole:.1%} of one CPU)", "put its usual load on it")
    most, least = (int(layout.provenance[f"cpu_{which}_part_us_per_s"]) / US_PER_S for which in ("most", "least"))
    if most > UNSTEADY * max(least, IDLE_CPUS):
        why = f"its load changed while it was watched: {least:.2f} CPUs in one half, {most:.2f} in the other"
        return Unfit(why, "watch it for 60 s under a steady load")
    if layout.activity.watched_s < SHORT_S:
        return Unfit(f"it was watched for {layout.activity.watched_s:.0f} s only", "watch it for 30 s")
    return None


def settings_to_assume(layout: Layout, given: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Replace what looks like a momentary setting by the kernel's default, and ask; what is given counts as it is."""
    assumed, asked = dict(given), []
    for name in ("scan_sleep_millisecs", "alloc_sleep_millisecs", "pages_to_scan"):
        value, default = layout.provenance.get(f"khugepaged_{name}"), DEFAULTS[name]
        faster = isinstance(value, int) and (
            value >= HURRY * default if name == "pages_to_scan" else value * HURRY <= default
        )
        if faster and name not in given:
            assumed[name] = default
            asked.append(
                f"khugepaged's {name} was {value} when this was captured. Is that meant to stay? Predicted with {default}, "
                f"the kernel's default; khugepaged.{name}={value} at the end of the command predicts with {value}."
            )
    return assumed, asked


def settings_lines(layout: Layout) -> list[str]:
    """List the settings that were in force, and say if a thpsweep held them."""
    known = layout.provenance
    of_thp = [f"{name}={known[f'thp_{name}']}" for name in ("enabled", "defrag") if f"thp_{name}" in known]
    mine = [f"{name}={known[key]}" for name in (*DEFAULTS, "defrag") if (key := f"khugepaged_{name}") in known]
    lines = [f"settings in force: {', '.join(of_thp)}; khugepaged: {', '.join(mine) or 'none'}"] if of_thp else []
    if known.get("settings_held"):
        lines.append(
            "another thpsweep (calibrate, validate) was working with this machine's settings just then, so that these may "
            "be its own: capture again when it has ended"
        )
    return lines
