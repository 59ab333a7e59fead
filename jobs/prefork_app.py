"""The application that jobs/prefork_gain.py has gunicorn serve: a table that is loaded before the fork, looked up at random.

PREFORK_PAGES=huge collapses all memory once it is loaded, as_set leaves huge pages to the machine's settings and to whoever
collapses from outside, and anything else forbids them. PREFORK_MIB is what is loaded.
PREFORK_MEMORY=buffer is one block of bytes, which requests only read; objects are Python objects: a look-up counts
references, and so writes to the page that the object lies in.
"""

import ctypes
import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ENTRY_BYTES = 1_024
LOOKUPS = 1_000
"""Of a request."""

MADV_COLLAPSE, PR_SET_THP_DISABLE, REGION = 25, 41, 2 << 20


def load(pages: str, preload_mib: int, memory: str) -> Sequence[Any]:
    """Load what all workers share. Raises: OSError where huge pages cannot be forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    if pages not in ("huge", "as_set") and libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE)")
    table: Sequence[Any]
    if memory == "buffer":
        table = os.urandom(preload_mib << 20)
    else:
        table = [os.urandom(ENTRY_BYTES - 33) for _ in range(preload_mib * 1024)]  # 33 bytes are the object's own
    if pages == "huge":
        collapse(libc)
    return table


def collapse(libc: ctypes.CDLL) -> None:
    """Make all private memory huge that this process has written, region by region; what is refused stays small."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, *_, inode = line.split()[:5]
        first, last = (int(end, 16) for end in span.split("-"))
        if mode.startswith("rw-p") and inode == "0":
            for region in range(-(-first // REGION) * REGION, last - REGION + 1, REGION):
                libc.madvise(ctypes.c_void_p(region), ctypes.c_size_t(REGION), MADV_COLLAPSE)


def served(table: Sequence[Any], memory: str) -> Callable[..., Iterable[bytes]]:
    """Make the WSGI application: each request looks up LOOKUPS entries at random."""
    n_entries, step = (len(table) // ENTRY_BYTES, ENTRY_BYTES) if memory == "buffer" else (len(table), 1)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        total = 0
        for _ in range(LOOKUPS):
            entry = table[step * int(n_entries * random.random())]
            total += entry if memory == "buffer" else entry[7]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(total).encode()]

    return answer


if "PREFORK_PAGES" in os.environ:
    kind = os.environ["PREFORK_MEMORY"]
    app = served(load(os.environ["PREFORK_PAGES"], int(os.environ["PREFORK_MIB"]), kind), kind)
