"""The words that cases are written in: each step is data, and both executors do it."""

from collections.abc import Iterable
from dataclasses import dataclass

from thpsweep.units import HPAGE_PMD_NR

ALL = range(HPAGE_PMD_NR)
HEADROOM_BYTES = 1 << 20
"""What a limit leaves: too little for a huge page, enough for what the kernel charges besides."""


@dataclass(frozen=True)
class CaseStep:
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
    ready: tuple[CaseStep, ...]
    question: tuple[CaseStep, ...]
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


def start(who: str) -> CaseStep:
    """Begin a process that maps nothing yet."""
    return CaseStep("start", who)


def write(who: str, pages: range = ALL) -> CaseStep:
    """Write pages."""
    return CaseStep("write", who, pages)


def read(who: str, pages: range = ALL) -> CaseStep:
    """Read pages."""
    return CaseStep("read", who, pages)


def huge(who: str, region: int = 0) -> CaseStep:
    """Touch all of an empty region that gets a THP at fault."""
    return CaseStep("huge", who, range(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR))


def split(who: str, region: int = 0) -> CaseStep:
    """Map a region by ptes instead of its PMD."""
    return CaseStep("split", who, range(region * HPAGE_PMD_NR, (region + 1) * HPAGE_PMD_NR))


def discard(who: str, pages: range) -> CaseStep:
    """Give pages back (MADV_DONTNEED)."""
    return CaseStep("discard", who, pages)


def page_out(who: str, pages: range) -> CaseStep:
    """Write pages to swap (MADV_PAGEOUT)."""
    return CaseStep("page_out", who, pages)


def age(who: str) -> CaseStep:
    """Make all ptes old."""
    return CaseStep("age", who)


def fork(who: str, child: str) -> CaseStep:
    """Fork a child."""
    return CaseStep("fork", who, other=child)


def end(who: str) -> CaseStep:
    """Exit."""
    return CaseStep("end", who)


def hold(who: str, pages: range) -> CaseStep:
    """Take references (FOLL_GET) by vmsplice()."""
    return CaseStep("hold", who, pages)


def release(who: str) -> CaseStep:
    """Drop what `hold` took."""
    return CaseStep("release", who)


def pin(who: str, pages: range) -> CaseStep:
    """Pin for long (FOLL_PIN) by io_uring's registered buffers."""
    return CaseStep("pin", who, pages)


def lock(who: str) -> CaseStep:
    """Lock the first region into memory (mlock()), and unlock it again."""
    return CaseStep("lock", who, ALL)


def move(who: str, pages: range) -> CaseStep:
    """Move pages elsewhere (mremap()), and back."""
    return CaseStep("move", who, pages)


def collapse(who: str, regions: range = range(1)) -> CaseStep:
    """Call MADV_COLLAPSE once over regions."""
    return CaseStep("collapse", who, range(regions.start * HPAGE_PMD_NR, regions.stop * HPAGE_PMD_NR))


def scan(who: Iterable[str], **limits: int) -> CaseStep:
    """Let khugepaged make one pass over processes; limits that are not named are the kernel's defaults."""
    return CaseStep("scan", " ".join(who), limits=tuple(limits.items()))


def merge(who: str, pages: range) -> CaseStep:
    """Write the same to pages, and let KSM merge them into one."""
    return CaseStep("merge", who, pages)


def limit() -> CaseStep:
    """Limit the memory cgroup to HEADROOM_BYTES more than it uses."""
    return CaseStep("limit")


def punch(who: str) -> CaseStep:
    """Give back pages here and there, so that compaction finds something to do."""
    return CaseStep("punch", who)


def migrate(who: str) -> CaseStep:
    """Let compaction move pages of a process, and of whoever shares them."""
    return CaseStep("migrate", who)
