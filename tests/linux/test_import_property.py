"""Does the smaps text of a known family import to exactly its totals, and do the bounds hold the truth?"""

from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linux.pasted import REGION, huge_kib, layout_of, rss_kib
from thpsweep.errors import CaptureError

PAGES = 512
STYLES = (
    ("LazyFree", "ShmemPmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "SwapPss", "Locked"),
    (
        "Pss_Dirty",
        "KSM",
        "LazyFree",
        "ShmemPmdMapped",
        "FilePmdMapped",
        "Shared_Hugetlb",
        "SwapPss",
        "Locked",
        "YetToCome",
    ),
    (),
)


class Mapping:
    """Pages of one mapping of a family: who maps which frame at each slot, drawn at random.

    Shapes: frame (processes, slots): a number for the frame, -1 for nothing, -2 for swapped out.
    """

    def __init__(self, rng, n_processes, n_regions, first_byte, edge_pages):
        self.first_byte, self.edge_pages = first_byte - edge_pages * 4096, edge_pages
        self.n_pages = n_regions * PAGES + edge_pages
        self.frame = np.full((n_processes, self.n_pages), -1)
        self.outside = rng.integers(0, 3) * (rng.random(self.n_pages * (n_processes + 1)) < rng.random())
        self.huge = np.zeros((n_processes, n_regions), bool)
        self._draw_pages(rng, n_processes)
        self._draw_folios(rng, n_processes, n_regions)

    def _draw_pages(self, rng, n_processes):
        used, apart = rng.random(), rng.random()
        for slot in np.flatnonzero(rng.random(self.n_pages) < used):
            group = slot * (n_processes + 1) + (rng.random(n_processes) < apart) * (
                1 + rng.integers(0, n_processes, n_processes)
            )
            self.frame[:, slot] = np.where(rng.random(n_processes) < 0.9, group, -1)
        self.frame[(self.frame == -1) & (rng.random(self.frame.shape) < rng.random() / 2)] = -2

    def _draw_folios(self, rng, n_processes, n_regions):
        """Let some map one folio by a PMD in a region, and others be as they are."""
        for region in np.flatnonzero(rng.random(n_regions) < 0.4):
            slots = slice(self.edge_pages + region * PAGES, self.edge_pages + (region + 1) * PAGES)
            who = rng.random(n_processes) < 0.7
            self.huge[who, region] = True
            self.frame[np.ix_(who, range(slots.start, slots.stop))] = np.arange(slots.start, slots.stop) * (
                n_processes + 1
            )

    def mappings(self):
        """Count the mappings of each pte's page, those outside the family included. Shapes: (processes, slots)."""
        counts = np.bincount(self.frame[self.frame >= 0], minlength=len(self.outside))
        return np.where(self.frame >= 0, (counts + self.outside)[np.maximum(self.frame, 0)], 0)

    def text(self, process, style):
        """Write it as smaps does; Pss is cut off as the kernel does."""
        counts = self.mappings()[process]
        private, shared = int((counts == 1).sum()) * 4, int((counts > 1).sum()) * 4
        pss = sum((4096 << 12) // int(count) for count in counts[counts > 0]) >> 22
        end = self.first_byte + self.n_pages * 4096
        fields = {
            "Size": self.n_pages * 4, "Rss": private + shared, "Pss": pss, "Shared_Clean": 0, "Shared_Dirty": shared,
            "Private_Clean": 0, "Private_Dirty": private, "AnonHugePages": int(self.huge[process].sum()) * 2048,
            "Swap": int((self.frame[process] == -2).sum()) * 4, **dict.fromkeys(style, 0),
        }  # fmt: skip
        head = [f"{self.first_byte:x}-{end:x} rw-p 00000000 00:00 0 "]
        lines = [f"{name}:{value:16} kB" for name, value in fields.items()]
        return "\n".join([*head, *lines, "VmFlags: rd wr mr mw me ac ", ""])


families = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), min_size=1, max_size=3),
    st.sampled_from(STYLES),
)


