"""Make the layout that ships with thpsweep again: redis-server with a live BGSAVE child, while clients write.

    python jobs/capture_redis.py thpsweep/samples/redis_bgsave.npz

Needs root (page frame numbers), thpsweep installed, and redis-server, redis-cli and redis-benchmark on the PATH
(Debian: apt-get install redis-server redis-tools). It starts a redis of its own on a free loopback port with its files
in a temporary folder, and ends it. Takes a few seconds and 250 MiB.

A catalogue is loaded first, then sessions, so that each kind of key lies together. BGSAVE forks; a delay per saved key
keeps the child alive. Then the clients write, mostly to sessions: each page written is copied, and parent and child no
longer share it. From run to run the addresses differ, and with them a few regions at the borders.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from thpsweep.errors import CaptureError
from thpsweep.linux.capture.capture import capture
from thpsweep.linux.capture.summary import summary

VALUE_BYTES = 1_024
CATALOGUE_KEYS, SESSION_KEYS = 80_000, 30_000
CATALOGUE_WRITES, SESSION_WRITES = 3_000, 12_000
LOAD_FACTOR = 3
"""Random SETs a key when loading: 95 % of the keys are then there."""
SAVE_DELAY_US = 2_000
"""Pause of the child a key: it then lives for minutes."""
WAIT_S = 20.0


def main(out: str) -> None:
    """Start redis, fork, write, capture, check, save."""
    if missing := [tool for tool in ("redis-server", "redis-cli", "redis-benchmark") if shutil.which(tool) is None]:
        raise CaptureError(f"not on the PATH: {', '.join(missing)}")
    with own_redis() as (server, port):
        write(port, "item", CATALOGUE_KEYS, LOAD_FACTOR * CATALOGUE_KEYS)
        write(port, "session", SESSION_KEYS, LOAD_FACTOR * SESSION_KEYS)
        ask(port, "BGSAVE")
        wait_for(lambda: "rdb_bgsave_in_progress:1" in ask(port, "INFO", "persistence"), "the BGSAVE child")
        write(port, "session", SESSION_KEYS, SESSION_WRITES)
        write(port, "item", CATALOGUE_KEYS, CATALOGUE_WRITES)
        layout = capture(server.pid)
        if "rdb_bgsave_in_progress:1" not in ask(port, "INFO", "persistence") or layout.n_processes != 2:
            raise CaptureError("the BGSAVE child was gone before the capture ended")
    layout.save(out)
    for label, value in summary(layout):
        print(f"{label:32}{value}")


@contextlib.contextmanager
def own_redis() -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a redis-server in a temporary folder, and end it and its child."""
    with tempfile.TemporaryDirectory(prefix="thpsweep-redis-") as folder:
        port = free_port()
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "rdb-key-save-delay": SAVE_DELAY_US}
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        server = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: ask(port, "PING") == "PONG", "redis-server")
            yield server, port
        finally:
            server.terminate()  # SIGTERM: redis kills its child and, with no save points, saves nothing
            server.wait(WAIT_S)


def free_port() -> int:
    """Let the kernel choose a port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, *words: str) -> str:
    """Send one command with redis-cli."""
    result = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def write(port: int, kind: str, keys: int, n_writes: int) -> None:
    """SET random keys of one kind with redis-benchmark."""
    shape = ["-r", str(keys), "-n", str(n_writes), "-P", "16", "-q"]
    command = ["SET", f"{kind}:__rand_int__", "v" * VALUE_BYTES]
    subprocess.run(["redis-benchmark", "-p", str(port), *shape, *command], check=True, stdout=subprocess.DEVNULL)


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > end:
            raise CaptureError(f"{what} did not come up within {WAIT_S:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python jobs/capture_redis.py OUT.npz")
    try:
        main(sys.argv[1])
    except CaptureError as error:
        sys.exit(f"capture_redis: {error}")
