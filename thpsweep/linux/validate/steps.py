"""The words that cases are written in: each step is data, and both executors do it."""

from collections.abc import Iterable
from dataclasses import dataclass

from thpsweep.units import HPAGE_PMD_NR

ALL = range(HPAGE_PMD_NR)
HEADROOM_BYTES = 1 << 20
"""What a limit leaves: too little for a huge page, enough for what the kernel charges besides."""


@dataclass(frozen=True)
class Step:
    """One thing that one process (or khugepaged) does; pages are numbered through all regions."""

    verb: str
    who: str = ""
    pages: range = range(0)
    other: str = ""
    limits: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        by = f" by {self.pages.step}" if self.pages.step > 1 else ""
        pages = f" {self.pages.start}..{self.pages[-1]}{by}" if len(self.pages) else ""
        limits = "".join(f" {name}={value}" for name, value in self.limits)
        return f"{self.who} {self.verb}{pages}{' ' + self.other if self.other else ''}{limits}".strip()


@dataclass(frozen=True)
class Case:
    """A scenario: what is made ready, then what is asked. Only the question's steps are timed.

    shmem: the memory is MAP_SHARED shmem, and its collapse is compared with `retract`. low: what is written gets low
    frames, which compaction moves. limited: the processes are in a memory cgroup of their own.
    max_rounds: times it is run at most. outcomes_only: what the memory looks like is not compared.
    """

    name: str
    about: str
    ready: tuple[Step, ...]
    question: tuple[Step, ...]
    n_regions: int = 1
    shmem: bool = False
    low: bool = False
    limited: bool = False
    max_rounds: int = 100
    outcomes_only: bool = False

    @property
    def sharers(self) -> int:
        """The most processes that live at once."""
        living = most = 0
        for step in (*self.ready, *self.question):
            living += (step.verb in ("start", "fork")) - (step.verb == "end")
            most = max(most, living)
        return most


def start(who: str) -> Step:
    """Begin a process that maps nothing yet."""
    return Step("start", who)


def write(who: str, pages: range = ALL) -> Step:
    """Write pages."""
    return Step("write", who, pages)


def read(who: str, pages: range = ALL) -> Step:
    """Read pages."""
    return Step("read", who, pages)


def huge(who: str, region: int = 0) -> Step:
    """Touch all of an empty region that gets a THP at fault."""
    return Step("huge", who, range(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR))


def split(who: str, region: int = 0) -> Step:
    """Map a region by ptes instead of its PMD."""
    return Step("split", who, range(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR))


def discard(who: str, pages: range) -> Step:
    """Give pages back (MADV_DONTNEED)."""
    return Step("discard", who, pages)


def page_out(who: str, pages: range) -> Step:
    """Write pages to swap (MADV_PAGEOUT)."""
    return Step("page_out", who, pages)


def age(who: str) -> Step:
    """Make all ptes old."""
    return Step("age", who)


def fork(who: str, child: str) -> Step:
    """Fork a child."""
    return Step("fork", who, other=child)


def end(who: str) -> Step:
    """Exit."""
    return Step("end", who)


def hold(who: str, pages: range) -> Step:
    """Take references (FOLL_GET) by vmsplice()."""
    return Step("hold", who, pages)


def release(who: str) -> Step:
    """Drop what `hold` took."""
    return Step("release", who)


def pin(who: str, pages: range) -> Step:
    """Pin for long (FOLL_PIN) by io_uring's registered buffers."""
    return Step("pin", who, pages)


def collapse(who: str, regions: range = range(1)) -> Step:
    """Call MADV_COLLAPSE once over regions."""
    return Step("collapse", who, range(regions.start * HPAGE_PMD_NR, regions.stop * HPAGE_PMD_NR))


def scan(who: Iterable[str], **limits: int) -> Step:
    """Let khugepaged make one pass over processes; limits that are not named are the kernel's defaults."""
    return Step("scan", " ".join(who), limits=tuple(limits.items()))


def merge(who: str, pages: range) -> Step:
    """Write the same to pages, and let KSM merge them into one."""
    return Step("merge", who, pages)


def limit() -> Step:
    """Limit the memory cgroup to HEADROOM_BYTES more than it uses."""
    return Step("limit")


def punch(who: str) -> Step:
    """Give back pages here and there, so that compaction finds something to do."""
    return Step("punch", who)


def migrate(who: str) -> Step:
    """Let compaction move pages of a process, and of whoever shares them."""
    return Step("migrate", who)
