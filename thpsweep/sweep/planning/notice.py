"""Say how far long work before a sweep is, so that it can be told from a program that hangs."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

EVERY_S = 5.0
"""How often; shorter work says nothing."""

Item = TypeVar("Item")


def noting(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Pass items on, and write a line on stderr every few seconds."""
    due_s = time.monotonic() + EVERY_S
    for number, item in enumerate(items):
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + EVERY_S
            print(f"thpsweep: {what}: {number:,} of {len(items):,}", file=sys.stderr, flush=True)
        yield item
