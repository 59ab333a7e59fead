"""`thpsweep advise` and `collapse` on servers that people run: redis-server with and without BGSAVE, PostgreSQL."""

import contextlib
import os
import shutil
import subprocess
import time

import pytest

from jobs import capture_redis
from tests.linux.advised import advise, applied_and_undone, collapsed, row_of, thpsweep
from tests.servers import postgres

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.alone, pytest.mark.servers]

KEYS = 20_000
SORTED = """SET work_mem = '256MB'; BEGIN;
DECLARE sorted SCROLL CURSOR FOR SELECT g, repeat('x', 200) FROM generate_series(1, 60000) g ORDER BY md5(g::text);
MOVE FORWARD ALL FROM sorted;
"""
"""A sort that a backend keeps in memory of its own: 20 MiB or so."""


@contextlib.contextmanager
def loaded_redis():
    """Have a redis-server with 20 MiB of values, which a client overwrites."""
    for tool in ("redis-server", "redis-benchmark"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here (Debian: apt-get install redis-server)")
    with capture_redis.own_redis() as (server, port):
        capture_redis.write(port, "item", KEYS, 3 * KEYS)
        load = ["redis-benchmark", "-p", str(port), "-r", "500", "-n", "1000000000", "-c", "1", "-q"]
        value = "v" * capture_redis.VALUE_BYTES
        with subprocess.Popen([*load, "SET", "item:__rand_int__", value], stdout=subprocess.DEVNULL) as client:
            try:
                yield server.pid, port
            finally:
                client.kill()


@pytest.mark.parametrize("saves", [False, True], ids=["alone", "bgsave"])
def test_redis_gets_an_action_and_what_collapse_shows_is_what_was_predicted(
    madvised, frames_are_shown, tmp_path, saves
):
    with loaded_redis() as (pid, port):
        if saves:
            capture_redis.ask(port, "BGSAVE")
            capture_redis.wait_for(
                lambda: "rdb_bgsave_in_progress:1" in capture_redis.ask(port, "INFO", "persistence"), "BGSAVE's child"
            )
        said = advise(tmp_path, pid)
        assert said.startswith(("Do this: ", "Do nothing: ", "Measure this first: "))
        assert f"{1 + saves} process" in said and "left out: THP from the start: redis-server turns THP off" in said
        with madvised.section() if madvised else contextlib.nullcontext():
            assert applied_and_undone(said) >= 1
        assert "Nothing has been done so far" in thpsweep("collapse", "--pid", pid)
        took = collapsed(pid)
        assert took.found_mib == pytest.approx(took.planned_mib, abs=2.0)  # it goes on meanwhile
        assert took.found_mib == pytest.approx(row_of(said, "MADV_COLLAPSE by all").more_mib, rel=0.15, abs=2.0)


@pytest.fixture
def database(frames_are_shown):
    with postgres() as server:
        yield server


def test_postgres_with_idle_backends_has_nothing_to_collapse(database, tmp_path):
    said = advise(tmp_path, database._process.pid, seconds=1)
    assert said.startswith("Do nothing: ") and "no 2 MiB region" in said and "huge_pages in postgresql.conf" in said


def test_backends_that_sort_are_collapsed_as_planned(madvised, database, tmp_path):
    database.database("sorting")
    command = [str(database._programs / "psql"), "-qAt", *database._socket(), "-d", "sorting"]
    variables = {**os.environ, "PGPASSWORD": database.password}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True, "env": variables}
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(subprocess.Popen(command, **pipes))
            stack.callback(client.kill)
            client.stdin.write(SORTED + "MOVE FIRST FROM sorted; MOVE FORWARD ALL FROM sorted;\n" * 500)
            client.stdin.flush()
        time.sleep(5)
        pid = database._process.pid
        said = advise(tmp_path, pid)
        assert said.startswith(("Do this: ", "Do nothing: ", "Measure this first: "))
        took = collapsed(pid)
        assert took.found_mib == pytest.approx(took.planned_mib, abs=4.0)
