"""Write a machine profile: each key with its figure, its spread and its method, and where what is missing comes from."""

import dataclasses
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from thpsweep.linux.calibrate.prices import PRICES
from thpsweep.linux.calibrate.rounds import Calibration
from thpsweep.model.machines.profile import Profile
from thpsweep.model.state.rules import version_of

_DIGITS = 3
_BESIDE = {
    "collapse_full_exclusive": "private collapse of 512 exclusive pages, ns",
    "collapse_full_shared": "private collapse of 512 pages with 4 sharers, ns",
    "collapse_full_compound": "private collapse of an exclusive pte-mapped folio, ns",
    "collapse_pte_exclusive": "slope against present ptes, exclusive, ns a pte",
    "collapse_pte_shared": "the same, shared, ns a pte",
    "collapse_pte_compound": "the same, pte-mapped folios, ns a pte",
    "barrier_alone": "membarrier with no other CPU to interrupt, ns",
    "barrier_ipi": "the same with one receiver, less alone, ns",
    "shmem_fixed": "shmem collapse without sharers, ns a region",
    "shmem_touch_pmd": "touch of collapsed shmem: maps a PMD, ns",
    "huge_fault": "first touch of a THP, ns",
    "fork_pte_small_again": "fork of small pages that an earlier fork protected, ns a pte",
    "fork_pte_compound_again": "the same, pte-mapped folios, ns a pte",
    "fork_pmd_again": "the same, PMD-mapped, ns",
    "migration_page": "migration by compaction, ns a page, its copy included",
    "migration_pte": "the same, ns a pte of a sharer",
    "migration_set_traced": "from one traced entry set to the next of a page, its event included, ns",
    "migration_restore_traced": "the same, restored, ns",
    "folio_split": "split of a folio of PMD order, ns",
    "folio_split_pte": "the same, ns a pte of a sharer",
    "ksm_merge_pte": "KSM merge, ns of ksmd a pte, page comparisons included: an upper bound for pte_switch_ns",
    "load_small_64_mib": "dependent load over 64 MiB of small pages, ns",
    "load_huge_64_mib": "the same, huge pages, ns",
    "load_small_256_mib": "the same over 256 MiB, small pages, ns",
    "load_huge_256_mib": "the same, huge pages, ns",
    "load_small_1024_mib": "the same over 1 GiB, small pages, ns",
    "load_huge_1024_mib": "the same, huge pages, ns",
}
"""What is measured beside the keys of a profile."""


def text(name: str, calibration: Calibration, fallback: Profile) -> str:
    """Write the YAML of a profile."""
    lines = [*_header(), "defaults:", "  - base_profile", "  - _self_", f"name: {name}"]
    lines += [f'kernel: "{".".join(map(str, version_of(platform.release())))}"', f"cpus: {os.cpu_count()}"]
    for field in dataclasses.fields(Profile):
        if field.type is float:
            lines.append(_line(field.name, calibration, fallback))
    lines += ["", "# Measured too, though no key of a profile takes it:"]
    for key, about in _BESIDE.items():
        if key in calibration.raw:
            lines.append(f"#   {about}: {_number(calibration.raw[key].value)} ({calibration.raw[key]})")
    lines += [f"# Not measured by {probe} in {failure}" for probe, failure in calibration.failures.items()]
    return "\n".join(lines) + "\n"


def _header() -> list[str]:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return [
        f"# Measured by `thpsweep calibrate` on {when}: {_cpu()}, {os.cpu_count()} CPUs, Linux {platform.release()}.",
        "# Medians over rounds; spread is the largest round over the smallest, which follow it. Times are CPU time in ns.",
        "# measured = one figure as it is; derived = arithmetic on several; assumed = taken from another profile.",
        "# derived from instruction counts = those of linux/prototype/instructions.yaml, at what an instruction of the",
        "# measured prices takes; the range is what predicting each of these from the others shows.",
    ]


def _line(key: str, calibration: Calibration, fallback: Profile) -> str:
    if key in calibration.by_instructions:
        derived = calibration.by_instructions[key]
        return _aligned(key, derived.ns, derived.source)
    price = next((price for price in PRICES if price.key == key), None)
    if price is None or key not in calibration.prices:
        value = float(getattr(fallback, key))
        why = "no way to measure it" if price is None else "could not be measured here"
        return _aligned(key, value, f"assumed: of profile {fallback.name}; {why}")
    figure = calibration.prices[key]
    kind = "measured" if price.measured else "derived"
    return _aligned(key, figure.value, f"{kind}: {price.method}; {figure}")


def _aligned(key: str, value: float, comment: str) -> str:
    return f"{f'{key}: {_number(value)}':<33} # {comment}"


def _number(value: float) -> str:
    """Write so many significant digits; sizes in bytes in full."""
    if value >= 1_000_000 or value == int(value):
        return f"{value:.0f}"
    digits = max(0, _DIGITS - len(f"{value:.0f}"))
    return f"{value:.{digits}f}" if value < 1000 else f"{float(f'{value:.{_DIGITS}g}'):.0f}"


def _cpu() -> str:
    """Name the CPU as the kernel does."""
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match.group(1).strip() if match else platform.machine()
