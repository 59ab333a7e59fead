"""Does grouping by sorting give the groups that a dict gives?"""

from collections import defaultdict

import numpy as np
import pytest

from thpsweep.linux.capture import sharing
from thpsweep.linux.proc.pagemap import Rows


def random_rows(seed, n_processes=5, n_regions=9):
    """Draw page tables with few frame numbers, so that they meet; some rows are missing."""
    rng = np.random.default_rng(seed)
    places = [(p, r) for r in range(n_regions) for p in range(n_processes) if rng.random() < 0.8]
    process, region = np.array(places, np.int64).T
    frames = rng.integers(0, 4, (len(places), 512)).astype(np.uint32) * np.uint32(0x3FFFFFFF)
    n = len(places)
    return Rows(process, region, frames, np.zeros((n, 8), np.uint64), np.zeros(n, bool), np.ones(n, bool))


@pytest.mark.parametrize("batch_rows", [1, 3, 7, 1_024])
def test_groups_are_those_of_a_dict(monkeypatch, batch_rows):
    monkeypatch.setattr(sharing, "_BATCH_ROWS", batch_rows)
    rows = random_rows(batch_rows)
    expected = defaultdict(set)
    for process, region, frames in zip(rows.process.tolist(), rows.region.tolist(), rows.frames.tolist(), strict=True):
        for slot, frame in enumerate(frames):
            if frame:
                expected[region, slot, frame].add(process)
    keys = np.array([1, 2, 4, 8, 16], np.uint64)  # a signature then spells its members
    found = sharing.group_frames(rows, rows.region, keys)
    assert found.n_mappers.tolist() == [int(s).bit_count() for s in found.signature]
    members = sharing.members_of(rows, rows.region, found, 5)
    groups = {
        (r, s, f): ({p for p in range(5) if int(signature) >> p & 1}, set(np.flatnonzero(row).tolist()))
        for r, s, f, signature, row in zip(
            found.region.tolist(), found.slot.tolist(), found.frame.tolist(), found.signature, members, strict=True
        )
    }
    assert groups == {place: (group, group) for place, group in expected.items()}


def test_nothing_gives_no_groups():
    none = np.zeros(0, np.int64)
    rows = Rows(none, none, np.zeros((0, 512), np.uint32), np.zeros((0, 8), np.uint64), none > 0, none > 0)
    assert len(sharing.group_frames(rows, none, np.zeros(1, np.uint64)).frame) == 0
