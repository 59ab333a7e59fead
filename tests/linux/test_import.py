"""Does pasted text, in the forms found in public bug reports, import with the right totals, or name the line that is wrong?

The pastes have the form of what people posted; names, numbers and addresses are others.
"""

import io
import time

import numpy as np
import pytest

from tests.linux.pasted import PASTES, REGION, huge_kib, layout_of, mapping, paste, pss_kib, rss_kib
from thpsweep.answers.advise.basis import cannot
from thpsweep.answers.advise.basis import lines as lines_of_basis
from thpsweep.answers.advise.choices import choices
from thpsweep.answers.advise.scene import AdviseScene
from thpsweep.cli import main
from thpsweep.errors import CaptureError
from thpsweep.linux.capture.imported.command import imported, run
from thpsweep.linux.capture.imported.lines import lines
from thpsweep.linux.capture.imported.reader import read
from thpsweep.model import registry
from thpsweep.model.capture.layout import Layout
from thpsweep.profiles import load
from thpsweep.shipped import machine_file


@pytest.mark.parametrize(
    ("name", "rss", "pss", "huge", "processes"),
    [
        ("fenced_prompt", [20480], [20480], [4096], 1),
        ("tail_headers", [30720] * 2, [17408] * 2, [0, 0], 2),
        ("old_order", [6144], [6144], [0], 1),
        ("rollups", [11200, 11600, 12000], [7600, 8000, 8400], [0] * 3, 10),
        ("directory_prompt", [20000], [6628], [0], 14),
        ("numa_maps", [8192], [1536 * 4 / 5 + 512 * 4], [0], 5),
        ("settings", [12288], [12288], [12288], 1),
        ("thpmaps", [8192], [8192], [4096], 1),
        ("quoted_mail", [10240], [6144], [0], 2),
        ("grepped", [8192] * 2, [5120] * 2, [0, 0], 2),
        ("truncated", [4096], [4096], [0], 1),
        ("without_flags", [6144], [6144], [2048], 1),
    ],
)
def test_a_paste_has_the_totals_of_its_text(name, rss, pss, huge, processes):
    layout = layout_of(paste(name))
    assert (rss_kib(layout), huge_kib(layout), layout.n_processes) == (rss, huge, processes)
    assert pss_kib(layout) == pytest.approx(pss, abs=2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("edited", "0.txt:5: 'Rss:                4192 kB': expected Rss: 4096 kB, the sum of Shared_* and Private_*"),
        ("pages_of_16_kib", "0.txt:3: 'KernelPageSize:       16 kB': expected KernelPageSize: 4 kB: the model has no other"),
        ("maps_only", "0.txt:1: '555555555000-55555a600000 rw-p 00000000 00:00 0                          [heap]'"),
        ("pmap", "0.txt:3: 'Address           Kbytes     RSS   Dirty Mode  Mapping': expected /proc/PID/smaps"),
        ("thpmaps_alone", "thpmaps does not count small pages"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_with_one_line(name, said):
    with pytest.raises(CaptureError) as refused:
        layout_of(paste(name))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_settings_are_those_of_the_text():
    said = layout_of(paste("settings")).provenance
    assert (said["thp_enabled"], said["thp_pmd_setting"], said["thp_pmd_enabled"]) == ("always", "inherit", "always")
    assert (said["khugepaged_max_ptes_none"], said["khugepaged_pages_to_scan"]) == (511, 4096)
    assert "khugepaged_full_scans" not in said and said["program"] == "worker"
    assert said["kernel_release"] == "6.1.0-28-amd64" and "ip-10-0-0-9" not in str(said)
    assert (said["nohugepage_regions_left_out"], said["thp_disabled_processes"]) == (8, 0)


@pytest.mark.parametrize(
    ("text", "reclaim"),
    [
        ("", None),
        ("MemTotal: 9 kB\nSwapTotal: 0 kB\n", "none"),
        ("MemTotal: 9 kB\nSwapTotal: 8 kB\n", "classic"),
        ("MemTotal: 9 kB\nSwapTotal: 8 kB\n/sys/kernel/mm/lru_gen/enabled:0x0007\n", "mglru"),
        ("$ cat /sys/kernel/mm/lru_gen/enabled\n0x0000\nMemTotal: 9 kB\nSwapTotal: 8 kB\n", "classic"),
    ],
)
def test_how_the_machine_reclaims_is_said_where_the_text_tells(text, reclaim):
    assert layout_of(text + mapping()).provenance.get("reclaim") == reclaim
    assert layout_of(mapping(swap=8)).provenance["reclaim"] == "classic"


def test_what_thpmaps_says_is_kept():
    layout = layout_of(paste("thpmaps"))
    said = {label: kib for label, kib in layout.provenance.items() if label.startswith("anon-thp-")}
    assert said == {
        "anon-thp-pmd-aligned-2048kB": 4096, "anon-thp-pte-aligned-2048kB": 2048, "anon-thp-pte-aligned-64kB": 512,
        "anon-thp-pte-partial": 96,
    }  # fmt: skip
    assert np.count_nonzero(layout.cell_folio) == 3 and layout.huge.sum() == 2


def test_what_was_cut_is_noted():
    pasted = read([list(lines((PASTES / "truncated.txt").read_bytes(), "mail.txt"))])
    assert pasted.notes == ["mail.txt:25: '7f4600000000-7f4600800000': cut short, without Shared_Dirty: left out"]


def test_a_process_that_is_no_fork_of_the_others_is_noted():
    pasted = read([list(lines((mapping(pid=1) + mapping(pid=2, first=1 << 40) + mapping(pid=3)).encode(), "a.txt"))])
    imported(pasted)
    assert pasted.notes == ["a.txt:14: process 2 has no mapping where another has one: no fork of theirs"]


# --- text that somebody has changed -----------------------------------------------------------------------------------


def test_what_is_written_loads_and_says_that_it_was_imported(tmp_path, capsys):
    (tmp_path / "a.txt").write_text(mapping(shared=4096, pss=1024))
    assert run([str(tmp_path / "a.txt")], tmp_path / "a.npz") == 0
    said = Layout.load(tmp_path / "a.npz").provenance
    assert said["imported"] == "smaps of 1 process" and str(said["sharing"]).startswith("assumed: text does not say")
    assert str(said["rates"]).startswith("unknown: ") and str(tmp_path) not in str(said)
    printed = capsys.readouterr().out
    assert "3.996 to 4 by Pss, 4 as assumed" in printed and f"workload.path={tmp_path / 'a.npz'}" in printed


def test_a_large_paste_takes_little_time():
    start = time.monotonic()
    text = "".join(mapping(first=(1 << 44) + n * 4 * REGION, shared=4096, pss=1024) for n in range(200))
    layout = layout_of("".join(f"PID: {pid}\n{text}" for pid in range(4)))
    assert layout.n_regions == 400 and layout.n_processes == 4
    assert time.monotonic() - start < 10


def test_the_command_reads_files_and_standard_input(tmp_path, monkeypatch, capsys):
    text = mapping(pid=1, shared=4096, pss=2048) + mapping(pid=2, shared=4096, pss=2048)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with pytest.raises(SystemExit) as ended:
        main(["import", "-", "--out", str(tmp_path / "a.npz")])
    assert ended.value.code == 0 and Layout.load(tmp_path / "a.npz").n_processes == 2
    (tmp_path / "b.txt").write_text(text.replace("Pss:         2048", "Pss:         9048"))
    with pytest.raises(SystemExit) as refused:
        main(["import", str(tmp_path / "b.txt"), "--out", str(tmp_path / "b.npz")])
    assert refused.value.code == 2 and not (tmp_path / "b.npz").exists()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"thpsweep: {tmp_path}/b.txt:5: 'Pss:         9048 kB': expected Pss from 0 (what is private) to 4096 kB (Rss)"
    ]


def test_what_is_written_can_be_simulated_and_advised_on(tmp_path):
    layout_of(paste("tail_headers"), "[always] madvise never").save(tmp_path / "a.npz")
    scene = AdviseScene(tmp_path / "a.npz", load(machine_file("--machine", None)))
    workload = registry.build("workload", {key: value for key, value in scene.workload().items() if key != "sha256"})
    start, said = workload.start(6), workload.describe(6)
    assert start.n_regions == 15 and said["captured_sharers"] == 2 and said["replicated_sharers"] == 4
    assert "assumed: text does not say" in said["note_assumed_sharing"]
    layout = scene.layout
    basis = [
        *cannot(layout),
        *lines_of_basis(scene.machine, machine_file("--machine", None), True, layout, scene.workload()),
    ]
    assert any("imported from text, smaps of 2 processes" in line for line in basis)
    assert "max_ptes_shared" in {choice.name.partition("=")[0] for choice in choices(layout.provenance, 60.0, 15)}
