"""A test machine for the tests that boot one; skipped where something that it needs is missing."""

import pytest

from thpsweep.linux.prototype import bench as benches
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import DEFAULT, kernel
from thpsweep.linux.prototype.needs import require


@pytest.fixture(scope="session")
def machine():
    """A built test machine of the default kernel, fetched if need be."""
    chosen = kernel(DEFAULT)
    try:
        require(chosen)
        ready = benches.bench(chosen)
        with ready as built:
            yield built
    except PrototypeError as problem:
        pytest.skip(str(problem))
