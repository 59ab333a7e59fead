"""Is what a capture without frame numbers assumes right where it can be, and is it said how far it can be wrong?"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.linux import family as truth
from tests.linux.family import COW, ROOT, THP, A, B, G
from tests.linux.test_capture import first_region, sharing
from thpsweep.linux.capture import capture as capture_module
from thpsweep.linux.capture.assumed.groups import Region, cells, correct_pmds, groups, shares
from thpsweep.linux.capture.assumed.pss import Sums, bound
from thpsweep.linux.capture.capture import capture, hidden_frames
from thpsweep.linux.capture.summary import summary
from thpsweep.linux.proc import pagemap
from thpsweep.linux.proc.maps import Vma
from thpsweep.model.capture.layout import Layout

pytestmark = pytest.mark.live

FAMILY = Path(__file__).parent / "family.py"


@pytest.fixture
def hidden(family, monkeypatch):
    """Start families whose frame numbers are not looked at."""
    monkeypatch.setattr(capture_module, "hidden_frames", lambda: "a test hides them")
    return family


def joined(groups):
    """Join the groups of a slot that are shared: they cannot be told apart."""
    alone = [group for group in groups if len(group) == 1]
    shared = sorted(member for group in groups if len(group) > 1 for member in group)
    return sorted([*alone, shared] if shared else alone)


def test_sharing_is_known_but_for_what_several_groups_share(hidden):
    found = sharing(capture(hidden("family").pid))
    for region, slots in truth.truth().items():
        assert found[region] == {slot: joined(groups) for slot, groups in slots.items()}, f"region {region}"


def test_genealogy_and_zero_pages(hidden):
    layout = capture(hidden("family").pid)
    assert layout.parent.tolist() == [ROOT, ROOT, ROOT, A]
    assert layout.provenance["zero_page_ptes"] >= 4 * 9


def test_pss_bounds_what_is_grouped_wrongly(hidden):
    """Fifty slots are shared by two pairs, and taken for shared by four: two ptes of each are not where they belong."""
    said = capture(hidden("family").pid).provenance
    twice = sum(len([g for g in groups if len(g) > 1]) > 1 for groups in truth.truth()[COW].values())
    assert 2 * twice == 100 <= said["ptes_grouped_wrongly_at_most"] < 200
    assert said["pss_kib"] - said["pss_assumed_kib"] == pytest.approx(4 * twice, abs=16)
    by_pss, assumed = (float(word) for word in re.findall(r"[\d.]+(?= )", said["mean_sharers"]))
    assert by_pss < assumed


def test_a_folio_shows_where_a_pmd_maps_it(thp, hidden):
    layout = capture(hidden("family").pid)
    region = first_region(layout) + THP
    if not layout.huge[ROOT, region]:
        pytest.skip("the kernel had no huge page to give")
    assert layout.huge[:, region].tolist() == [True, True, False, True]
    index = np.flatnonzero(layout.cell_region == region)
    found = {tuple(np.flatnonzero(layout.members[layout.cell_members[i]])): int(layout.cell_folio[i]) for i in index}
    assert found[B,] == 0 and found[ROOT, A, B, G] == found[ROOT, A, G] > 0


def test_one_process_alone_has_its_family_outside(hidden):
    layout = capture(hidden("family").pid, children=False)
    region = first_region(layout) + COW
    assert layout.n_processes == 1 and layout.cell_outside[layout.cell_region == region].tolist() == [1]


def test_a_mostly_empty_mapping(hidden):
    layout = capture(hidden("sparse").pid)
    assert layout.n_regions < 100
    first_region(layout)


def test_without_pagemap_scan_zero_pages_are_not_told_apart(hidden, monkeypatch):
    monkeypatch.setattr(pagemap, "scan_works", lambda: False)
    layout = capture(hidden("family").pid)
    assert "zero page counts" in layout.provenance["folios"] and not layout.huge.any()


def test_it_is_said(hidden, tmp_path):
    layout = capture(hidden("family").pid)
    rows = dict(summary(layout))
    assert rows["sharing"].startswith("assumed: ") and rows["frame numbers"] == "a test hides them"
    layout.save(tmp_path / "a.npz")
    assert Layout.load(tmp_path / "a.npz").provenance["sharing"] == layout.provenance["sharing"]


# --- the rules, on boards ---------------------------------------------------------------------------------------------


def region(present, shared, huge=None, fit=None):
    """Make a region of which each process has so many slots present and shared, from the first on."""
    n = len(present)
    slots = np.arange(512)
    return Region(
        number=7,
        index=np.arange(n),
        process=np.arange(n),
        huge=np.array(huge or [False] * n),
        fit=np.array(fit or [True] * n),
        present=np.array([slots < k for k in present]),
        shared=np.array([slots < k for k in shared]),
    )


def grouped(where, image=None):
    n = len(where.process)
    where = correct_pmds(where, np.array(image or [0] * n))
    keys = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return list(groups(where, np.array(image or [0] * n), keys))


def found_cells(where, image=None):
    corrected = correct_pmds(where, np.array(image or [0] * len(where.process)))
    each = list(cells(corrected, grouped(where, image), len(where.process)))
    return sorted((np.flatnonzero(c.members).tolist(), int(c.slots.sum()), c.folio, c.outside) for c in each)


def test_processes_that_run_another_program_share_nothing():
    where = region([512] * 4, [512] * 4)
    assert found_cells(where, [0, 0, 1, 1]) == [([0, 1], 512, 0, 0), ([2, 3], 512, 0, 0)]


def test_who_shares_with_nobody_seen_shares_with_somebody_outside():
    assert found_cells(region([10, 0], [10, 0])) == [([0], 10, 0, 1)]
    assert found_cells(region([10, 10], [4, 0])) == [([0], 10, 0, 1), ([1], 10, 0, 0)]


def test_a_member_whose_vma_forbids_huge_pages_is_outside():
    assert found_cells(region([5, 5, 5], [5, 5, 5], fit=[True, True, False])) == [([0, 1], 5, 0, 1)]


def test_two_pmds_whose_first_page_is_shared_are_one_folio():
    where = region([512] * 3, [512, 512, 0], huge=[True, True, True])
    assert found_cells(where) == [([0, 1], 512, 1, 0), ([2], 512, 2, 0)]


def test_of_a_pmd_only_the_first_page_is_told():
    """A parent maps a folio by a PMD; a child has split it and has 100 pages of its own, the first or the last ones."""
    last = np.arange(512) >= 412
    split = region([512, 512], [512, 512], huge=[True, False])
    split.shared[1] = ~last
    assert found_cells(split) == [([0], 100, 2, 0), ([0, 1], 412, 2, 0), ([1], 100, 0, 0)]
    split.shared[0], split.shared[1] = False, ~last[::-1]
    assert found_cells(split) == [([0], 100, 2, 0), ([0, 1], 412, 2, 0), ([1], 100, 0, 0)]


def test_what_a_pmd_of_a_child_shows_live(thp, hidden):
    """The first page of the folio was written in a child: for all others it is shared all the same."""
    layout = capture(hidden("split").pid)
    region = int(np.flatnonzero(layout.huge[ROOT])[0])
    cells_there = np.flatnonzero(layout.cell_region == region)
    found = {
        tuple(np.flatnonzero(layout.members[layout.cell_members[c]]).tolist()): int(
            np.bitwise_count(layout.cell_slots[c]).sum()
        )
        for c in cells_there
    }
    assert found == {(0,): 1, (1,): 1, (0, 1): 511}


def test_shares_add_up_to_frames():
    where = region([512, 512, 30], [512, 512, 10])
    assert shares(where, grouped(where)).sum() == pytest.approx(512 + 20)


def test_what_pss_says_more_is_what_was_joined():
    """Two pairs at 100 slots, taken for one group of four: Pss says 200 frames, 100 were assumed."""
    vmas = [Vma(0, 1 << 21, {"Pss": 200}, frozenset())] * 4
    sums = Sums(np.full(4, 25.0), np.zeros(4, np.int64), np.full(4, 100), np.full(4, 4))
    held = bound(vmas, sums)
    assert (held.pss_kib, held.assumed_kib, held.apart_kib) == (800, 400, 400)
    assert (held.sharers_by_pss, held.sharers_assumed) == (2.0, 4.0)
    assert 200 <= held.wrong_ptes <= 202


# --- without privilege ------------------------------------------------------------------------------------------------

AS_NOBODY = """
import ctypes, os, sys
from thpsweep.cli import main
import thpsweep.linux.capture.command, thpsweep.linux.activity.watch
code = compile(open({family!r}).read(), "family", "exec")
def run(*words):
    try:
        main(list(words))
    except SystemExit as end:
        return end.code
