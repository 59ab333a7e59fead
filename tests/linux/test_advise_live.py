"""`thpsweep advise` as a user meets it, on a preforking server that was started for the test."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thpsweep.errors import LiveError
from thpsweep.linux import trial
from thpsweep.linux.proc.tree import family

pytestmark = pytest.mark.live

SERVER = Path(__file__).parent / "prefork.py"
REGIONS, WORKERS = 16, 4
COMMAND = [sys.executable, str(SERVER), str(REGIONS), str(WORKERS), "40"]
THPSWEEP = [sys.executable, "-m", "thpsweep"]


@pytest.fixture
def server(frames_are_shown):
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def advise(folder, *words):
    begun = time.monotonic()
    done = subprocess.run(
        [*THPSWEEP, "advise", "--dir", folder, *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - begun


def servers():
    """List the processes that run the server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(SERVER).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.alone
@pytest.mark.slow
def test_a_live_server_gets_its_table(madvised, server, tmp_path):
    said, took_s = advise(tmp_path, "--pid", str(server), "--seconds", "4")
    print(f"took {took_s:.0f} s")
    assert f"{WORKERS + 1} processes" in said
    for words in (
        "max_ptes_shared=511",
        "MADV_COLLAPSE by all",
        "THP off in workers",
        "switch",
        "echo 511",
    ):
        assert words in said, words
    written = float(re.search(r"worker_hot_writes_per_page_hour=([\d.e+]+)", said).group(1))
    assert written == pytest.approx(40 / (REGIONS * 512 / 4) * 3600, rel=0.5)  # 40 a second on a quarter of the pages
    assert os.path.exists(re.search(r"--capture (\S+)", said).group(1))


@pytest.mark.alone
@pytest.mark.slow
def test_try_shows_prediction_and_kernel_side_by_side(frames_are_shown, tmp_path):
    before = set(servers())
    said, _ = advise(tmp_path, "--seconds", "2", "--hours", "0.1", "--replicates", "2", "--try", "--", *COMMAND)
    assert set(servers()) <= before
    for name in (
        "PMD-mapped regions",
        "AnonHugePages",
        "memory more",
        "pages whose sharing ended",
        "LRU entries removed",
    ):
        (line,) = [line for line in said.splitlines() if line.strip().startswith(name)]
        ratio = float(line.split()[-1])
        assert ratio == pytest.approx(1.0, rel=0.1), line  # the server goes on writing meanwhile
    assert re.search(r"CPU of collapsing, ms\s+[\d.,]+\s+[\d.,]+", said)


@pytest.mark.alone
@pytest.mark.slow
def test_ctrl_c_ends_what_was_started(frames_are_shown, tmp_path):
    before = set(servers())
    command = [*THPSWEEP, "advise", "--dir", tmp_path, "--seconds", "60", "--try", "--", *COMMAND]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while (
            len(set(servers()) - before) < WORKERS + 2 and time.monotonic() < until
        ):  # its own words name the server, too
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert set(servers()) <= before


def test_a_tree_is_ended_even_if_it_does_not_listen(tmp_path):
    stubborn = "import os,signal,time; signal.signal(15, signal.SIG_IGN); os.fork(); print(flush=True); time.sleep(100)"
    with pytest.raises(KeyboardInterrupt), trial.started([sys.executable, "-c", stubborn]) as pid:
        while len(family(pid, True).processes) < 2:
            time.sleep(0.05)
        pids = [process.pid for process in family(pid, True).processes]
        raise KeyboardInterrupt
    assert not [pid for pid in pids if Path(f"/proc/{pid}/smaps_rollup").exists() and _maps(pid)]


def _maps(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_command_that_is_not_there():
    with pytest.raises(LiveError, match="--try /none/such: cannot be started"), trial.started(["/none/such"]):
        pass


def test_a_command_that_ends_at_once():
    with pytest.raises(LiveError, match="has ended"), trial.started([sys.executable, "-c", ""]) as pid:
        trial.settle(pid)


def test_try_wants_a_command():
    done = subprocess.run([*THPSWEEP, "advise", "--try"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "") and "--try -- COMMAND" in done.stderr
