"""Are processes that have one mm between them found, and no others?"""

import random

import pytest

from thpsweep.linux.proc import kcmp, tree


@pytest.fixture
def known(monkeypatch):
    """Let the pid modulo 1,000 be the mm."""
    monkeypatch.setattr(kcmp.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(
        kcmp, "_compare", lambda number, one, other: (one % 1000 > other % 1000) - (one % 1000 < other % 1000)
    )


def test_the_first_of_each_mm(known):
    mms = [random.Random(7).randrange(20) for _ in range(60)]
    assert kcmp.first_with_mm([1000 * at + mm for at, mm in enumerate(mms)]) == [mms.index(mm) for mm in mms]


def test_children_of_one_that_shares_its_mm_become_those_of_the_first(known):
    processes = [tree.TreeProcess(pid, 0, 0, 1, "S") for pid in (1001, 2002, 3002, 4003)]
    found = tree._one_per_mm(processes, [0, 0, 1, 2])
    assert ([each.pid for each in found.processes], found.parents) == ([1001, 2002, 4003], (0, 0, 1))


def test_where_the_kernel_does_not_tell_each_has_its_own(monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr(kcmp, "_compare", refuse)
    assert kcmp.first_with_mm([5, 6, 7]) == [0, 1, 2]
