"""What `thpsweep advise` prints "for good" is taken by systemd to the letter: a drop-in, and a line of tmpfiles.d.

systemd 252 (Debian 12) reads them from folders of the test's own: no service is started, and nothing of the machine is set.
It showed that a command without a path is refused where it is not in systemd's own few folders ("Command thpsweep is not
executable"): a virtual environment never is. That a service ends whose ExecStartPost fails is from systemd.service(5).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thpsweep.answers.advise import commands
from thpsweep.answers.advise.commands import MAX_BYTES, ServiceName, collapse, settings

SETTING = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_shared"
UNITS = ("web.service", "web@1.service", r"web\x2dapi.service")


def needs(tool):
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"no {tool} here (Debian: apt-get install systemd)")
    return found


def pasted(lines, folder, units):
    """Have a shell take the lines, /etc being a folder of the test's own, and systemctl reloading nothing."""
    text = "\n".join(lines).replace("/etc/", f"{folder}/etc/").replace("systemctl daemon-reload", "true")
    subprocess.run(["sh", "-eu", "-c", text.replace(MAX_BYTES, "64M")], check=True)
    return sorted(str(path.relative_to(folder)) for path in units.rglob("*.conf"))


@pytest.mark.parametrize("unit", UNITS)
def test_a_drop_in_is_what_systemd_takes(unit, tmp_path, monkeypatch):
    program = tmp_path / "a venv" / "thpsweep"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / unit).write_text("[Service]\nExecStart=/bin/true\n")
    made = collapse(ServiceName("7", unit), only_root=True)
    where = f"etc/systemd/system/{unit}.d/thpsweep.conf"
    assert pasted(made.keep, tmp_path, units) == [where]
    verify = [needs("systemd-analyze"), "verify", str(units / unit)]
    drop_in = tmp_path / where
    drop_in.write_text(drop_in.read_text().replace("=-+", "=+"))  # what may fail is not looked up by verify
    variables = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    done = subprocess.run(verify, capture_output=True, text=True, env=variables, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    program.unlink()
    done = subprocess.run(verify, capture_output=True, text=True, env=variables, check=False)
    assert f"{program} is not executable" in done.stderr  # the drop-in was read, with its path in one piece
    assert pasted(made.unkeep, tmp_path, units) == []


def test_a_service_survives_a_collapse_that_does_nothing():
    (line,) = [line for line in collapse(ServiceName("7", "web.service"), only_root=False).keep if line[0] != "#"]
    assert f"'ExecStartPost=-+{commands._executable()} collapse --pid $MAINPID" in line


def test_a_line_of_tmpfiles_d_is_what_systemd_takes(tmp_path):
    file = tmp_path / SETTING[1:]
    file.parent.mkdir(parents=True)
    file.write_text("256\n")
    made = settings({SETTING: 511}, {SETTING: 256})
    assert pasted(made.keep, tmp_path, tmp_path) == ["etc/tmpfiles.d/thpsweep.conf"]
    conf = tmp_path / "etc/tmpfiles.d/thpsweep.conf"
    subprocess.run([needs("systemd-tmpfiles"), "--create", f"--root={tmp_path}", str(conf)], check=True)
    assert file.read_text() == "511\n"
    assert pasted(made.unkeep, tmp_path, tmp_path) == [] and not Path(conf).exists()
