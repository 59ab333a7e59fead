"""What could be done about the memory of a process tree: by today's knobs and calls, or by kernels to come."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thpsweep.model import registry
from thpsweep.model.state.rules import has, is_vendor, version_of
from thpsweep.units import HPAGE_PMD_NR

KNOBS = "/sys/kernel/mm/transparent_hugepage/khugepaged"
MORE_PAGES, SHORTER_SLEEP_MS = 65_536, 2_500
"""16 and 4 times the pace of the kernel's own settings: 256 MiB each 10 s, 16 MiB each 2.5 s."""

UINT_MAX = (1 << 32) - 1
"""Most that the kernel takes for pages_to_scan. Source: mm/khugepaged.c pages_to_scan_store() (v6.18)."""

LEAST_SLEEP_MS = 1_000
"""A daemon that sleeps less is predicted at the same pace with fewer, larger passes: none would be too many to simulate."""

_DEFAULTS = {
    "pages_to_scan": 8 * HPAGE_PMD_NR,
    "scan_sleep_millisecs": 10_000,
    "alloc_sleep_millisecs": 60_000,
    "max_ptes_none": HPAGE_PMD_NR - 1,
    "max_ptes_swap": HPAGE_PMD_NR // 8,
    "max_ptes_shared": HPAGE_PMD_NR // 2,
}

PRCTL = (
    "in each worker, first thing after the fork: prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); in Python "
    "(gunicorn's post_fork): ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)"
)
ADVISE = "madvise(address, length, MADV_COLLAPSE) on its private memory (MADV_COLLAPSE is 25, Linux 6.1)"
ENABLE = "echo always > /sys/kernel/mm/transparent_hugepage/enabled (or madvise(MADV_HUGEPAGE) by the program itself)"
ENABLE_PMDS = "echo always > /sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled"
REACHES = "without it khugepaged visits {}; first touches of new memory become huge, too"
UNDO = (
    "prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) in the processes that have THP off but where they ask for it "
    "(PR_THP_DISABLE_EXCEPT_ADVISED), or madvise(MADV_HUGEPAGE) by them"
)
OFF = (
    "{} processes have THP off for themselves (PR_SET_THP_DISABLE): the kernel makes nothing of theirs huge until they undo "
    "it; predicted as if they had"
)


@dataclass(frozen=True)
class NamedPolicy:
    """A policy of the model under a name, with the commands that bring it about; none where no kernel can.

    restart: it has to be there when the service starts, so that the tree is simulated as it was then.
    """

    name: str
    what: str
    policy: Mapping[str, Any]
    how: tuple[str, ...] = ()
    restart: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def possible(self) -> bool:
        """Whether today's kernels can do it."""
        return bool(self.how)


def choices(provenance: Mapping[str, str | int], first_s: float, n_regions: int) -> list[NamedPolicy]:
    """List what to predict for a tree of so many regions, captured on a kernel with these settings.

    madvise() is called at `first_s`. With enabled=madvise khugepaged visits what asks for huge pages (MADV_HUGEPAGE): where
    all of the parent's regions do, it is as with enabled=always. Where processes have THP off, each choice says so.
    """
    now = {name: _number(provenance.get(f"khugepaged_{name}"), default) for name, default in _DEFAULTS.items()}
    enabled = str(provenance.get("thp_pmd_enabled", provenance.get("thp_enabled", "unknown")))
    asking = _number(provenance.get("regions_hugepage"), 0)
    n_excepted = _number(provenance.get("thp_except_advised_processes"), 0)
    if n_excepted and enabled == "always":
        enabled = "madvise"  # that is what it comes to for these processes
    if enabled == "madvise" and asking >= n_regions:
        enabled = "always"
    inherits = provenance.get("thp_pmd_setting", "absent") in ("inherit", "absent")
    enable = UNDO if n_excepted else ENABLE if inherits else ENABLE_PMDS
    today = [*_knobs(now, enabled, asking, n_regions, enable), *_calls(first_s, enabled, enable)]
    if n_off := _number(provenance.get("thp_disabled_processes"), 0):
        today = [replace(each, notes=(*each.notes, OFF.format(n_off))) for each in today]
    return [*_known(today, str(provenance.get("kernel_release", ""))), *_to_come(first_s)]


def _known(today: list[NamedPolicy], release: str) -> list[NamedPolicy]:
    """Leave out what the kernel of the capture does not have; of one whose version says nothing, note that."""
    if not release:
        return today
    try:
        version = version_of(release)
    except ValueError:
        return _doubted(today, f"kernel {release!r} names no version: whether it has this is not known")
    if is_vendor(release):
        return _doubted(
            today, f"kernel {release} is a vendor's: it may have more, or do otherwise, than its version says"
        )
    return [each for each in today if has(version, "madv_collapse") or not any(ADVISE in line for line in each.how)]


