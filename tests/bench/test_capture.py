"""How long it takes to capture a live tree of 200 processes x 1 GiB on one CPU, and to load it again."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from thpsweep.linux.capture import capture as capture_module
from thpsweep.linux.capture.capture import capture, hidden_frames
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.live.settings import THP, chosen
from thpsweep.model.capture.layout import Layout

pytestmark = pytest.mark.bench

PROCESSES, REGIONS, OWN_PAGES = 200, 512, 256


@pytest.mark.parametrize("hidden", ["", "frame numbers not looked at"])
def test_two_hundred_processes_of_a_gibibyte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    if why := hidden_frames():
        pytest.skip(why)
    if (THP / "enabled").exists() and chosen(THP / "enabled") == "always":
        pytest.skip("transparent_hugepage/enabled is always: the tree would not be of small pages")
    monkeypatch.setattr(capture_module, "hidden_frames", lambda: hidden)
    rng = np.random.default_rng(1)
    with LiveFamily() as live:
        root = live.start()
        memory = root.map(REGIONS)
        root.write(memory, range(memory.n_pages))
        for _ in range(PROCESSES - 1):
            child, _ = live.fork(root)
            first, step = rng.integers(1, 1000, 2)
            child.write(memory, range(int(first), int(first + step * OWN_PAGES), int(step)))
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(allowed)})
        try:
            layout, wall_s, cpu_s = timed(lambda: capture(root.pid))
            _, saving_s, _ = timed(lambda: layout.save(tmp_path / "tree.npz"))
            _, loading_s, _ = timed(lambda: Layout.load(tmp_path / "tree.npz"))
        finally:
            os.sched_setaffinity(0, allowed)
    n_ptes = int(np.bitwise_count(layout.present).sum())
    assert layout.n_processes == PROCESSES and layout.n_regions >= REGIONS
    print(
        f"\n{hidden + ': ' if hidden else ''}{PROCESSES} processes x 1 GiB, {n_ptes:,} ptes in {len(layout.members):,} "
        f"sets of sharers: captured in {wall_s:.1f} s ({cpu_s:.1f} s of CPU) on one CPU, saved in {saving_s:.1f} s "
        f"({(tmp_path / 'tree.npz').stat().st_size / 2**20:.1f} MiB), loaded in {loading_s:.1f} s; "
        f"{layout.provenance['regions_dropped']} regions dropped"
    )


def timed(work):
    """Give what a call gives, and what it took. Units: s of wall and of CPU."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall_s, time.process_time() - cpu_s
