"""Does a layout come back from its file as it was, and is everything else refused with one sentence?"""

import dataclasses
import hashlib
import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.layouts import board, layout_of, random_layout, slots_of
from thpsweep.errors import CaptureError
from thpsweep.model.capture import layout as layout_module
from thpsweep.model.capture.layout import ARRAYS, MAX_PROCESSES, Layout, content_hash


def small():
    """Two processes that share slots 0 and 1 of region 0, have slot 2 each, and a folio in region 1."""
    shared = {(0, 0): (0, "a"), (0, 1): (0, "a")}
    folio = {(1, slot): (1, "sub") for slot in range(512)}
    return layout_of([shared | {(0, 2): (0, "p")} | folio, shared | {(0, 2): (0, "c")} | folio], huge={(0, 1)},
                     swapped=[(1, 0, 9)], outside={(0, (0, 1), 0): 3})  # fmt: skip


def arrays_of(path):
    with np.load(path) as archive:
        return dict(archive)


def assert_equal(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.provenance == other.provenance


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.npz"
    small().save(path)
    return path


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_processes=st.integers(1, 5), n_regions=st.integers(1, 3))
def test_round_trip(tmp_path_factory, seed, n_processes, n_regions):
    layout = random_layout(np.random.default_rng(seed), n_processes, n_regions)
    path = tmp_path_factory.mktemp("layout") / "random.npz"
    layout.save(path)
    assert_equal(Layout.load(path), layout)


def test_random_layouts_reach_every_feature():
    layouts = [random_layout(np.random.default_rng(seed), 4, 3) for seed in range(10)]
    for name in ("swapped", "huge", "cell_folio", "cell_outside", "parent"):
        assert any(getattr(layout, name).any() for layout in layouts), name
    assert {int(n) for layout in layouts for n in layout.members.sum(axis=1)} == {1, 2, 3, 4}


def test_slots_are_little_endian_in_their_words():
    layout = small()
    assert layout.present[0, 0, 0] == 0b111
    assert slots_of(layout.swapped[1, 0]) == [9]


def test_cell_start_is_a_row_pointer():
    layout = small()
    assert layout.cell_start.tolist() == [0, 3, 4]


def test_the_same_layout_makes_the_same_file(tmp_path):
    small().save(tmp_path / "one.npz")
    small().save(tmp_path / "two.npz")
    assert content_hash(tmp_path / "one.npz") == content_hash(tmp_path / "two.npz")


def test_content_hash_is_sha256(saved):
    assert content_hash(saved) == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_arrays_of_a_layout_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        small().present[0, 0, 0] = 0


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(path, match):
    """Load a file that must be refused, and check that the message is one line and names it."""
    with pytest.raises(CaptureError, match=match) as caught:
        Layout.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def refiled(saved, **changes):
    """Write the file again with other arrays; None leaves one out."""
    arrays = arrays_of(saved) | changes
    np.savez_compressed(saved, **{name: array for name, array in arrays.items() if array is not None})
    return saved


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated(saved, part):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * part)])
    refused(saved, "not a complete .npz")


def test_not_a_zip(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("present: yes\n" * 100)
    refused(path, "not a complete .npz")


def test_absent(tmp_path):
    refused(tmp_path / "absent.npz", "no such file")


def test_a_folder(tmp_path):
    refused(tmp_path, "cannot be read")


def test_pickled(saved):
    refused(refiled(saved, parent=np.array([0, None], object)), "parent: holds pickled objects")


@pytest.mark.parametrize("name", [*ARRAYS, "provenance", "format"])
def test_missing_array(saved, name):
    refused(refiled(saved, **{name: None}), f"no array '{name}'")


def test_surplus_array(saved):
    refused(refiled(saved, content=np.zeros(4096, np.uint8)), "also holds 'content'")


def test_an_array_twice(saved):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("parent.npy", b"x")
    refused(saved, "also holds 'an array twice'")


@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_dtype(saved, name):
    refused(refiled(saved, **{name: arrays_of(saved)[name].astype(np.float64)}), f"{name}: dtype float64")


@pytest.mark.parametrize("name", ARRAYS)
def test_wrong_number_of_axes(saved, name):
    refused(refiled(saved, **{name: arrays_of(saved)[name][None]}), f"{name}: shape .* axes")


@pytest.mark.parametrize("name", sorted(set(ARRAYS) - {"present", "cell_region"}))
def test_lengths_that_do_not_fit(saved, name):
    array = arrays_of(saved)[name]
    longer = np.concatenate([array, array], axis=-1)
    refused(refiled(saved, **{name: longer}), f"{name}: shape .* was expected")


@pytest.mark.parametrize("version", [0, 3, -1])
def test_unknown_version(saved, version):
    refused(refiled(saved, format=np.int64(version)), f"format version {version}: this thpsweep reads 1, 2")


def test_more_processes_than_a_family_may_have(saved):
    n = MAX_PROCESSES + 1
    zeros = {"present": np.zeros((n, 1, 8), np.uint64), "swapped": np.zeros((n, 1, 8), np.uint64),
             "huge": np.zeros((n, 1), bool), "members": np.ones((3, n), bool), "parent": np.zeros(n, np.int32)}  # fmt: skip
    refused(refiled(saved, **zeros), f"{n} processes")


def test_a_bomb_is_refused_before_it_is_unpacked(saved, monkeypatch):
    monkeypatch.setattr(layout_module, "MAX_FILE_BYTES", 500)
    refused(saved, r"unpacks to \d+ bytes: expected 500")


def test_a_header_that_promises_more_than_there_is(saved):
    promise = io.BytesIO()
    np.lib.format.write_array_header_1_0(promise, {"descr": "<u8", "fortran_order": False, "shape": (1 << 40, 1, 8)})
    rewrite(saved, "present.npy", promise.getvalue())
    refused(saved, "present: its size does not fit its shape")


def test_a_shape_that_overflows_64_bits(saved):
    promise = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        promise, {"descr": "<u8", "fortran_order": False, "shape": (1 << 32, 1 << 32, 8)}
    )
    rewrite(saved, "present.npy", promise.getvalue())
    refused(saved, "present: its size does not fit its shape")