def _doubted(today: list[NamedPolicy], note: str) -> list[NamedPolicy]:
    return [replace(each, notes=(*each.notes, note)) for each in today]


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _knobs(now: dict[str, int], enabled: str, asking: int, n_regions: int, enable: str) -> list[NamedPolicy]:
    """Let khugepaged run as it is set, and with other limits and another pace."""
    shared = {"max_ptes_shared": HPAGE_PMD_NR - 1}
    pages, sleep = {"pages_to_scan": MORE_PAGES}, {"scan_sleep_millisecs": SHORTER_SLEEP_MS}
    first, notes = (
        ((), ()) if enabled == "always" else ((enable,), (REACHES.format(_reached(enabled, asking, n_regions)),))
    )
    as_set = "enabled=always" if first else "khugepaged as set"
    tried = {
        as_set: ("khugepaged with the limits and the pace of the capture", {}),
        "max_ptes_shared=511": ("khugepaged takes regions that are shared but for one page", shared),
        f"pages_to_scan={MORE_PAGES}": ("khugepaged goes through more memory each time it wakes", pages),
        f"scan_sleep_millisecs={SHORTER_SLEEP_MS}": ("khugepaged wakes more often", sleep),
        "more pages, shared too": ("khugepaged takes nearly all shared regions, and more each time", shared | pages),
    }
    return [
        NamedPolicy(
            name,
            what,
            _policy(name, "copy", "khugepaged", **_paced({**now, **changed})),
            _echo(first, changed),
            notes=(*notes, *_pace_notes({**now, **changed})),
        )
        for name, (what, changed) in tried.items()
    ]


def _paced(options: dict[str, int]) -> dict[str, int]:
    """Make passes that come oftener than can be simulated rarer, and as much larger."""
    sleep_ms = max(1, options["scan_sleep_millisecs"])
    factor = -(-LEAST_SLEEP_MS // sleep_ms) if sleep_ms < LEAST_SLEEP_MS else 1
    pages = min(UINT_MAX, options["pages_to_scan"] * factor)
    return {**options, "scan_sleep_millisecs": sleep_ms * factor, "pages_to_scan": pages}


def _pace_notes(options: dict[str, int]) -> tuple[str, ...]:
    paced = _paced(options)
    if paced == options:
        return ()
    pages, sleep_ms = paced["pages_to_scan"], paced["scan_sleep_millisecs"]
    sleeps = f"scan_sleep_millisecs={options['scan_sleep_millisecs']}"
    as_least = " (as 1)" if not options["scan_sleep_millisecs"] else ""
    return (f"{sleeps}{as_least} is predicted as {pages} pages each {sleep_ms} ms: the same pace in larger passes",)


def _reached(enabled: str, asking: int, n_regions: int) -> str:
    """Say what khugepaged visits of the parent's memory as it is set. Source: mm/khugepaged.c hugepage_pmd_enabled()."""
    if enabled == "madvise" and asking:
        return f"{asking} of {n_regions} regions of the parent, those with MADV_HUGEPAGE"
    return "none of this memory"


def _echo(first: tuple[str, ...], changed: Mapping[str, int]) -> tuple[str, ...]:
    return (*first, *(f"echo {value} > {KNOBS}/{name}" for name, value in changed.items())) or ("nothing: it is so",)


def _calls(first_s: float, enabled: str, enable: str) -> list[NamedPolicy]:
    """Let processes ask for huge pages themselves."""
    once, root = {"at_s": [first_s], "callers": "all"}, {"at_s": [first_s], "callers": "root"}
    enabling = () if enabled == "always" else (enable,)
    off = f"echo {HPAGE_PMD_NR - 1} > {KNOBS}/max_ptes_shared"
    return [
        NamedPolicy(
            "MADV_COLLAPSE by all", "every process asks for its own huge pages once",
            _policy("MADV_COLLAPSE by all", "copy", "madvise", **once),
            (f"in every process: {ADVISE}",),
        ),
        NamedPolicy(
            "MADV_COLLAPSE by parent", "the parent alone asks; workers forked later share its huge pages",
            _policy("MADV_COLLAPSE by parent", "copy", "madvise", **root),
            (f"in the parent: {ADVISE}", "then let the workers be replaced (gunicorn: kill -HUP, max_requests)"),
        ),
        NamedPolicy(
            "THP off in workers", "khugepaged takes the parent's memory and leaves the workers alone",
            _policy("THP off in workers", "copy", "madvise", **root), (PRCTL, *enabling, off),
            notes=("predicted as if khugepaged had come to all of the parent's memory at once",),
        ),
        NamedPolicy(
            "MADV_COLLAPSE before fork", "the parent asks before it forks anybody",
            _policy("MADV_COLLAPSE before fork", "copy", "before_fork"),
            (f"in the parent, after loading and before the first fork: {ADVISE}",), restart=True,
        ),
        NamedPolicy(
            "THP from the start", "the parent's memory is huge from its first touch on",
            _policy("THP from the start", "copy", "at_fault"),
            ("start it with transparent_hugepage/enabled=always, or madvise(MADV_HUGEPAGE) before the first touch",),
            restart=True,
        ),
    ]  # fmt: skip


def _to_come(first_s: float) -> list[NamedPolicy]:
    """List what no released kernel does for anonymous memory."""
    once = {"at_s": [first_s], "callers": "all"}
    found = {
        "unshare": "the RFC of 2026: unshare, freeze, copy; for each mm",
        "inplace": "the proposal of 2016: one folio for all sharers, by ptes",
        "inplace_pmd": "the same, and PMDs where a sharer may have one",
        "switch": "copy first, then change each pte to the new page",
        "switch_pmd": "the same, and PMDs where a sharer may have one",
    }
    return [NamedPolicy(name, what, _policy(name, name, "madvise", **once)) for name, what in found.items()]


def _policy(name: str, mechanism: str, trigger: str, **options: Any) -> dict[str, Any]:
    parts = {"mechanism": {"kind": mechanism}, "trigger": {"kind": trigger, **options}, "gate": {"kind": "always"}}
    return {"name": name, **{family: registry.spec(registry.build(family, part)) for family, part in parts.items()}}
