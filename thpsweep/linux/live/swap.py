"""Swap in compressed memory, on a zram device of our own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thpsweep.errors import LiveError

_CONTROL = Path("/sys/class/zram-control")


@contextmanager
def zram_swap(n_bytes: int) -> Iterator[None]:
    """Swap to a new zram device as long as this lasts. Raises: LiveError where none can be had."""
    try:
        number = int((_CONTROL / "hot_add").read_text())
    except OSError as error:
        raise LiveError(f"no swap: {_CONTROL / 'hot_add'}: {error.strerror}") from error
    device, block = f"/dev/zram{number}", Path(f"/sys/block/zram{number}")
    on = False
    try:
        (block / "disksize").write_text(str(n_bytes))
        _run("mkswap", device)
        _run("swapon", "--priority", "100", device)
        on = True
        yield
    finally:
        if on:
            _run("swapoff", device)
        (block / "reset").write_text("1")
        (_CONTROL / "hot_remove").write_text(str(number))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LiveError(f"no swap: {command[0]} is not installed") from error
    if done.returncode:
        raise LiveError(f"no swap: {' '.join(command)}: {done.stderr.strip()}")
