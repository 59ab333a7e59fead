"""A test machine for the tests that boot one; skipped where a program is missing or the archive cannot be reached."""

import pytest

from thpsweep.linux.prototype.bench import bench, say
from thpsweep.linux.prototype.cache import fetched
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import DEFAULT, kernel
from thpsweep.linux.prototype.needs import require


@pytest.fixture(scope="session")
def machine():
    """A built test machine of the default kernel, fetched if need be."""
    chosen = kernel(DEFAULT)
    try:
        require(chosen)
        fetched(chosen, say)
    except PrototypeError as problem:
        pytest.skip(str(problem))
    with bench(chosen) as ready:  # what does not build is no reason to skip
        yield ready
