"""Hosts on one machine: namespaces for network, processes, names and files, on a switch that leads nowhere else.

Nothing of it has a name outside, and all of it hangs on pipes that this process holds: whatever ends it, kill -9 too, ends
the hosts, and with them their processes, links and mounts.
"""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

NETWORK = "10.77.0"
"""Addresses; they exist in the hosts only."""


def missing() -> str:
    """Say what hosts need and this machine has not; nothing where they can be made."""
    if os.geteuid() != 0:
        return "root"
    lacking = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if lacking:
        return f"{', '.join(lacking)} (iproute2, util-linux)"
    made = subprocess.run(["unshare", "-n", "-u", "-m", "-p", "-f", "--mount-proc", "true"], capture_output=True)
    return "" if made.returncode == 0 else "network, process and mount namespaces"


@dataclasses.dataclass
class Host:
    """A host that runs: the process that all of its namespaces hang on, and where its files are."""

    name: str
    address: str
    keeper: "subprocess.Popen[bytes]"
    pid: int
    files: Path
    environment: Mapping[str, str]

    def command(self, *words: str | Path) -> list[str]:
        """Make a command that runs there."""
        return ["nsenter", "-t", str(self.pid), "-n", "-u", "-m", "-p", "--", *map(str, words)]

    def start(self, *words: str | Path, cwd: Path | None = None, **variables: str) -> "subprocess.Popen[str]":
        """Start a command there; what it says can be read together."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        environment = {**self.environment, **variables}
        return subprocess.Popen(self.command(*words), env=environment, cwd=cwd, start_new_session=True, **pipes)

    def run(
        self, *words: str | Path, timeout_s: float = 120.0, expect: int | None = 0, **variables: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command there to its end, which has to be as expected; None is any."""
        process = self.start(*words, **variables)
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{self.name}: {words}: not within {timeout_s} s") from None
        assert expect is None or process.returncode == expect, f"{self.name}: {words}: {process.returncode}\n{said}"
        return subprocess.CompletedProcess([*map(str, words)], process.returncode, said, "")

    def link(self, state: str) -> None:
        """Take the cable out ("down") or put it back ("up")."""
        subprocess.run(self.command("ip", "link", "set", "eth0", state), check=True)

    def kill(self) -> None:
        """Pull the plug: every process of the host ends at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        self.keeper.wait()


@contextlib.contextmanager
def switched(files: Path, environment: Mapping[str, str]) -> Iterator[Callable[[int], Host]]:
    """Give a way to switch hosts on, numbered from 1; the same number again, after the last one ended, is a new host."""
    switch, switch_pid = _namespaces("switch", "ip link add br0 type bridge && ip link set br0 up")
    running: list[Host] = []

    def on(number: int) -> Host:
        name, address = f"h{number}", f"{NETWORK}.{number}"
        own = files / name
        (own / "ray").mkdir(parents=True, exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        setup = (
            f"hostname {name} && ip link set lo up && mount --bind {own}/ray /tmp/ray && mount -t tmpfs shm /dev/shm"
        )
        keeper, pid = _namespaces(name, setup)
        host = Host(name, address, keeper, pid, own, environment)
        running.append(host)
        _connect(host, switch_pid, f"{name}-{len(running)}")
        return host

    try:
        yield on
    finally:
        for host in running:
            host.kill()
        os.kill(switch_pid, 9)
        switch.wait()


def _namespaces(name: str, setup: str) -> tuple["subprocess.Popen[bytes]", int]:
    """Start a process in namespaces of its own, which ends when our end of its pipe is closed; set them up."""
    script = f"{setup} && echo ready && cat >/dev/null; :"
    flags = ["-n", "-u", "-m", "-p", "-f", "--mount-proc", "--kill-child"]
    command = ["unshare", *flags, "sh", "-c", script]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    keeper = subprocess.Popen(command, start_new_session=True, **pipes)
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == b"ready\n", f"{name}: {setup}"
    (child,) = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
    return keeper, int(child)


def _connect(host: Host, switch_pid: int, port: str) -> None:
    """Put a cable between a host and the switch."""
    inside = ["nsenter", "-t", str(host.pid), "-n", "--"]
    for words in (
        [*inside, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", str(switch_pid)],
        ["nsenter", "-t", str(switch_pid), "-n", "--", "ip", "link", "set", port, "master", "br0", "up"],
        [*inside, "ip", "address", "add", f"{host.address}/24", "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
    ):
        subprocess.run(words, check=True)


def wait(until: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for something to become true."""
    end_s = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < end_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)
