"""Which mappings count, and what of them lies on region boundaries?"""

import pytest

from thpsweep.linux.proc.maps import anonymous_span

REGION = 2 << 20


def line(first, end, permissions="rw-p", inode=0, name=""):
    return f"{first:x}-{end:x} {permissions} 00000000 00:00 {inode}                  {name}"


def test_the_aligned_inside():
    assert anonymous_span(line(3 * REGION - 4096, 7 * REGION + 4096)) == (3, 7)


def test_exact_borders():
    assert anonymous_span(line(3 * REGION, 4 * REGION)) == (3, 4)


def test_less_than_a_region_between_borders():
    assert anonymous_span(line(3 * REGION + 4096, 5 * REGION - 4096)) is None


@pytest.mark.parametrize("name", ["", "[heap]", "[anon:glibc malloc]"])
def test_private_anonymous_memory_counts(name):
    assert anonymous_span(line(0, REGION, name=name)) == (0, 1)


def test_a_private_mapping_of_dev_zero_is_anonymous():
    assert anonymous_span(line(0, REGION, inode=4, name="/dev/zero")) == (0, 1)


@pytest.mark.parametrize(
    "rest",
    [{"name": "[stack]"}, {"name": "[vdso]"}, {"name": "[vvar]"}, {"permissions": "rw-s"}, {"name": "[anon_shmem:x]"},
     {"inode": 7, "name": "/usr/lib/x.so"}, {"inode": 7, "name": "/dev/zero (deleted)"},
     {"permissions": "rw-s", "inode": 4, "name": "/dev/zero"},
     {"inode": 9, "name": "/anon_hugepage (deleted)"}],
)  # fmt: skip
def test_everything_else_does_not(rest):
    assert anonymous_span(line(0, REGION, **rest)) is None
