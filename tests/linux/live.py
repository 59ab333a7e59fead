"""What the tests of live processes share: a bench, or the reason why this machine has none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from thpsweep.errors import LiveError
from thpsweep.linux.live.bench import Bench

PATIENCE_S = 120.0
"""Another test run on the machine may hold its settings."""


@contextmanager
def bench_or_skip(*needs: str) -> Iterator[Bench]:
    """Set the machine up; skip, naming what is missing, where that cannot be."""
    try:
        bench = Bench(PATIENCE_S).__enter__()
    except LiveError as error:
        pytest.skip(str(error))
    try:
        for need in needs:
            if need in bench.missing:
                pytest.skip(bench.missing[need])
        yield bench
    finally:
        bench.__exit__(None, None, None)
