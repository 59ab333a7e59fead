"""What live work stands on, as far as this machine has it: settings, trace, khugepaged, swap, memory that is warm."""

import contextlib
import mmap
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

from thpsweep.errors import LiveError
from thpsweep.linux.live.actor import Advice, LiveMemory
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.khugepaged import OneShot
from thpsweep.linux.live.settings import Settings, huge_by_madvise_only, uninterrupted
from thpsweep.linux.live.swap import zram_swap
from thpsweep.linux.live.tracing import Event, Tracing
from thpsweep.linux.proc.memory import memory_state
from thpsweep.units import PAGE_SIZE_BYTES

T = TypeVar("T")

_LEFT = {
    "tracefs": "MADV_COLLAPSE is judged by its errno alone; khugepaged's results, migration and aging are left out",
    "khugepaged": "What needs passes of khugepaged is left out",
    "swap": "What needs swapped pages is left out",
    "frames": "Sums of memory, forms, and which pages one process maps alone are compared, who shares which page is not; "
    "migration is left out",
}
"""What still works, and what does not, where something is missing."""

_SWAP_BYTES = 1 << 28
_SPARE_REGIONS = 32
_EMPTY_CALLS = 25


class Bench:
    """Set the machine up as long as this lasts. What it lacks is in `missing`: a name and a sentence.

    patience_s: how long to wait while another thpsweep works with the machine's settings.
    """

    def __init__(self, patience_s: float = 0.0) -> None:
        self._patience_s = patience_s
        self.missing: dict[str, str] = {}
        self.empty_call_ns = 0.0
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        try:
            self._set_up()
        except BaseException:
            self._close()
            raise
        return self

    def _set_up(self) -> None:
        stack = self._stack
        self.settings = stack.enter_context(Settings(self._patience_s))
        huge_by_madvise_only(self.settings)
        self._warmer = stack.enter_context(LiveFamily()).start()
        self._huge = self._huge_region()
        self._tracing = self._try("tracefs", lambda: stack.enter_context(Tracing()))
        self._khugepaged = self._try("khugepaged", lambda: OneShot(self.settings))
        self._swap = self._try("swap", lambda: stack.enter_context(zram_swap(_SWAP_BYTES)) or True)
        self._try("frames", self._require_frames)
        self.empty_call_ns = self._empty_call()

    def _close(self) -> None:
        with uninterrupted():
            self._stack.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def recording(self, *events: str, pid: int | None = None) -> contextlib.AbstractContextManager[list[Event]]:
        """Record events, by default what is collapsed; nothing is recorded where there is no tracefs."""
        wanted = events or ("huge_memory",)
        return self._tracing.recording(*wanted, pid=pid) if self._tracing else contextlib.nullcontext([])

    def need_khugepaged(self) -> OneShot:
        """Give khugepaged. Raises: LiveError saying why it cannot be driven."""
        if self._khugepaged is None:
            raise LiveError(self.missing["khugepaged"])
        return self._khugepaged

    def need_trace(self) -> None:
        """Make sure that events can be recorded. Raises: LiveError saying why not."""
        if self._tracing is None:
            raise LiveError(self.missing["tracefs"])

    def need_swap(self) -> None:
        """Make sure that pages can be swapped out. Raises: LiveError saying why not."""
        if self._swap is None:
            raise LiveError(self.missing["swap"])

    def warm(self, n_regions: int) -> None:
        """Touch twice the memory that will be needed, and give it back: a host backs memory at its first touch only."""
        memory = self._warmer.map(2 * n_regions + _SPARE_REGIONS)
        self._warmer.advise(memory, Advice.HUGEPAGE)
        self._warmer.write(memory, range(0, memory.n_pages, 512))
        self._warmer.unmap(memory)

    def drain_lru(self) -> None:
        """Have all CPUs put on their LRU lists what waits in batches of new pages, each of which a reference is held to.

        Until then MADV_PAGEOUT leaves such a page where it is, and a write to it is no reuse, if another CPU has it: both
        drain only their own CPU's. MADV_COLLAPSE drains those of all CPUs, and has nothing else to do where memory is huge.
        Source: mm/swap.c folio_add_lru(), mm/madvise.c madvise_pageout(), mm/memory.c wp_can_reuse_anon_folio(),
        mm/khugepaged.c madvise_collapse() (v6.18).
        """
        self._warmer.advise(self._huge, Advice.COLLAPSE)

    def _huge_region(self) -> LiveMemory:
        memory = self._warmer.map(1)
        self._warmer.advise(memory, Advice.HUGEPAGE)
        self._warmer.write(memory, range(1))
        return memory

    def _require_frames(self) -> None:
        memory = self._warmer.map(1)
        self._warmer.write(memory, range(1))
        seen = memory_state(self._warmer.pid, memory)
        self._warmer.unmap(memory)
        if seen.swapped is None:
            raise LiveError(
                "/proc/PID/pagemap is not there, or masked (CONFIG_PROC_PAGE_MONITOR): forms do not show either"
            )
        if seen.frames is None:
            raise LiveError("/proc/PID/pagemap, /proc/kpageflags: the kernel hides frames: run as root of the machine")

    def _empty_call(self) -> float:
        """Time MADV_COLLAPSE of what is huge already, on a machine where others are at work: it drains their LRU batches.

        Raises: LiveError where the kernel does not know it.
        """
        times = []
        for _ in range(_EMPTY_CALLS):
            with mmap.mmap(-1, PAGE_SIZE_BYTES) as page:  # a new page of ours, most likely on another CPU
                page[0] = 1
                reply = self._warmer.advise(self._huge, Advice.COLLAPSE)
                times.append(sum(reply.cpu_ns))
        if reply.error == "EINVAL":
            raise LiveError("this kernel has no MADV_COLLAPSE (Linux 6.1)")
        return statistics.median(times)

    def _try(self, name: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except LiveError as error:
            self.missing[name] = str(error)
            return None

    def complaints(self) -> list[str]:
        """List what is missing here, and what is left without it."""
        return [f"without {name}: {sentence}. {_LEFT[name]}" for name, sentence in self.missing.items()]
