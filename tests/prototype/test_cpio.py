"""The initramfs is what cpio reads."""

import shutil
import subprocess

import pytest

from thpsweep.linux.prototype.cpio import archive

FILES = {"init": b"#!" * 333, "plays": b"", "shcollapse.ko": bytes(range(256)) * 5}


def test_cpio_unpacks_what_was_packed(tmp_path):
    if shutil.which("cpio") is None:
        pytest.skip("no cpio")
    subprocess.run(["cpio", "-i", "--quiet"], input=archive(FILES), cwd=tmp_path, check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == FILES
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in tmp_path.iterdir())


def test_each_entry_and_its_content_begin_at_a_multiple_of_four():
    packed = archive({"abc": b"12345", "d": b"6"})
    starts = [at for at in range(len(packed)) if packed.startswith(b"070701", at)]
    assert len(starts) == 3 and all(at % 4 == 0 for at in starts) and packed.find(b"12345") % 4 == 0
