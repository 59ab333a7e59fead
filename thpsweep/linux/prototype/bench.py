"""A kernel, fetched and built once, in which tests are run one after the other."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from thpsweep.linux.prototype import machine
from thpsweep.linux.prototype.build import MODULE, Built, build
from thpsweep.linux.prototype.cache import fetched
from thpsweep.linux.prototype.kernels import Kernel
from thpsweep.linux.prototype.needs import require
from thpsweep.linux.prototype.outcome import CheckOutcome


def say(line: str) -> None:
    """Tell on standard error what goes on."""
    print(f"thpsweep: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class GuestMachine:
    """A built test machine of a kernel version."""

    version: str
    built: Built
    folder: Path

    def lines(
        self, test: str, options: Sequence[str], timeout_s: float, files: Mapping[str, bytes] | None = None
    ) -> Iterator[str]:
        """Boot, run a test, and yield what the machine prints."""
        return machine.run(self.built, test, self.folder, options, timeout_s, files)

    def run(self, test: str, options: Sequence[str], timeout_s: float, shown: bool = True) -> CheckOutcome:
        """Run a test to its end; print each check as it ends."""
        outcome = CheckOutcome()
        for line in self.lines(test, options, timeout_s):
            shown_line = outcome.take(line)
            if shown and shown_line is not None:
                print(shown_line, flush=True)
        return outcome


@contextmanager
def bench(kernel: Kernel, module: Path = MODULE) -> Iterator[GuestMachine]:
    """Fetch a kernel if need be, build, and clean up in the end. Raises: PrototypeError."""
    require(kernel)
    unpacked = fetched(kernel, say)
    with tempfile.TemporaryDirectory(prefix="thpsweep-prototype-") as name:
        say(f"building for {unpacked.version}")
        folder = Path(name)
        yield GuestMachine(unpacked.version, build(kernel, unpacked, folder, module), folder)
