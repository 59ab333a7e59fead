"""A virtual machine that runs one test and powers off. TCG in one thread: no KVM, no network, no disk, no root."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from thpsweep.linux.prototype import cpio
from thpsweep.linux.prototype.build import Built
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.needs import EMULATOR

# On a busy host the kernel's own check of the timer at boot may panic under emulation: no_timer_check leaves it out.
_COMMAND_LINE = "console=ttyS0 quiet panic=-1 nokaslr no_timer_check mitigations=off init_on_alloc=0"
_MEMORY_MIB = 1536
_TWO_CPUS = ("-smp", "2")
_TWO_NODES = (
    "-object", "memory-backend-ram,id=m0,size=768M", "-object", "memory-backend-ram,id=m1,size=768M",
    "-numa", "node,nodeid=0,cpus=0,memdev=m0", "-numa", "node,nodeid=1,memdev=m1",
)  # fmt: skip
COUNTING = ("-smp", "1", "-icount", "shift=0,sleep=off", *_TWO_NODES)
"""One virtual nanosecond an instruction; two NUMA nodes, so that pages can be migrated."""
CHECKING = _TWO_CPUS
"""Two CPUs: a sharer can run on while another is collapsed."""
_DONE = re.compile(r"done failures=(\d+)")


def run(
    built: Built,
    test: str,
    folder: Path,
    options: Sequence[str],
    timeout_s: float,
    files: Mapping[str, bytes] | None = None,
) -> Iterator[str]:
    """Boot, run one test, and yield each line that the machine prints, as it comes.

    Raises: PrototypeError where the machine dies, hangs or does not start.
    """
    initramfs = folder / f"{test}.cpio"
    content = {"init": built.init.read_bytes(), "shcollapse.ko": built.module.read_bytes(), **(files or {})}
    cpio.write(initramfs, content)
    yield from boot(built.image, initramfs, options, timeout_s, f"shtest={test}", _MEMORY_MIB)


def boot(
    image: Path,
    initramfs: Path,
    options: Sequence[str],
    timeout_s: float,
    arguments: str,
    memory_mib: int,
    cpu: str = "max",
) -> Iterator[str]:
    """Boot a kernel with an initramfs, and yield each line that it prints, as it comes. Raises: as run()."""
    command = [
        EMULATOR, "-accel", "tcg,thread=single", "-cpu", cpu, "-m", str(memory_mib), "-nodefaults", "-nographic",
        "-serial", "stdio", "-no-reboot", *options, "-kernel", str(image), "-initrd", str(initramfs),
        "-append", f"{_COMMAND_LINE} {arguments}".rstrip(),
    ]  # fmt: skip
    yield from _lines(command, timeout_s)


def _politely() -> list[str]:
    """Start it with low priority, and let it end with us even where we are killed."""
    setpriv = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return ["nice", "-n", "10", *setpriv]


def _lines(command: Sequence[str], timeout_s: float) -> Iterator[str]:
    machine = subprocess.Popen(
        [*_politely(), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    too_late = threading.Event()

    def end() -> None:
        too_late.set()
        machine.kill()

    timer = threading.Timer(timeout_s, end)
    timer.start()
    done, last = False, ""
    try:
        assert machine.stdout is not None
        for line in machine.stdout:
            last = line.strip() or last
            done = done or _DONE.match(last) is not None
            yield line.strip()
        machine.wait()
    finally:
        timer.cancel()
        if machine.poll() is None:
            os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
    if too_late.is_set():
        raise PrototypeError(f"prototype: the test machine did not end within {timeout_s:.0f} s; its last line: {last}")
    if not done:
        raise PrototypeError(f"prototype: the test machine died; its last line: {last}")
