"""What the command line says where something is wrong, and what to do next."""

import os
import re
import subprocess
import sys

import pytest

from thpsweep.cli import main
from thpsweep.linux.capture import command
from thpsweep.model.capture import files
from thpsweep.shipped import machine_file

ME = str(os.getpid())


def said(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code, capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("capture", "--pid", ME, "--out", "x.txt"), "--out x.txt: expected a file whose name ends in .npz"),
        (("capture", "--pid", ME, "--out", "x.npz", "--seconds", "-1"), "--seconds -1: expected a number of seconds"),
        (("advise", "--pid", ME, "--seconds", "-1"), "--seconds -1: expected a number of seconds"),
        (("advise", "--capture", "redis_bgsave", "workload.reads=1"), "expected workload.KEY with KEY one of"),
        (("advise", "--capture", "redis_bgsave", "gunicorn"), "gunicorn: expected workload.KEY=VALUE"),
    ],
)
def test_one_line_says_what_is_expected(capsys, words, expected):
    code, out = said(capsys, *words)
    assert code == 2 and expected in out.err and out.err.count("\n") == 1


@pytest.mark.parametrize("words", [("capture", "--pid", ME, "--out", "x.npz"), ("collapse", "--pid", ME), ("status",)])
def test_a_usage_error_shows_the_usage_of_its_verb(capsys, words):
    code, out = said(capsys, *words, "--bogus")
    assert code == 2 and out.err.startswith(f"usage: thpsweep {words[0]} ") and "--bogus" in out.err


def test_the_line_to_try_next_keeps_the_captured_sharing(capsys, monkeypatch, tmp_path):
    layout = files.load(files.find("", "redis_bgsave"))
    monkeypatch.setattr(command, "observed", lambda *_: layout)
    out = tmp_path / "a.npz"
    assert command.capture(1, out, True, 0.0, True, machine_file("--machine", "milan_vm")) == 0
    printed = capsys.readouterr().out
    (line,) = re.findall(r"thpsweep (sweep .*)", printed)
    assert "sharing=captured" in line and f"thpsweep advise --capture {out}" in printed
    arguments = [*line.replace("sweep", "plan", 1).split(), f"sweep.dir={tmp_path}", "--all"]
    done = subprocess.run([sys.executable, "-m", "thpsweep", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "captured" in done.stdout, done.stderr


def test_ctrl_c_says_what_is_kept(capsys, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "observed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.capture(1, tmp_path / "a.npz", True, 5.0, True, machine_file("--machine", "milan_vm"))
    assert "nothing was kept" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_ctrl_c_names_the_capture_that_advice_goes_on_with(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("thpsweep.answers.advise.command.predictions", interrupted)
    code, out = said(capsys, "advise", "--capture", "redis_bgsave", "--walk-share", "0.05")
    assert code == 130 and "thpsweep advise --capture" in out.err and "workload.page_walk_share=0.05" in out.err
