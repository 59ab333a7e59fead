"""Does the smaps of a living family import to what a capture of the same family sees?"""

from pathlib import Path

import numpy as np
import pytest

from tests.linux.family import N_GUARDED, REGION
from tests.linux.pasted import huge_kib, layout_of, pss_kib, rss_kib
from tests.linux.test_capture import first_region
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.proc import tree

pytestmark = pytest.mark.live


@pytest.fixture
def guarded(family):
    """Start the family; give its captured layout, the part of it that is guarded, and the smaps of each process."""
    process = family("guarded")
    base = int(process.stdout.readline())
    pids = [each.pid for each in tree.family(process.pid, True).processes]
    texts = {pid: Path(f"/proc/{pid}/smaps").read_text() for pid in pids}
    layout = capture(process.pid)
    return layout, first_region(layout), {pid: part(text, base) for pid, text in texts.items()}, texts


def part(text, base):
    """Keep the mappings of some regions."""
    kept, wanted = [], False
    for line in text.splitlines(keepends=True):
        if line[0] in "0123456789abcdef":
            wanted = base <= int(line.partition("-")[0], 16) < base + N_GUARDED * REGION
        kept += [line] if wanted else []
    return "".join(kept)


def of_regions(layout, first):
    """Count Rss, Pss and huge pages of each process, in kB, and the mappings of each page, from a capture."""
    there = slice(first, first + N_GUARDED)
    cells = (layout.cell_region >= first) & (layout.cell_region < first + N_GUARDED)
    members = layout.members[layout.cell_members[cells]]
    slots = np.bitwise_count(layout.cell_slots[cells]).sum(axis=1, dtype=np.int64)
    degree = members.sum(axis=1)
    rss = np.bitwise_count(layout.present[:, there]).sum(axis=(1, 2), dtype=np.int64) * 4
    pss = (members * (4 * slots / degree)[:, None]).sum(axis=0)
    return (
        rss.tolist(),
        pss,
        (layout.huge[:, there].sum(axis=1) * 2048).tolist(),
        (slots * degree)[degree > 1],
        degree[degree > 1],
    )


def test_a_family_imports_to_what_a_capture_sees(thp, guarded):
    layout, first, parts, _ = guarded
    rss, pss, huge, ptes, degree = of_regions(layout, first)
    found = layout_of(*parts.values())
    said = found.provenance
    assert (rss_kib(found), huge_kib(found)) == (rss, huge)
    assert sum(pss_kib(found)) == pytest.approx(pss.sum(), abs=len(parts) * 3)
    mean = ptes.sum() / (ptes / degree).sum()
    assert float(said["mean_sharers_low"]) <= mean <= float(said["mean_sharers_high"])
    assert said["most_sharers_at_least"] <= degree.max() and degree.min() <= int(said["fewest_sharers_at_most"])


def test_one_process_of_it_tells_how_many_there_are(thp, guarded):
    _, _, parts, _ = guarded
    for pid, text in parts.items():
        found = layout_of(text)
        pss = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        assert found.n_processes == len(parts), f"pid {pid}"
        assert pss_kib(found) == pytest.approx([pss], abs=4)


def test_whole_texts_of_the_kernel_underfoot_are_understood(guarded):
    layout, _, _, texts = guarded
    pids = list(texts)
    found = layout_of("".join(f"==> /proc/{pid}/smaps <==\n{text}\n" for pid, text in texts.items()))
    mapped = np.bitwise_count(layout.present).sum(axis=(1, 2), dtype=np.int64) * 4
    # What lies at the edges of mappings, outside of whole regions, is taken to lie inside where there is room.
    assert (np.array(rss_kib(found)) >= mapped).all() and found.n_processes == layout.n_processes
    for name in ("smaps_rollup", "numa_maps"):
        files = [Path(f"/proc/{pid}/{name}") for pid in pids]
        if files[0].exists():
            assert layout_of(*(file.read_bytes() for file in files)).n_processes >= len(pids)
