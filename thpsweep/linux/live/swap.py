"""Swap in compressed memory, on a zram device of our own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thpsweep.errors import LiveError
from thpsweep.linux.live.mounts import first_line
from thpsweep.linux.live.settings import uninterrupted

_CONTROL = Path("/sys/class/zram-control")


@contextmanager
def zram_swap(n_bytes: int) -> Iterator[None]:
    """Swap to a new zram device as long as this lasts. Raises: LiveError where none can be had."""
    if not os.access(_CONTROL / "hot_remove", os.W_OK):  # hot_add would make a device even where sysfs is read-only
        raise LiveError(f"no swap: {_CONTROL} may not be written: run as root, with zram in the kernel")
    number = int((_CONTROL / "hot_add").read_text())
    device, block = f"/dev/zram{number}", Path(f"/sys/block/zram{number}")
    try:
        try:
            (block / "disksize").write_text(str(n_bytes))
        except OSError as error:
            raise LiveError(f"no swap: {block}/disksize takes no size: {error.strerror}") from error
        _run("mkswap", device)
        _run("swapon", "--priority", "100", device)
        try:
            yield
        finally:
            with uninterrupted():
                _run("swapoff", device)
    finally:
        with uninterrupted():
            (block / "reset").write_text("1")
            (_CONTROL / "hot_remove").write_text(str(number))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LiveError(f"no swap: {command[0]} is not installed") from error
    if done.returncode:
        raise LiveError(f"no swap: {' '.join(command)}: {first_line(done.stderr)}")
