"""A fault in pasted text is one line that names it, and what mail and terminals do to text changes nothing."""

import numpy as np
import pytest

from tests.linux.pasted import REGION, layout_of, mapping, pss_kib, rss_kib
from thpsweep.errors import CaptureError


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
