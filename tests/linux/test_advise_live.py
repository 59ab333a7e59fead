"""`thpsweep advise` as a user meets it, on a preforking server that was started for the test."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thpsweep.answers.advise.choices import choices
from thpsweep.errors import LiveError
from thpsweep.linux import trial
from thpsweep.linux.capture.provenance import describe
from thpsweep.linux.live.settings import KHUGEPAGED, THP, chosen
from thpsweep.linux.proc.tree import family

pytestmark = pytest.mark.live

SERVICE = Path(__file__).parents[2] / "jobs" / "prefork_service.py"
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
    said, took_s = advise(tmp_path, "--pid", str(server), "--seconds", "4", "--all-commands")
    print(f"took {took_s:.0f} s")
    assert f"{WORKERS + 1} processes" in said
    for words in (
        "max_ptes_shared=511",
        "MADV_COLLAPSE by all",
        "THP off in workers",
        "switch",
        "echo 511",
        "collapse --pid",
    ):
        assert words in said, words
    written = float(re.search(r"worker_hot_writes_per_page_hour=([\d.e+]+)", said).group(1))
    assert written == pytest.approx(40 / (REGIONS * 512 / 4) * 3600, rel=0.5)  # 40 a second on a quarter of the pages
    assert os.path.exists(re.search(r"--capture (\S+)", said).group(1))


def test_settings_are_applied_and_undone_by_what_is_printed(madvised, server):
    """Paste each choice's lines into a shell, the settings being put back in any case."""
    if madvised is None:
        pytest.skip("this kernel has no transparent huge pages")
    files = [THP / "enabled", *sorted(path for path in KHUGEPAGED.iterdir() if path.stat().st_mode & 0o200)]
    for file in files:
        madvised.set(file, chosen(file))
    before = {file: file.read_text() for file in files}
    tried = 0
    for choice in choices(describe(family(server, True)), 60.0, REGIONS):
        wanted = [line.split() for line in choice.commands.apply if line.startswith("echo ")]
        if not wanted:
            continue
        paste(choice.commands.apply)
        assert {chosen(Path(path)) for _, _, _, path in wanted} == {value for _, value, _, _ in wanted}, choice.name
        paste(choice.commands.undo)
        assert {file: file.read_text() for file in files} == before, choice.name
        tried += 1
    assert tried >= 5


def paste(lines, **variables):
    done = subprocess.run(
        ["sh", "-eu", "-c", "\n".join(lines)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def service(*options):
    with subprocess.Popen([sys.executable, str(SERVICE), *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline().startswith("pid ")
            yield process.pid
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.alone
@pytest.mark.slow
def test_a_loaded_service_gets_an_action_that_can_be_pasted(madvised, frames_are_shown, tmp_path):
    shim = tmp_path / "thpsweep"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m thpsweep "$@"\n')
    shim.chmod(0o755)
    with service("--workers", "3", "--preload-mib", "24") as pid:
        said, _ = advise(tmp_path, "--pid", str(pid), "--seconds", "6", "--hours", "0.1", "--replicates", "2")
        print(said)
        assert said.startswith(("Do this: ", "Do nothing: ", "Measure this first: "))
        (command,) = {line.strip() for line in said.splitlines() if re.match(r"  thpsweep collapse .*--apply", line)
                      and "--no-children" not in line}  # fmt: skip
        shown = paste([command], PATH=f"{tmp_path}:{os.environ['PATH']}")
        planned, found = re.search(r"AnonHugePages +(?:0 B|[\d.]+ MiB) \+ ([\d.]+) MiB +([\d.]+) MiB", shown).groups()
        assert float(found) == pytest.approx(float(planned), abs=8.0)  # it goes on meanwhile


@pytest.mark.alone
@pytest.mark.slow
def test_an_idle_service_is_to_be_measured_first(madvised, frames_are_shown, tmp_path):
    with service("--workers", "2", "--preload-mib", "8", "--requests-per-s", "0") as pid:
        time.sleep(1)  # what starting took is over
        said, _ = advise(tmp_path, "--pid", str(pid), "--seconds", "3", "--hours", "0.1", "--replicates", "2")
    first, why, *_ = said.splitlines()
    assert first.startswith("Measure this first: put its usual load on it") and "idle" in why


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