@settings(max_examples=40, deadline=None)
@given(families)
def test_a_family_imports_to_exactly_its_totals(drawn):
    seed, n_processes, sizes, style = drawn
    rng = np.random.default_rng(seed)
    family = [
        Mapping(rng, n_processes, n_regions, (1 << 44) + number * 16 * REGION, edge)
        for number, (n_regions, edge) in enumerate(sizes)
    ]
    present = sum(int((mapping.frame >= 0).sum()) for mapping in family)
    if not all((mapping.frame[0] >= 0).any() for mapping in family):
        return
    layout = layout_of(
        "".join(f"PID: {p + 1}\n" + "".join(m.text(p, style) for m in family) for p in range(n_processes))
    )
    said = layout.provenance
    assert layout.n_processes >= n_processes
    assert sum(rss_kib(layout)) + said["edges_left_out_kib"] == 4 * present
    swapped = int(np.bitwise_count(layout.swapped[:n_processes]).sum(dtype=np.int64)) * 4
    assert swapped + said["edges_swap_left_out_kib"] == 4 * sum(int((mapping.frame == -2).sum()) for mapping in family)
    assert huge_kib(layout) == [2048 * sum(int(m.huge[p].sum()) for m in family) for p in range(n_processes)]
    _shared_as_in_the_text(layout, family, n_processes)
    _bounds_hold(said, family)


def _shared_as_in_the_text(layout, family, n_processes):
    """Count the private pages of each process, which are known; a cell with mappings outside may hold some of them, too."""
    if layout.provenance["edges_left_out_kib"] or layout.cell_outside.any():
        return
    alone = layout.members.sum(axis=1)[layout.cell_members] + layout.cell_outside == 1
    slots = np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64)
    mine = layout.members[layout.cell_members][:, :n_processes]
    found = (mine * (slots * alone)[:, None]).sum(axis=0).tolist()
    assert found == [sum(int((m.mappings()[p] == 1).sum()) for m in family) for p in range(n_processes)]


def _bounds_hold(said, family):
    counts = np.concatenate([mapping.mappings().ravel() for mapping in family])
    shared = counts[counts > 1].tolist()
    if not shared:
        assert said["mean_sharers"] == "nothing is shared"
        return
    mean = float(len(shared) / sum(Fraction(1, count) for count in shared))
    high = said["mean_sharers_high"]
    assert float(said["mean_sharers_low"]) * (1 - 1e-5) <= mean
    assert high == "any number" or mean <= float(high) * (1 + 1e-5)
    assert said["most_sharers_at_least"] <= max(shared)
    assert said["fewest_sharers_at_most"] == "any number" or min(shared) <= int(said["fewest_sharers_at_most"])


WAYS = ("cut", "drop", "twice", "letter", "join", "swap")
TEXTS = sorted((Path(__file__).parent / "pastes").glob("*.txt"))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(TEXTS),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["cut", "drop", "twice", "letter", "join", "swap"]),
)
def test_spoilt_text_is_imported_or_refused_in_one_line(file, seed, how):
    rng = np.random.default_rng(seed)
    text = spoilt(file.read_text(), rng, how)
    try:
        layout = layout_of(text)
    except CaptureError as error:
        assert "\n" not in str(error)
    else:
        assert layout.n_processes >= 1


def spoilt(text, rng, how):
    """Do to a text what hands, mails and windows do."""
    lines = text.splitlines(keepends=True)
    n = int(rng.integers(0, len(lines)))
    at = int(rng.integers(0, len(text)))
    match how:
        case "cut":
            return text[: at + 1]
        case "drop":
            return "".join(lines[:n] + lines[n + 1 + int(rng.integers(0, 4)) :])
        case "twice":
            return "".join(lines[: n + 1] + lines[max(0, n - int(rng.integers(0, 30))) :])
        case "letter":
            return text[:at] + str(rng.choice(list("0fx: \n[]-"))) + text[at + 1 :]
        case "join":
            return "".join(lines[:n]) + lines[n].rstrip("\n") + " " + "".join(lines[n + 1 :])
    return "".join(lines[:n] + lines[n : n + 2][::-1] + lines[n + 2 :])
