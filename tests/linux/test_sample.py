"""Is the layout that ships what jobs/capture_redis.py says it is?"""

from pathlib import Path

import numpy as np
import pytest

import thpsweep
from thpsweep.model.capture.layout import Layout

SAMPLE = Path(thpsweep.__file__).parent / "samples" / "redis_bgsave.npz"


@pytest.fixture(scope="module")
def sample():
    return Layout.load(SAMPLE)


def test_it_is_small():
    assert SAMPLE.stat().st_size < 500_000


def test_it_is_redis_and_its_child(sample):
    assert sample.provenance["program"] == "redis-server"
    assert sample.parent.tolist() == [0, 0]


def test_it_has_regions_of_every_kind(sample):
    """Expect, for max_ptes_shared = 256, regions on both sides of the limit, full ones and ones with holes."""
    n_slots = np.bitwise_count(sample.cell_slots).sum(axis=1)
    both = sample.members.all(axis=1)[sample.cell_members]
    n_shared = np.bincount(sample.cell_region[both], weights=n_slots[both], minlength=sample.n_regions)
    n_present = np.bitwise_count(sample.present[0]).sum(axis=1)
    assert 60 <= sample.n_regions <= 100
    assert ((n_shared > 256) & (n_present == 512)).sum() >= 20
    assert ((n_shared <= 256) & (n_shared > 0) & (n_present == 512)).sum() >= 10
    assert (n_present < 512).sum() >= 3
