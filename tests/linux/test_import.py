"""Does pasted text, in the forms found in public bug reports, import with the right totals, or name the line that is wrong?

The pastes have the form of what people posted; names, numbers and addresses are others.
"""

import io
import time
from pathlib import Path

import numpy as np
import pytest

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

PASTES = Path(__file__).parent / "pastes"
REGION = 2 << 20


def layout_of(*texts: str | bytes) -> Layout:
    """Import texts, each of which is a file."""
    data = [text.encode() if isinstance(text, str) else text for text in texts]
    return imported(read([list(lines(each, f"{number}.txt")) for number, each in enumerate(data)]))


def paste(name: str) -> str:
    """Read a paste."""
    return (PASTES / f"{name}.txt").read_text()


def rss_kib(layout: Layout) -> list[int]:
    """Count what each process of the text maps."""
    pages = np.bitwise_count(layout.present).sum(axis=(1, 2), dtype=np.int64) * 4
    return pages[: int(layout.provenance["processes_imported"])].tolist()


def pss_kib(layout: Layout) -> list[float]:
    """Divide each page by those who map it, and add up what the processes of the text have."""
    sharers = layout.members.sum(axis=1)[layout.cell_members] + layout.cell_outside
    part = np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64) * 4 / sharers
    each = (layout.members[layout.cell_members] * part[:, None]).sum(axis=0)
    return each[: int(layout.provenance["processes_imported"])].tolist()


def huge_kib(layout: Layout) -> list[int]:
    """Count what PMDs map."""
    return (layout.huge.sum(axis=1) * 2048)[: int(layout.provenance["processes_imported"])].tolist()


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


def mapping(first=0x7F1200000000, regions=4, rss=4096, pss=None, shared=0, swap=0, huge=0, rest="", pid=None):
    """Write a mapping as smaps does."""
    pss = rss if pss is None else pss
    return (
        (f"==> /proc/{pid}/smaps <==\n" if pid else "")
        + f"{first:x}-{first + regions * REGION:x} rw-p 00000000 00:00 0 \nSize: {regions * 2048:11} kB\nRss: {rss:12} kB\n"
        f"Pss: {pss:12} kB\nShared_Clean: {0:8} kB\nShared_Dirty: {shared:8} kB\nPrivate_Clean: {0:7} kB\n"
        f"Private_Dirty: {rss - shared:7} kB\nAnonHugePages: {huge:6} kB\nSwap: {swap} kB\n"
        f"{rest}VmFlags: rd wr mr mw me ac \n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (mapping(pss=5000), "0.txt:4: 'Pss:         5000 kB': expected Pss from 4096 (what is private) to 4096 kB"),
        (mapping(shared=4096, pss=4097), "to 4096 kB (Rss)"),
        (mapping(huge=1024), "expected AnonHugePages: n x 2048 kB, n from 0 to 2"),
        (mapping(huge=8192), "n from 0 to 2"),
        (mapping(rss=4098), "expected Rss: whole pages of 4 kB"),
        (mapping(swap=8192), "expected Rss and Swap of 8192 kB together at most"),
        (mapping().replace("Size:        8192", "Size:        8188"), "expected Size: 8192 kB, which is what lies between"),
        (mapping().replace("Pss: ", "Psz: "), "expected Pss below it: all the fields of the mapping"),
        (mapping().replace("Pss:         4096 kB", "Pss:  4 thousand kB") + mapping(first=1 << 40), "FIELD: N kB lines"),
        (mapping() + mapping(first=0x7F1300000000).partition("\n")[2], "0.txt:12: 'Size:        8192 kB': expected the"),
        (mapping().replace("VmFlags: rd wr mr mw me ac \n", "") + mapping().partition("\n")[2], "expected Size on"),
        (mapping(pid=7) + mapping(pid=7), "expected each process once, at one moment: process 7 comes twice"),
        (mapping() + mapping(first=0x7F1200000000 + REGION), "mappings of a process do not overlap"),
        ("always madvise never\nRss:  4 kB\nPss: 4 kB\n", "0.txt:2: 'Rss:  4 kB': expected the line with the mapping"),
        ("transparent_hugepage/enabled:always madvise never\n" + mapping(), "the word in force in brackets"),
        ("enabled:[always] madvise never\nenabled:always [madvise] never\n" + mapping(), "0.txt:2: 'enabled:always"),
        ("hello\n\nworld\n", "nothing here is smaps, smaps_rollup, numa_maps or thpmaps"),
        ("", "nothing here is smaps"),
        (b"\x00\x01\x02smaps", "0.txt: is no text"),
        (mapping(shared=4096, pss=512) + "7f1200000000 default anon=1024 mapmax=3 N0=1024", "mapmax"),
        ("7f1200000000 default anon=1024 mapmax=3 N0=1000 N1=4 kernelpagesize_kB=4", "expected anon=1004, the sum of its"),
        ("7f1200000000 default anon=1024 N0=10x4", "expected N0= and a whole number"),
        ("7f1200000000 default anon=1024 N0=1024\n7f1200001000 default", "expected anon=1 at most"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(text, said):
    with pytest.raises(CaptureError) as refused:
        layout_of(text)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"> > {line}\n" for line in text.splitlines()),
        lambda text: text.replace("> ", "").replace(" ", "\u00a0"),
        lambda text: ("\ufeff" + text).encode("utf-16-le"),
        lambda text: "\x1b[01;31m" + text.replace("Rss", "\x1b[mRss"),
        lambda text: text.replace("Rss", "KReclaimable:   7 kB\nWhatIsYetToCome:  3 kB\nRss"),
        lambda text: (
            "MemTotal:  16000 kB\nAnonHugePages:   4096 kB\n" + text + "MemTotal: 1 kB\nAnonHugePages: 2048 kB\n"
        ),
        lambda text: " ".join(text.split("\n")[:1]) + "\n" + " ".join(text.split("\n")[1:-2]) + "\nVmFlags: rd wr\n",
        lambda text: text.replace(" kB", "\nkB"),
        lambda text: "".join(f" * {line}\n" for line in text.splitlines()),
        lambda text: "-------------- snip -------\n" + text + '\n"hg" would be shown, are you sure?\n-- \n',
        lambda text: "&gt; " + text.replace("\n", "\n&gt; "),
        lambda text: "".join(f"{n:6}\t{line}\n" for n, line in enumerate(text.splitlines(), start=1)),
        lambda text: text.replace("00:00 0", "\n00:00 0\n[anon:arena]"),
        lambda text: text.replace("VmFlags: rd wr mr mw me ac ", "VmFlags: rd wr mr\nmw me ac"),
        lambda text: "$ cat /proc/12/smaps\n" + text + "$ \n",
    ],
)
def test_what_mail_and_terminals_do_changes_nothing(change):
    plain, changed = layout_of(mapping(swap=8)), layout_of(change(mapping(swap=8)))
    assert np.array_equal(plain.present, changed.present) and np.array_equal(plain.swapped, changed.swapped)


