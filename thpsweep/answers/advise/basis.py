"""The basis of a prediction: prices that were measured or assumed, rates that were watched or assumed."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thpsweep import profiles
from thpsweep.answers.advise import levers
from thpsweep.answers.advise.overrides import WALK_SHARE
from thpsweep.answers.advise.watched import cpus, measured_shares, settings_lines
from thpsweep.model.capture.activity import MEASURED, WALKS, Activity
from thpsweep.model.capture.layout import WHY_FORBIDDEN, Layout
from thpsweep.model.machines.profile import Profile
from thpsweep.model.workloads.base import Workload


def cannot(layout: Layout) -> Iterator[str]:
    """Say what the machine of the capture cannot do as it is."""
    if layout.provenance.get("thp_enabled") == "absent":
        yield (
            "The kernel of the capture has no transparent huge pages: anything that is done today takes one that has "
            "(CONFIG_TRANSPARENT_HUGEPAGE)."
        )


def lines(
    machine: Profile,
    file: Path,
    is_default: bool,
    layout: Layout,
    workload: dict[str, Any],
    given: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Say it in a few lines. given: rates that a user gave."""
    yield from _assumed_sharing(layout)
    yield from _forbidden(layout)
    yield from levers.lines(layout)
    yield from settings_lines(layout)
    yield from _prices(machine, file, is_default)
    yield from _coalesced(layout, machine)
    yield from _rates(layout, workload, given or {})


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
        yield f"{n} regions forbid huge pages ({WHY_FORBIDDEN}): the kernel collapses nothing there, they are left out"
    if n := known.get("regions_nohugepage"):  # of a file that was captured before they were left out
        yield f"{n} regions of the parent forbid huge pages ({WHY_FORBIDDEN}): the kernel collapses nothing there"
    if n := known.get("thp_disabled_processes"):
        yield f"{n} processes have THP off (PR_SET_THP_DISABLE): the kernel collapses nothing of theirs; predicted as if not"
    if n := known.get("thp_except_advised_processes"):
        yield (
            f"{n} processes have THP off but where they ask for it (PR_THP_DISABLE_EXCEPT_ADVISED): khugepaged and first "
            "touches make nothing else of theirs huge; predicted as if not"
        )
    if n := layout.provenance.get("regions_dropped"):
        yield f"{n} regions did not hold still while they were captured, and are left out"


def _coalesced(layout: Layout, machine: Profile) -> Iterator[str]:
    """Say which part of what a ptes-only collapse is predicted to save on a CPU that coalesces is there already."""
    known, size = layout.provenance, int(machine.tlb_coalesce)
    if (n := known.get(f"ptes_in_groups_of_{size}")) and int(known.get("ptes", 0)):
        yield (
            f"{int(n) / int(known['ptes']):.0%} of all ptes are in whole groups of {size} contiguous pages as it is: what "
            "that saves already is in no choice's gain"
        )


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


def _rates(layout: Layout, workload: dict[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    activity = layout.activity
    names = [field.name for field in dataclasses.fields(Workload)]
    seen = [
        name
        for name in MEASURED
        if activity is not None and name not in given and _is_seen(activity, name, workload[name])
    ]
    busy = cpus(layout)
    if activity is None:
        yield "the tree was not watched (--seconds): all rates are assumed"
    else:
        watched = ", ".join(f"{name}={_number(workload[name])}" for name in seen) or "none"
        load = (
            "" if busy is None else f"; {busy.whole:.2f} CPUs were busy with it, {busy.root:.2f} of them with its root"
        )
        yield f"rates watched for {activity.watched_s:.0f} s: {watched}{load}"
        if activity.unseen:
            yield "could not be seen here:"
            yield from (f"  - {what}" for what in activity.unseen)
    measured = measured_shares(layout) if busy else {}
    if given:
        yield f"rates given: {', '.join(f'{name}={_number(value)}' for name, value in given.items())}"
        yield from _above(layout, given, measured)
    known = {*seen, *given, *measured}
    assumed = [f"{name}={_number(workload[name])}" for name in names if name not in known and workload[name]]
    yield f"rates assumed (the others: 0): {', '.join(assumed)}"


def _is_seen(activity: Activity, name: str, value: object) -> bool:
    """Tell whether a rate is the file's; that of page walks is one, at the price of a walk that is predicted with."""
    return activity.option(name) == value or (name == WALK_SHARE and WALKS in activity.rates)


def _above(layout: Layout, given: Mapping[str, Any], measured: Mapping[str, float]) -> Iterator[str]:
    """Say of each rate that was given if more was given than was seen."""
    rates = layout.activity.rates if layout.activity else {}
    most = {name: rate.high for name, rate in rates.items()} | dict(measured)
    for name, value in given.items():
        high = most.get(name)
        if high is not None and isinstance(value, int | float) and value > high:
            yield f"workload.{name}={_number(value)} is above what was seen: at most {_number(float(high))}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
