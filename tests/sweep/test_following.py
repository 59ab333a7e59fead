"""The process that talks to MLflow: what it does when it is told, and when nobody is there any more."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.sweep.journals import a_point, write
from tests.sweep.recorded import at
from thpsweep.sweep.driver import follower
from thpsweep.sweep.tracking import messages
from thpsweep.sweep.tracking.added import Added
from thpsweep.sweep.tracking.process import EVERY_S, SELDOM_S, CatchUpLoop
from thpsweep.sweep.tracking.target import target


class Fake:
    """Stand in for the tracker: do something when asked to catch up, and remember what it was asked."""

    def __init__(self, act: Callable[["Fake"], None] = lambda _: None) -> None:
        self.act, self.notes = act, list[str]()
        self.asked: list[tuple[bool, bool]] = []

    def catch_up(self, *, ended: bool, final: bool, is_idle: Callable[[], bool]) -> Added:
        """Do it."""
        self.asked.append((ended, final))
        self.act(self)
        return Added(notes=[*self.notes])

    def close(self) -> None:
        """Hold nothing."""


class Script(messages.Lines):
    """Say words to a follower, each after so many looks."""

    def __init__(self, *said: str | None) -> None:
        self.said, self.waited = list(said), list[float | None]()

    def next(self, timeout_s: float | None = None) -> str | None:
        """Give the next."""
        self.waited.append(timeout_s)
        return self.said.pop(0)


def followed(fake: Fake, *said: str | None) -> tuple[int, list[str], Script]:
    """Let our side of the process run through a script."""
    told: list[str] = []
    script = Script(*said)
    following = CatchUpLoop(target(Path(), None), lambda: fake, told.append, lambda: True)  # type: ignore[arg-type,return-value]
    return following.follow(script), told, script


def test_mlflow_is_told_while_the_sweep_runs_and_once_at_the_end() -> None:
    fake = Fake()
    code, told, script = followed(fake, None, None, messages.ENDED, messages.FINAL)
    assert (code, told) == (0, []) and script.waited == [0.0, EVERY_S, EVERY_S, EVERY_S]
    assert fake.asked == [(False, False), (False, False), (True, False), (True, True)]


def test_an_mlflow_that_fails_is_asked_less_and_less_and_spoken_of_once() -> None:
    def broken(_: Fake) -> None:
        raise OSError("no database\ntoday")

    code, told, script = followed(Fake(broken), *[None] * 7, messages.OVER)
    assert code == 1 and script.waited == [0.0, EVERY_S, 4.0, 8.0, 16.0, 32.0, SELDOM_S, SELDOM_S]
    assert len(told) == 1 and "OSError: no database today" in told[0]


def test_what_failed_and_then_worked_is_in_step() -> None:
    def at_first(fake: Fake) -> None:
        if len(fake.asked) < 3:
            raise OSError("not yet")

    code, told, script = followed(Fake(at_first), None, None, None, messages.OVER)
    assert code == 0 and len(told) == 1 and script.waited[-1] == EVERY_S


def test_what_the_user_should_know_is_said_once() -> None:
    fake = Fake()
    fake.notes = ["the experiment was deleted"]
    assert followed(fake, None, None, messages.FINAL)[:2] == (0, fake.notes)


def test_it_ends_without_a_word_to_mlflow_when_the_driver_is_gone() -> None:
    fake = Fake()
    code, _, _ = followed(fake, None, messages.GONE)
    assert code == 1 and len(fake.asked) == 1


def test_lines_come_whole_and_end() -> None:
    read, write_end = os.pipe()
    lines = messages.Lines(read)
    assert lines.next(0.0) is None
    os.write(write_end, b"one\ntw")
    assert lines.next() == "one" and lines.next(0.01) is None
    os.write(write_end, b"o\nthree\n")
    os.close(write_end)
    assert [lines.next() for _ in range(3)] == ["two", "three", messages.GONE]
    os.close(read)


def test_the_process_ends_with_its_driver(root: Path) -> None:
    directory = write(root, [a_point(0, degree=2)])
    process = subprocess.Popen(follower.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    process.stdin.write(messages.Order(directory, at(root)).encode() + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "\n"  # something was done
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    time.sleep(0.1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(30) == 1


def test_a_process_that_is_told_of_no_sweep_ends_without_a_word() -> None:
    process = follower.begin()
    assert process.stdin and process.stdout
    process.stdin.close()
    assert (process.stdout.read(), process.wait(30)) == ("", 1)
