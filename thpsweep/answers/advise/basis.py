"""The basis of a prediction: prices that were measured or assumed, rates that were watched or assumed."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thpsweep import profiles
from thpsweep.model.capture.activity import MEASURED
from thpsweep.model.capture.layout import Layout
from thpsweep.model.machines.profile import Profile
from thpsweep.model.workloads.base import Workload


def cannot(layout: Layout) -> Iterator[str]:
    """Say first what the machine of the capture cannot do as it is."""
    known = layout.provenance
    if known.get("thp_enabled") == "absent":
        yield (
            "The kernel of the capture has no transparent huge pages: what can be done today takes one that has "
            "(CONFIG_TRANSPARENT_HUGEPAGE), and is predicted for such a one, with the kernel's own defaults."
        )
    if known.get("thp_disabled_processes", 0) == layout.n_processes:
        yield (
            "All processes have THP off (PR_SET_THP_DISABLE): the kernel makes nothing of theirs huge until they undo it; "
            "predicted as if they had."
        )


def lines(machine: Profile, file: Path, is_default: bool, layout: Layout, workload: dict[str, Any]) -> Iterator[str]:
    """Say it in a few lines."""
    yield from _assumed_sharing(layout)
    yield from _forbidden(layout)
    yield from _prices(machine, file, is_default)
    yield from _rates(layout, workload)


def _assumed_sharing(layout: Layout) -> Iterator[str]:
    """Say that who shares is assumed, and how far that can be wrong."""
    known = layout.provenance
    if "sharing" in known:
        yield f"sharing is {known['sharing']} ({known['frames_hidden']})"
        yield (
            f"of {known['ptes_shared']} ptes of shared pages at most {known['ptes_grouped_wrongly_at_most']} are in a group "
            f"that is not theirs, by Pss; mean sharers: {known['mean_sharers']}"
        )


def _forbidden(layout: Layout) -> Iterator[str]:
    """Say where the kernel refuses what the model collapses, or is not asked."""
    known = layout.provenance
    if n := known.get("nohugepage_regions_left_out"):
        yield f"{n} regions forbid huge pages (MADV_NOHUGEPAGE): the kernel collapses nothing there, they are left out"
    if n := known.get("regions_nohugepage"):  # of a file that was captured before they were left out
        yield f"{n} regions of the parent forbid huge pages (MADV_NOHUGEPAGE): the kernel collapses nothing there"
    if n := known.get("thp_disabled_processes"):
        yield f"{n} processes have THP off (PR_SET_THP_DISABLE): the kernel collapses nothing of theirs; predicted as if not"
    if n := layout.provenance.get("regions_dropped"):
        yield f"{n} regions did not hold still while they were captured, and are left out"


def _prices(machine: Profile, file: Path, is_default: bool) -> Iterator[str]:
    kinds = {key: source.kind for key, source in profiles.sources(file).items()}
    assumed = [key for key, kind in kinds.items() if kind == "assumed"]
    counted = {kind: sum(one == kind for one in kinds.values()) for kind in profiles.KINDS}
    listed = ", ".join(f"{n} {word}" for word, n in counted.items() if n)
    yield f"prices of {machine.name} ({file.name}): {listed or 'no line says how it came about'}"
    if assumed:
        yield f"assumed prices: {', '.join(assumed)}"
    if is_default:
        yield "they are not this machine's: thpsweep calibrate --out here.yaml, then --machine here.yaml"


def _rates(layout: Layout, workload: dict[str, Any]) -> Iterator[str]:
    activity = layout.activity
    names = [field.name for field in dataclasses.fields(Workload)]
    seen = [name for name in MEASURED if activity is not None and activity.option(name) == workload[name]]
    if activity is None:
        yield "the tree was not watched (--seconds): all rates are assumed"
    else:
        watched = ", ".join(f"{name}={_number(workload[name])}" for name in seen) or "none"
        yield f"rates watched for {activity.watched_s:.0f} s: {watched}"
        yield from (f"not seen: {sentence}" for sentence in activity.unseen)
    assumed = [f"{name}={_number(workload[name])}" for name in names if name not in seen and workload[name]]
    yield f"rates assumed (the others: 0): {', '.join(assumed)}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
