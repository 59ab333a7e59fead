"""What cannot be fetched is told in one line, and leaves nothing half done."""

import shutil

import pytest

from thpsweep.linux.prototype import packages
from thpsweep.linux.prototype.cache import fetched, folder, kept
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import KERNELS, kernel
from thpsweep.linux.prototype.packages import wanted


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_an_archive_that_cannot_be_reached(monkeypatch):
    if shutil.which("apt-get") is None or not packages.KEYS.exists():
        pytest.skip("no apt, or not Debian's keys")
    monkeypatch.setattr(packages, "sites", lambda: ["http://127.0.0.1:9/debian"])
    monkeypatch.setenv("http_proxy", "")
    with pytest.raises(PrototypeError, match="apt-get update failed: E:"):
        fetched(kernel("6.12"), lambda line: None)
    assert kept(kernel("6.12")) is None


def test_packages_come_from_where_this_machine_takes_them():
    line = packages._line(
        ["http://one.example/debian", "http://two.example/debian-security"], "debian-security", "stable"
    )
    assert line.endswith("http://two.example/debian-security stable main\n")
    assert "http://one.example/debian-security stable" in packages._line(
        ["http://one.example/debian"], "debian-security", "stable"
    )
    with pytest.raises(PrototypeError, match="expected one of Debian's mirrors"):
        packages._line(["http://one.example/ubuntu"], "debian", "stable")


def test_a_kernel_is_there_only_when_it_is_complete():
    root = folder() / "6.12" / "6.12.1-cloud-amd64"
    (root / "root" / "boot").mkdir(parents=True)
    assert kept(kernel("6.12")) is None
    (root / "complete").touch()
    known = kept(kernel("6.12"))
    assert known is not None and known.version == "6.12.1-cloud-amd64" and known.root == root / "root"
    with pytest.raises(PrototypeError, match="delete the folder"):
        _ = known.image
    (root / "root" / "boot" / "vmlinuz-6.12.1-cloud-amd64").touch()
    assert known.image.name == "vmlinuz-6.12.1-cloud-amd64"


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    if not packages.KEYS.exists():
        pytest.skip("not Debian's keys")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(PrototypeError, match="XDG_CACHE_HOME names another folder"):
        fetched(kernel("6.12"), lambda line: None)


@pytest.mark.parametrize("name", KERNELS)
def test_image_headers_and_build_tools_are_of_one_version(name):
    version = f"{name}.9+deb-cloud-amd64"
    image, *others = wanted(kernel(name), version)
    assert version in image
    assert others[:3] == [
        f"linux-headers-{version}",
        f"linux-headers-{name}.9+deb-common",
        f"linux-kbuild-{name}.9+deb",
    ]