@pytest.mark.parametrize(
    "text",
    [
        mapping(pid=1) + mapping(pid=2),
        mapping() + mapping(),
        "PID: 1\n" + mapping() + "PID: 2\n" + mapping(),
        "$ cat /proc/1/smaps /proc/2/smaps\n" + mapping() + mapping(),
        "==> a.txt <==\n" + mapping() + "==> b.txt <==\n" + mapping(first=0x7F5500000000),
        "Name:\tx\nPid:\t1\nPPid:\t9\n" + mapping() + "Name:\tx\nPid:\t2\nPPid:\t1\n" + mapping(),
    ],
)
def test_several_processes_in_one_text(text):
    layout = layout_of(text)
    assert (layout.n_processes, rss_kib(layout), layout.parent.tolist()) == (2, [4096, 4096], [0, 0])


def test_a_child_that_comes_first_is_not_the_root():
    status = "Name:\tx\nPid:\t{}\nPPid:\t{}\n"
    texts = [
        status.format(9, 8) + mapping(rss=8),
        status.format(8, 7) + mapping(rss=16),
        status.format(7, 1) + mapping(rss=32),
    ]
    layout = layout_of(*texts)
    assert (rss_kib(layout), layout.parent.tolist()) == ([32, 16, 8], [0, 0, 1])


def test_numa_maps_of_the_only_process_tell_its_family():
    text = mapping(shared=4096, pss=1024)
    alone, both = (
        layout_of(text),
        layout_of(text, "7f1200000000 default anon=1024 mapmax=6 N0=1024 kernelpagesize_kB=4"),
    )
    assert (alone.n_processes, both.n_processes) == (4, 6)
    assert both.provenance["most_sharers"] == 6 and pss_kib(both) == pytest.approx([1024], abs=4)


def test_a_mail_in_quoted_printable():
    text = "> 7f1200000000 default anon=1024 dirty=1024 mapmax=6 active=0 N0=1024 kernelpagesize_kB=4"
    broken = text.replace("=", "=3D").replace("active", "ac=\ntive") + "\n> 7f1300000000 default=\n"
    plain, changed = layout_of(text), layout_of(broken)
    assert np.array_equal(plain.present, changed.present) and plain.n_processes == changed.n_processes == 6


def test_where_pss_says_more_frames_groups_are_apart():
    """Four processes map 1,024 pages that each of them shares with one other: two groups of two."""
    layout = layout_of("".join(mapping(pid=pid, shared=4096, pss=2048) for pid in range(1, 5)))
    assert layout.n_processes == 4 and pss_kib(layout) == [2048] * 4
    assert layout.provenance["mean_sharers"] == "1.999 to 2 by Pss, 2 as assumed"


def test_copies_of_workers_lie_apart_where_pss_says_so():
    """Of 1,000 frames four workers have copied 100 each, none of which another has: 600 are the family's, 400 lack one."""
    root = mapping(pid=1, rss=4000, shared=4000, pss=(600 * 4) // 5 + 400)
    worker = (mapping(pid=pid, rss=4000, shared=3600, pss=600 * 4 // 5 + 300 + 400) for pid in range(2, 6))
    layout = layout_of(root + "".join(worker))
    assert layout.n_processes == 5 and rss_kib(layout) == [4000] * 5
    assert pss_kib(layout) == pytest.approx([880, 1180, 1180, 1180, 1180], abs=2)
    pages = np.bitwise_count(layout.cell_slots).sum(axis=1, dtype=np.int64)
    sharers = layout.members.sum(axis=1)[layout.cell_members]
    found = [int(pages[sharers == n].sum()) for n in (1, 4, 5)]
    assert found == pytest.approx([400, 400, 600], abs=6)  # Pss is cut off to whole kB


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
