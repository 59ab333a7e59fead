"""What could be done about the memory of a process tree: by today's knobs and calls, or by kernels to come."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thpsweep.answers.advise.commands import MIN_FREE, Commands, ServiceName, collapse, restart, service, settings
from thpsweep.model import registry
from thpsweep.model.state.rules import has, is_vendor, version_of
from thpsweep.units import HPAGE_PMD_NR

KNOBS = "/sys/kernel/mm/transparent_hugepage/khugepaged"
MORE_PAGES, SHORTER_SLEEP_MS = 65_536, 2_500
"""16 and 4 times the pace of the kernel's own settings: 256 MiB each 10 s, 16 MiB each 2.5 s."""

UINT_MAX = (1 << 32) - 1
"""Most that the kernel takes for pages_to_scan. Source: mm/khugepaged.c pages_to_scan_store() (v6.18)."""

AS_SET = "khugepaged as set"

LEAST_SLEEP_MS = 1_000
"""A daemon that sleeps less is predicted at the same pace with fewer, larger passes: none would be too many to simulate."""

DEFAULTS = {
    "pages_to_scan": 8 * HPAGE_PMD_NR,
    "scan_sleep_millisecs": 10_000,
    "alloc_sleep_millisecs": 60_000,
    "max_ptes_none": HPAGE_PMD_NR - 1,
    "max_ptes_swap": HPAGE_PMD_NR // 8,
    "max_ptes_shared": HPAGE_PMD_NR // 2,
}
"""khugepaged's settings where nobody has changed them. Source: mm/khugepaged.c khugepaged_init() (v6.18)."""

