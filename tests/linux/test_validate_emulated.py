"""Another kernel than the one underfoot: what is packed for it, what it prints, and that the model does what it does."""

import base64
import json
import lzma
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.prototype.emulator import stand_in
from thpsweep.cli import main
from thpsweep.errors import OptionError
from thpsweep.linux.prototype import cpio
from thpsweep.linux.prototype.cache import Unpacked
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.needs import EMULATOR
from thpsweep.linux.validate.emulated import boot, kernels
from thpsweep.linux.validate.emulated.kernels import DEBIAN, debian
from thpsweep.linux.validate.emulated.modules import in_order
from thpsweep.linux.validate.emulated.root import SITE, files


def elf(depends: str) -> bytes:
    return b"\x7fELF...license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


def test_a_module_comes_behind_what_it_needs(tmp_path: Path) -> None:
    for name, depends in (("zram", "z-smalloc,lzo"), ("z_smalloc", ""), ("lzo", "z_smalloc")):
        (tmp_path / f"{name}.ko.xz").write_bytes(lzma.compress(elf(depends)))
    (tmp_path / "other.ko").write_bytes(elf("missing"))
    assert in_order(tmp_path, "zram") == [elf(""), elf("z_smalloc"), elf("z-smalloc,lzo")]
    assert in_order(tmp_path, "other") == [elf("missing")] and in_order(tmp_path, "nowhere") == []


def test_folders_come_before_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    cpio.write_tree(tmp_path / "x.cpio", {"deep/er/a": tmp_path / "a", "init": b"#!"})
    packed = (tmp_path / "x.cpio").read_bytes()
    places = [packed.index(name + b"\0") for name in (b"deep", b"deep/er", b"deep/er/a", b"init", b"TRAILER!!!")]
    assert places == sorted(places) and b"text" in packed
    changed_s = int((tmp_path / "a").stat().st_mtime)
    assert b"%08X" % changed_s in packed  # bytecode is checked against it


@pytest.mark.parametrize("name", ["6.12", "debian-2.4", ""])
def test_a_kernel_that_is_none_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(OptionError, match="--kernel") as refused:
        debian(name)
    assert all(known in str(refused.value) for known in DEBIAN)


def test_what_is_missing_is_named_and_nothing_else_that_a_build_would_need(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--kernel", "debian-6.1"])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and EMULATOR in line and "apt-get" in line and "gcc" not in line
    assert not (tmp_path / "cache").exists()


def result_of(monkeypatch, tmp_path: Path, script: str) -> tuple[int, Path]:
    """Validate in a stand-in for a machine, with nothing packed."""
    stand_in(monkeypatch, tmp_path, script)
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-1").touch()
    monkeypatch.setattr(boot, "require", lambda *_: None)
    monkeypatch.setattr(boot, "fetched", lambda kernel, say: Unpacked("1", tmp_path))
    monkeypatch.setattr(boot, "files", lambda modules: {"init": b"#!"})
    out = tmp_path / "out.json"
    return boot.validate_in(kernels.DEBIAN["debian-6.12"], ["--only", "aged"], out), out


@pytest.mark.parametrize("code", [0, 1])
def test_what_the_machine_says_and_its_exit_code_come_back(code: int, monkeypatch, tmp_path, capsys) -> None:
    packed = base64.b64encode(zlib.compress(json.dumps({"scenarios": []}).encode())).decode()
    script = f"echo SeaBIOS; echo begun; echo a table; echo json {packed}; echo done failures={code}"
    returned, out = result_of(monkeypatch, tmp_path, script)
    assert returned == code and json.loads(out.read_text()) == {"scenarios": []}
    assert capsys.readouterr().out == "a table\n"


def test_a_machine_that_stops_early_is_an_error(monkeypatch, tmp_path) -> None:
    with pytest.raises(PrototypeError, match="died; its last line: Kernel panic"):
        result_of(monkeypatch, tmp_path, "echo begun; echo 'Kernel panic'")


def test_what_is_packed_is_enough_to_begin(tmp_path: Path) -> None:
    """Unpacked in a folder, its packages alone let the command be imported and list its scenarios."""
    for name, content in files([]).items():
        if name.startswith(f"{SITE}/"):
            place = tmp_path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            assert isinstance(content, Path)
            place.symlink_to(content)
    command = [sys.executable, "-sSP", "-m", "thpsweep", "validate", "--list", "--only", "collapse_3"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path / SITE)}, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("collapse_3"), done.stderr


@pytest.mark.slow
def test_the_model_does_what_another_kernel_does(tmp_path: Path) -> None:
    """On 6.12 a collapse asks for a writable pte: no region that nobody wrote since the fork has one."""
    try:
        boot.require(kernels.KERNELS["6.12"], boot._NEEDED)
        kernels.fetched(DEBIAN["debian-6.12"], boot.say)
    except PrototypeError as problem:
        pytest.skip(str(problem))
    out = tmp_path / "out.json"
    assert (
        boot.validate_in(
            DEBIAN["debian-6.12"], ["--only", "collapse_3", "--only", "collapse_cow", "--rounds", "1"], out
        )
        == 0
    )
    told = json.loads(out.read_text())
    assert told["kernel_release"].startswith("6.12.")
    found = {one["name"]: (one["kernel"], one["equal"]) for one in told["scenarios"]}
    assert found == {"collapse_3": (["PAGE_RO EINVAL"], True), "collapse_cow": (["SUCCEED"], True)}