@pytest.mark.parametrize(
    ("text", "match"),
    [(b"{", "not JSON"), (b"[" * 50_000, "not JSON"), (b"[1]", "not a table"), (b'{"a": [1]}', "neither text nor"),
     (b" " * 70_000, "70000 bytes: expected")],
)  # fmt: skip
def test_bad_provenance(saved, text, match):
    refused(refiled(saved, provenance=np.frombuffer(text, np.uint8)), match)


def rewrite(path, name, content):
    """Put another content under one name of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in (members | {name: content}).items():
            archive.writestr(member, data)


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_one_damaged_byte_is_refused_or_harmless(tmp_path_factory, place, bits):
    path = tmp_path_factory.mktemp("damage") / "damaged.npz"
    small().save(path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= bits
    path.write_bytes(content)
    try:
        layout = Layout.load(path)
    except CaptureError:
        return
    assert_equal(layout, small())


# Cells of `small()`: 0 = slot 2 of the parent, 1 = slots 0 and 1 of both, 2 = slot 2 of the child, 3 = the folio.
ALL = 2**64 - 1
BROKEN = {
    "in no region": {"cell_region": [0, 0, 0, 2]},
    "not in the order": {"cell_region": [0, 0, 1, 0]},
    "member set that does not exist": {"cell_members": [0, 1, 9, 1]},
    "has no slot": {"cell_slots": lambda cells: cells * np.array([[0], [1], [1], [1]], np.uint64)},
    "negative folio": {"cell_folio": [0, 0, 0, -1]},
    "folio has a number above": {"cell_folio": [0, 0, 0, 5]},
    "negative folio or outside": {"cell_outside": [-1, 0, 0, 0]},
    "member set is empty": {"members": [[True, False], [True, True], [False, False]]},
    "two member sets are the same": {"members": [[True, False], [True, False], [False, True]]},
    "same region, members and folio": {"cell_members": [0, 1, 0, 1]},
    "present and swapped at once": {"swapped": lambda boards: boards | np.uint64(1)},
    "parent does not stand before": {"parent": [0, 1]},
    "parent does not stand before its": {"parent": [1, 0]},
    "folio is in two regions": {"cell_folio": [0, 1, 0, 1]},
    "folio has two frames in one slot": {"cell_folio": [2, 0, 2, 1]},
    "process 0 maps two frames in one slot": {"cell_slots": lambda cells: cells | board([0])},
    "cells of process 0 are not its present slots": {"cell_slots": lambda cells: cells << np.uint64(3)},
    "cells of process 1 are not its": {"present": lambda boards: boards & np.array([[[ALL]], [[3]]], np.uint64)},
    "huge region of process 0 is not present": {"huge": [[True, True], [False, False]]},
    "huge region of process 0 is not one folio": {"cell_folio": [0, 0, 0, 0]},
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_broken_invariants_cannot_be_built(sentence):
    layout = small()
    changes = {
        name: change(getattr(layout, name)) if callable(change) else np.array(change, getattr(layout, name).dtype)
        for name, change in BROKEN[sentence].items()
    }
    with pytest.raises(CaptureError, match=sentence):
        dataclasses.replace(layout, **changes)


def test_broken_invariants_are_refused_in_a_file(saved):
    refused(refiled(saved, parent=np.array([1, 0], np.int32)), "broken: a parent does not stand before its child")


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(CaptureError, match="fifo: cannot be written: not a regular file"):
        small().save(fifo)
    assert fifo.is_fifo() and [*tmp_path.iterdir()] == [fifo]


def test_saving_where_nothing_can_be_written(tmp_path):
    with pytest.raises(CaptureError, match=r"nowhere/small\.npz: cannot be written"):
        small().save(tmp_path / "nowhere" / "small.npz")


def test_a_failed_save_leaves_no_part(tmp_path):
    (tmp_path / "taken.npz").mkdir()
    with pytest.raises(CaptureError, match="cannot be written"):
        small().save(tmp_path / "taken.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.npz"]


def test_content_hash_of_nothing(tmp_path):
    with pytest.raises(CaptureError, match="cannot be read"):
        content_hash(tmp_path / "absent.npz")
