"""Let Ctrl-C and SIGTERM end a sweep in order at the first time, and at once at the second."""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

DRAINING = "thpsweep: draining: what is running ends and is kept, nothing new begins; once more stops at once\n"


@dataclasses.dataclass
class Interrupts:
    """What has been asked for: `draining` from the first signal on, of which `number` is the kind."""

    draining: threading.Event = dataclasses.field(default_factory=threading.Event)
    number: int = signal.SIGINT
    count: int = 0

    @property
    def exit_code(self) -> int:
        """Give what a shell reports of a process that this signal ended."""
        return 128 + self.number

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. Raises: KeyboardInterrupt the second time, once: whoever cleans up then is left alone.

        It has to be KeyboardInterrupt: Ray's compiled calls turn any other exception of a handler into a SystemError.
        """
        self.count += 1
        if not self.draining.is_set():
            self.number = number
        if self.count == 1:
            self.draining.set()
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, DRAINING.encode())  # print() is not reentrant
        elif self.count == 2:
            raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible(*, at_once: bool = False) -> Iterator[Interrupts]:
    """Handle signals in here, where this is the main thread, which alone can; `at_once` takes the first for the second.

    One that was ignored when this process began stays so: that is how a script's `&` keeps Ctrl-C from what it starts.
    """
    interrupts = Interrupts(count=int(at_once))
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupts) for number in heeded}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
