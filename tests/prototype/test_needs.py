"""What is missing is told in one line, before anything is fetched or built."""

import pytest

from thpsweep.cli import main
from thpsweep.errors import OptionError
from thpsweep.linux.prototype.kernels import KERNELS, kernel
from thpsweep.linux.prototype.needs import programs


def test_without_anything_all_of_it_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as ended:
        main(["prototype", "check"])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and line.startswith("thpsweep: prototype: missing apt-get ")
    for program in programs(kernel("6.12")):
        assert program.name in line and program.package in line
    assert not (tmp_path / "cache").exists()


def test_an_unknown_kernel_is_refused_with_those_that_are_known():
    with pytest.raises(OptionError, match="--kernel") as refused:
        kernel("2.4")
    assert all(name in str(refused.value) for name in KERNELS)


@pytest.mark.parametrize("name, said", [("nowhere/x.yaml", "folder that exists"), ("other.yaml", "expected a table")])
def test_a_file_that_cannot_take_prices_is_refused_before_they_are_counted(name, said, tmp_path, capsys):
    (tmp_path / "other.yaml").write_text("a: 1\n")
    with pytest.raises(SystemExit) as ended:
        main(["prototype", "price", "--out", str(tmp_path / name)])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and said in line


def test_no_family_at_all_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["prototype", "compare", "--families", "0"])
    assert ended.value.code == 2 and "--families=0" in capsys.readouterr().err
