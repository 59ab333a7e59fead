"""Join a cluster: not without its token, and with one line where it cannot be."""

import os
import re
import socket
import sys
import time

from thpsweep.errors import SweepError

INSECURE = "THPSWEEP_INSECURE_RAY"
"""Set to 1 it lets a sweep run on a cluster that runs code for whoever reaches its ports."""

AUTH_MODE = "RAY_AUTH_MODE"

ANSWER_S = 5.0
"""How long a host may take to accept a connection."""

GONE_S = 20.0
"""How long the head may be silent. Without it a cluster is none, and Ray would end this process after a minute."""


def secure() -> bool:
    """Have Ray use its token, and say whether it has to; call it before Ray is imported, which reads this only then.

    Raises: SweepError where the environment turns the token off and nothing says that this is meant.
    """
    mode = os.environ.get(AUTH_MODE, "token")
    if mode.lower() == "token":
        os.environ[AUTH_MODE] = "token"
    if os.environ.get(INSECURE) == "1":
        warning = f"{INSECURE}=1: WITHOUT A TOKEN WHOEVER REACHES THE CLUSTER'S PORTS RUNS CODE ON IT AS YOU"
        print(f"thpsweep: {warning}", file=sys.stderr)
        return False
    if mode.lower() != "token":
        allowed = f"token; with {INSECURE}=1 a sweep runs on a cluster that takes orders from whoever reaches it"
        raise SweepError(f"{AUTH_MODE}={mode!r}: expected {allowed}")
    return True


def reachable(address: str | None) -> None:
    """See that a host takes connections where Ray is said to be: Ray itself would try for minutes. Raises: SweepError."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and not _answers(host.strip("[]"), int(port)):
        raise SweepError(
            f"hydra.launcher.address={address!r}: nobody answers there: expected the address of Ray's head"
        )


class Head:
    """The host that holds a cluster together."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._heard_s = time.monotonic()

    def answers(self) -> bool:
        """Tell whether it is there now. Raises: SweepError when it has not been for a while."""
        host, _, port = self._address.rpartition(":")
        if _answers(host.strip("[]"), int(port)):
            self._heard_s = time.monotonic()
            return True
        if time.monotonic() - self._heard_s > GONE_S:
            message = f"Ray's head at {self._address} is gone, and the cluster with it; all results are kept"
            raise SweepError(f"{message}, the same command goes on on a new one")
        return False


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
    except OSError:
        return False
    return True


def cannot_join(address: str, problem: Exception) -> SweepError:
    """Say in one line why a cluster cannot be joined."""
    text = " ".join(str(problem).split())
    key = f"hydra.launcher.address={address!r}"
    versions = re.search(
        r"started with: Ray: (\S+) Python: (\S+) This process .*started with: Ray: (\S+) Python: (\S+)", text
    )
    if versions:
        theirs, ours = f"Ray {versions[1]} on Python {versions[2]}", f"Ray {versions[3]} on Python {versions[4]}"
        return SweepError(f"{key}: the cluster runs {theirs}, this process {ours}: expected the same versions")
    answering = re.search(r"Failed to connect to Ray cluster at (\S+):(\d+)", text)
    if type(problem).__name__ == "AuthenticationError" or (answering and _answers(answering[1], int(answering[2]))):
        where = "~/.ray/auth_token, or the file that RAY_AUTH_TOKEN_PATH names"
        return SweepError(f"{key}: turned away: expected the cluster's token, in {where} ({text[:120]})")
    return SweepError(f"{key}: expected a Ray cluster that runs, with a node on this machine ({text[:200]})")
