"""The process that holds Ray, with bodies that need none: what they say, raise, or die of arrives in the driver."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

import pytest

from thpsweep.errors import OptionError
from thpsweep.sweep.ray import process
from thpsweep.sweep.ray.errors import RayLostError, RayUnavailableError
from thpsweep.sweep.ray.process import Link, RayProcess


def heard(body: Callable[[Link], None], draining: threading.Event | None = None) -> list[tuple[str, object]]:
    """Run a body to its end; answer each question with its double."""
    messages = []
    with contextlib.closing(RayProcess(body)) as one:
        for kind, content in one.messages(draining or threading.Event()):
            messages.append((kind, content))
            if kind == "question":
                one.answer(2 * content)
    return messages


def test_messages_come_in_order_and_questions_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    def body(link: Link) -> None:
        link.started()
        print("a line", file=sys.stderr)
        link.tell("answer", link.ask("question", 21))

    assert heard(body) == [("question", 21), ("answer", 42)]
    assert capsys.readouterr().err == "a line\n"


def test_draining_reaches_it() -> None:
    draining = threading.Event()
    draining.set()
    assert heard(lambda link: link.tell("drained", link.draining.wait(30)), draining) == [("drained", True)]


class Untravelled(Exception):
    """One whose arguments are not those of its class."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@pytest.mark.parametrize(
    ("problem", "kind", "text"),
    [
        (OptionError("a.b", 3, "a 4"), OptionError, "a.b=3: expected a 4"),
        (Untravelled("of", "two"), RuntimeError, "of two"),
    ],
)
def test_what_it_raises_is_raised_in_the_driver(problem: Exception, kind: type[Exception], text: str) -> None:
    def body(link: Link) -> None:
        raise problem

    with pytest.raises(kind, match=text):
        heard(body)


def test_its_end_is_said_with_the_exit_code() -> None:
    def body(link: Link) -> None:
        link.started()
        os._exit(7)

    with pytest.raises(RayLostError, match=r"Ray has ended the process that holds it \(exit code 7\)"):
        heard(body)


def test_a_start_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", 0.2)
    with pytest.raises(RayUnavailableError, match="no answer within 0 s"):
        heard(lambda link: time.sleep(60))


def test_a_part_of_ray_that_dies_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "POLL_S", 0.05)

    def body(link: Link) -> None:
        link.started()
        child = os.fork()
        if not child:
            with open("/proc/self/comm", "w") as name:
                name.write("raylet")
            time.sleep(0.3)
            os._exit(0)
        time.sleep(60)

    with pytest.raises(RayLostError, match="Ray has lost its raylet"):
        heard(body)
