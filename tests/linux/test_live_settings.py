"""Whatever was changed on the machine is put back, whatever ends the command."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.linux.live import bench_or_skip
from thpsweep.errors import LiveError
from thpsweep.linux.live import settings
from thpsweep.linux.live.settings import KHUGEPAGED, MIN_FREE, THP, Settings, chosen

pytestmark = pytest.mark.live

WATCHED = [
    *(KHUGEPAGED / name for name in ("scan_sleep_millisecs", "alloc_sleep_millisecs", "pages_to_scan", "defrag")),
    *(KHUGEPAGED / name for name in ("max_ptes_none", "max_ptes_swap", "max_ptes_shared")),
    THP / "enabled",
    MIN_FREE,
    Path("/proc/sys/vm/percpu_pagelist_high_fraction"),
    Path("/proc/swaps"),
]


@pytest.fixture
def own_lock(monkeypatch, tmp_path):
    monkeypatch.setattr(settings.tempfile, "gettempdir", lambda: str(tmp_path))


def test_settings_come_back_in_reverse_order(own_lock, tmp_path) -> None:
    one, words = tmp_path / "one", tmp_path / "words"
    one.write_text("1\n")
    words.write_text("always [madvise] never\n")
    with pytest.raises(ZeroDivisionError), Settings() as held:
        held.set(one, 2)
        held.set(one, 3)
        held.set(words, "never")
        assert (one.read_text(), words.read_text()) == ("3", "never")
        raise ZeroDivisionError
    assert (one.read_text(), words.read_text()) == ("1", "madvise")


def test_the_chosen_word_of_a_list(tmp_path) -> None:
    (tmp_path / "words").write_text("always defer [madvise] never\n")
    assert chosen(tmp_path / "words") == "madvise"


def test_a_setting_that_cannot_be_changed_is_named(own_lock, tmp_path) -> None:
    with Settings() as held, pytest.raises(LiveError, match="nowhere"):
        held.set(tmp_path / "nowhere", 1)


def test_an_administrators_min_free_kbytes_comes_back() -> None:
    """A write to `enabled`, even of what it says, raises it: mm/khugepaged.c set_recommended_min_free_kbytes() (v6.18)."""
    with bench_or_skip():
        pass
    with Settings(patience_s=60) as held:
        held.set(MIN_FREE, 20_000)
        with held.section():
            held.set(THP / "enabled", chosen(THP / "enabled"))
            if chosen(MIN_FREE) == "20000":
                pytest.skip("20,000 is enough for huge pages on this machine")
        assert chosen(MIN_FREE) == "20000"


def test_only_one_at_a_time(own_lock) -> None:
    with Settings(), pytest.raises(LiveError, match="another thpsweep"), Settings():
        pass


def test_sigterm_unwinds(own_lock, tmp_path) -> None:
    one = tmp_path / "one"
    one.write_text("1")
    with pytest.raises(SystemExit), Settings() as held:
        held.set(one, 2)
        os.kill(os.getpid(), signal.SIGTERM)
    assert one.read_text() == "1"


def test_handlers_of_signals_come_back(own_lock) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Settings() as held, held.section():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def machine() -> dict[str, object]:
    """Describe all that a run may change."""
    seen: dict[str, object] = {str(path): path.read_text() for path in WATCHED if path.exists()}
    seen["zram"] = sorted(path.name for path in Path("/sys/block").glob("zram*"))
    seen["cgroups"] = sorted(map(str, Path("/sys/fs/cgroup").glob("**/thpsweep-*")))
    seen["mounts"] = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "thpsweep" in line]
    seen["actors"] = actors()
    return seen


def actors() -> list[str]:
    """List live processes of ours; one that has ended is a zombie until its parent or init looks."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().rpartition(")")
            pids += [path.parent.name] if "(actor-" in name and rest.split()[0] not in "ZX" else []
    return pids


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (["validate", "--rounds", "50"], signal.SIGINT, 130),
        (["calibrate"], signal.SIGINT, 130),
        (["calibrate"], signal.SIGTERM, 143),
    ],
)
@pytest.mark.parametrize("after_s", [0.3, 2.0])
def test_an_interrupted_command_leaves_nothing_changed(command, number, code, after_s) -> None:
    with bench_or_skip("khugepaged"):
        pass  # the machine can do it, and nobody else is at it
    before = machine()
    kept = signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # where we were started with it ignored, so would the command be
    process = subprocess.Popen(
        [sys.executable, "-m", "thpsweep", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, kept)
    begun(process, before)
    time.sleep(after_s)
    process.send_signal(number)
    process.send_signal(number)  # the second one of an impatient user
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert machine() == before


def begun(process: subprocess.Popen, before: dict[str, object]) -> None:
    """Wait until the command has changed something."""
    until = time.monotonic() + 30
    while machine() == before:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)


HOLDS_A_MOUNT = """
import os, signal
from thpsweep.linux.live.mounts import mounted
with mounted("tracefs") as place:
    print((place / "trace_clock").read_text(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_mount_of_our_own_is_usable_and_goes_with_the_process_also_when_it_is_killed(tmp_path) -> None:
    """In a mount namespace without tracefs: what a killed process left would stand in its table of mounts."""
    if os.geteuid() != 0:
        pytest.skip("not root: cannot mount")
    script = (
        "while umount -t tracefs -a -l 2>/dev/null && grep -q ' tracefs ' /proc/mounts; do :; done\n"
        f"export TMPDIR={tmp_path}\n"
        f"{shlex.quote(sys.executable)} -c {shlex.quote(HOLDS_A_MOUNT)}\n"
        "echo killed: $?\ngrep -c ' tracefs ' /proc/mounts\n"
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "cannot be" in done.stderr:
        pytest.skip(f"no mount namespace or no tracefs: {done.stderr.strip().splitlines()[-1]}")
    assert "mono" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-2:] == ["killed: 137", "0"]
    assert not list(tmp_path.iterdir())