os.chdir({folder!r})
run("capture", "--pid", str(os.getpid()), "--out", "warm.npz", "--seconds", "0.1")  # imports what is imported late
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a process that changed its user may not look at itself, unless it is dumpable
names = {{"__name__": "family"}}
exec(code, names)
names["build"]()
print("---", flush=True)
print(run("capture", "--pid", str(os.getpid()), "--out", "own.npz", "--seconds", "0.5"))
print(run("capture", "--pid", "1", "--out", "others.npz"), flush=True)
"""


def test_a_user_captures_his_own_processes(nobody, madvised):
    with tempfile.TemporaryDirectory() as folder:  # unlike tmp_path one that others can look into
        os.chmod(folder, 0o777)
        program = AS_NOBODY.format(family=str(FAMILY), folder=folder, nobody=nobody)
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None and process.stdin is not None and process.stderr is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line == "2\n":
                    break
            process.stdin.close()  # its children live until then
            complaints = process.stderr.read()
        layout = Layout.load(Path(folder) / "own.npz")
    said = "".join(lines).partition("---")[2]
    assert "assumed: a page that is present" in said and "without CAP_SYS_ADMIN" in said, complaints
    assert said.split()[-2:] == ["0", "2"] and "pid 1: its pagemap may not be read" in complaints
    assert "writes, and pages that were swapped out (without CAP_SYS_ADMIN" in said
    assert {r: s for r, s in sharing(layout).items() if r in (0, COW)} == {
        r: {slot: joined(found) for slot, found in truth.truth()[r].items()} for r in (0, COW)
    }
    assert layout.activity.option("worker_life_s") == 0.0 and layout.activity.option("hot_regions") is None


def test_root_of_a_user_namespace_captures_what_he_sees(nobody):
    program = "import os; from thpsweep.linux.capture.capture import hidden_frames; print(hidden_frames())"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no user namespace here: {done.stderr.strip()}")
    assert "the kernel hides frame numbers (a user namespace?)" in done.stdout


def test_masked_frame_tables_are_found_out(frames_are_shown):
    command = [sys.executable, "-c", "from thpsweep.linux.capture.capture import hidden_frames; print(hidden_frames())"]
    for name in ("kpagecount", "kpageflags"):
        mount = f"mount --bind /dev/null /proc/{name} && exec "
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", mount + '"$@"', "sh", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
        assert f"/proc/{name} says nothing" in done.stdout


def test_a_masked_pagemap_is_no_process_that_ended(family):
    process = family("family")
    program = f"from thpsweep.linux.capture.capture import capture; capture({process.pid})"
    mount = f"mount --bind /dev/null /proc/{process.pid}/pagemap && exec "
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount + '"$@"', "sh", sys.executable, "-c", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"/proc/{process.pid}/pagemap is empty, a container masks it" in done.stderr


def test_nothing_is_hidden_here(frames_are_shown):
    assert hidden_frames() == ""
