"""What happens to the points of a call that came to nothing."""

import pytest

from thpsweep.sweep.ray.chunks import Chunk
from thpsweep.sweep.ray.retry_policy import MAX_LOSSES, RETRIES, End, RetryPolicy


def chunk_of(keys: str) -> Chunk:
    return [(key, {}) for key in keys]


@pytest.mark.parametrize("n", range(2, 40))
def test_bisection_finds_the_guilty_point_alone_and_nobody_else(n: int) -> None:
    policy = RetryPolicy()
    waiting, given_up, done = [chunk_of([str(i) for i in range(n)])], [], []  # type: ignore[arg-type]
    while waiting:
        chunk = waiting.pop(0)
        if str(n // 3) not in dict(chunk):
            done += [key for key, _ in chunk]
            continue
        again, ended = policy.after(chunk, End.DIED, "signal 9")
        waiting += again
        given_up += ended
    (key, ended_as), *others = given_up
    assert (key, others, ended_as["state"]) == (str(n // 3), [], "quarantined")
    assert sorted(done) == sorted(str(i) for i in range(n) if i != n // 3)


def test_only_lone_deaths_count() -> None:
    policy = RetryPolicy()
    for _ in range(10):
        policy.after(chunk_of("ab"), End.DIED, "")
    for _ in range(RETRIES):
        assert policy.after(chunk_of("a"), End.DIED, "") == ([chunk_of("a")], [])
    _, ((key, ended),) = policy.after(chunk_of("a"), End.DIED, "signal 9")
    assert (key, ended["attempts"], ended["error"]["message"]) == (
        "a",
        10 + RETRIES + 1,
        "its worker process died 3 times, alone with it: signal 9",
    )


def test_an_overrun_is_tried_once_more_at_most() -> None:
    policy = RetryPolicy()
    again, ended = policy.after(chunk_of("abc"), End.OVERRAN, "")
    assert (again, ended) == ([chunk_of("a"), chunk_of("b"), chunk_of("c")], [])
    again, ((key, ended_as),) = policy.after(chunk_of("a"), End.OVERRAN, "too long")
    assert (again, key, ended_as["state"], ended_as["attempts"]) == ([], "a", "timeout", 2)


def test_a_lost_machine_is_nobodys_fault_but_has_an_end() -> None:
    policy = RetryPolicy()
    for _ in range(MAX_LOSSES):
        assert policy.after(chunk_of("ab"), End.LOST, "") == ([chunk_of("ab")], [])
    again, ended = policy.after(chunk_of("ab"), End.LOST, "preempted")
    assert again == [] and [(key, found["state"]) for key, found in ended] == [
        ("a", "quarantined"),
        ("b", "quarantined"),
    ]
    assert policy.after(chunk_of("c"), End.LOST, "") == ([chunk_of("c")], [])