PRCTL = (
    "# in each worker, first thing after the fork: prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); in Python "
    "(gunicorn's post_fork): ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)"
)
ADVISE = (
    "# in the program: madvise(address, length, MADV_COLLAPSE) on its private memory (MADV_COLLAPSE is 25, Linux 6.1)"
)
ENABLED = "/sys/kernel/mm/transparent_hugepage/enabled"
ENABLED_PMDS = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled"
REACHES = "without enabled=always khugepaged visits {}; with it, first touches of new memory become huge, too"
UNDO = (
    "# in the program: prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) in the processes that have THP off but where they ask for it "
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
    commands: Commands = field(default_factory=Commands)
    restart: bool = False
    notes: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether today's kernels can do it."""
        return bool(self.commands.apply)


def choices(
    provenance: Mapping[str, str | int],
    first_s: float,
    n_regions: int,
    name: ServiceName | None = None,
    assumed: Mapping[str, int] | None = None,
) -> list[NamedPolicy]:
    """List what to predict for a tree of so many regions, captured on a kernel with these settings.

    madvise() is called at `first_s`. With enabled=madvise khugepaged visits what asks for huge pages (MADV_HUGEPAGE): where
    all of the parent's regions do, it is as with enabled=always. Where processes have THP off, each choice says so.
    assumed: settings of khugepaged that are predicted with instead of those that were captured.
    """
    captured = {key: _number(provenance.get(f"khugepaged_{key}"), default) for key, default in DEFAULTS.items()}
    enabled = str(provenance.get("thp_pmd_enabled", provenance.get("thp_enabled", "unknown")))
    asking = _number(provenance.get("regions_hugepage"), 0)
    n_excepted = _number(provenance.get("thp_except_advised_processes"), 0)
    if n_excepted and enabled == "always":
        enabled = "madvise"  # that is what it comes to for these processes
    if enabled == "madvise" and asking >= n_regions:
        enabled = "always"
    inherits = provenance.get("thp_pmd_setting", "absent") in ("inherit", "absent")
    file, was = (ENABLED, "thp_enabled") if inherits else (ENABLED_PMDS, "thp_pmd_setting")
    before: dict[str, object] = {f"{KNOBS}/{key}": value for key, value in captured.items()}
    before[file] = provenance.get(was, "madvise")
    if (least := _number(provenance.get("min_free_kbytes"), 0)) > 0:
        before[MIN_FREE] = least
    needs = {} if enabled == "always" or n_excepted else {file: "always"}
    first = _Enabling(enabled, needs, (UNDO,) if n_excepted and enabled != "always" else (), before)
    name = name or service(str(provenance.get("program", "")), None)
    today = [
        *_knobs(captured | dict(assumed or {}), first, _reached(enabled, asking, n_regions)),
        *_calls(first_s, first, name),
    ]
    if n_off := _number(provenance.get("thp_disabled_processes"), 0):
        today = [replace(each, notes=(*each.notes, OFF.format(n_off))) for each in today]
    return [*_known(today, str(provenance.get("kernel_release", ""))), *_to_come(first_s)]


def _known(today: list[NamedPolicy], release: str) -> list[NamedPolicy]:
    """Note where the version of the kernel of the capture does not say what it has."""
    if not release:
        return today
    try:
        version_of(release)
    except ValueError:
        return _doubted(today, f"kernel {release!r} names no version: whether it has this is not known")
    if is_vendor(release):
        return _doubted(
            today, f"kernel {release} is a vendor's: it may have more, or do otherwise, than its version says"
        )
    return today


def lacks_collapse(release: str) -> bool:
    """Tell whether a kernel surely has no MADV_COLLAPSE: one whose version says nothing may have it."""
    try:
        return bool(release) and not is_vendor(release) and not has(version_of(release), "madv_collapse")
    except ValueError:
        return False


def _doubted(today: list[NamedPolicy], note: str) -> list[NamedPolicy]:
    return [replace(each, notes=(*each.notes, note)) for each in today]


@dataclass(frozen=True)
class _Enabling:
    """What it takes that the kernel makes this memory huge: settings, or what the program has to do; and settings so far."""

    enabled: str
    settings: Mapping[str, str]
    program: tuple[str, ...]
    before: Mapping[str, object]

    @property
    def is_needed(self) -> bool:
        return bool(self.settings or self.program)

    def commands(self, changes: Mapping[str, object]) -> Commands:
        """Change settings of khugepaged, enabling it first where that is needed."""
        made = settings({**self.settings, **{f"{KNOBS}/{name}": value for name, value in changes.items()}}, self.before)
        if not (self.settings or changes):
            return Commands(self.program or ("# nothing: it is so",))
        return made.after(*self.program)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _knobs(now: dict[str, int], enabling: _Enabling, reached: str) -> list[NamedPolicy]:
    """Let khugepaged run as it is set, and with other limits and another pace."""
    shared = {"max_ptes_shared": HPAGE_PMD_NR - 1}
    pages, sleep = {"pages_to_scan": MORE_PAGES}, {"scan_sleep_millisecs": SHORTER_SLEEP_MS}
    notes = (REACHES.format(reached),) if enabling.is_needed else ()
    as_set = "enabled=always" if enabling.is_needed else AS_SET
    tried: dict[str, tuple[str, dict[str, int]]] = {
        as_set: ("khugepaged with the limits and the pace of the capture", {}),
        "max_ptes_shared=511": ("khugepaged takes regions that are shared but for one page", shared),
        f"pages_to_scan={MORE_PAGES}": ("khugepaged goes through more memory each time it wakes", pages),
        f"scan_sleep_millisecs={SHORTER_SLEEP_MS}": ("khugepaged wakes more often", sleep),
        f"max_ptes_shared=511, pages_to_scan={MORE_PAGES}": (
            "khugepaged takes nearly all shared regions, and more each time",
            shared | pages,
        ),
    }
    return [
        NamedPolicy(
            name,
            what,
            _policy(name, "copy", "khugepaged", **_paced({**now, **changed})),
            enabling.commands(changed),
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


def _calls(first_s: float, enabling: _Enabling, name: ServiceName) -> list[NamedPolicy]:
    """Let processes ask for huge pages themselves, or thpsweep for them."""
    once, root = {"at_s": [first_s], "callers": "all"}, {"at_s": [first_s], "callers": "root"}
    by_all, by_root = collapse(name, only_root=False), collapse(name, only_root=True)
    workers = enabling.commands({"max_ptes_shared": HPAGE_PMD_NR - 1})
    start = settings(enabling.settings, enabling.before) if enabling.settings else Commands()
    return [
        NamedPolicy(
            "MADV_COLLAPSE by all", "every process gets huge pages of its own, once",
            _policy("MADV_COLLAPSE by all", "copy", "madvise", **once), by_all,
        ),
        NamedPolicy(
            "MADV_COLLAPSE by parent", "the parent alone gets huge pages; workers that are forked later share them",
            _policy("MADV_COLLAPSE by parent", "copy", "madvise", **root),
            by_root.then("# then let the workers be replaced (gunicorn: kill -HUP, max_requests)"),
        ),
        NamedPolicy(
            "THP off in workers", "khugepaged takes the parent's memory and leaves the workers alone",
            _policy("THP off in workers", "copy", "madvise", **root), workers.after(PRCTL),
            notes=("predicted as if khugepaged had come to all of the parent's memory at once",),
        ),
        NamedPolicy(
            "MADV_COLLAPSE before fork", "the parent asks before it forks anybody",
            _policy("MADV_COLLAPSE before fork", "copy", "before_fork"),
            Commands((f"{ADVISE}, by the parent after loading and before the first fork",)), restart=True,
        ),
        NamedPolicy(
            "THP from the start", "the parent's memory is huge from its first touch on",
            _policy("THP from the start", "copy", "at_fault"),
            start.after(*enabling.program).then(*restart(name), undo=restart(name)), restart=True,
            notes=("or, without a setting: madvise(MADV_HUGEPAGE) by the program before it first touches its memory",),
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
