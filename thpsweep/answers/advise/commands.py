"""Commands that a shell takes as they are: to do something until the next boot, to undo that, and both for good.

Source: Documentation/admin-guide/mm/transhuge.rst (v6.18); tmpfiles.d(5), type w; systemd.service(5), ExecStartPost and
Command lines (systemd 252).
"""

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

TMPFILES = "/etc/tmpfiles.d/thpsweep.conf"
MIN_FREE = "/proc/sys/vm/min_free_kbytes"
INTERPRETERS = ("python", "ruby", "node", "java", "perl", "php")
"""Programs of which more than one service may be running: such a one is not to be found by its name."""

MAX_BYTES = "{max_bytes}"
"""Stands in a command for the memory that is predicted to be needed, with a margin."""


@dataclass(frozen=True)
class Commands:
    """Lines for a root shell; a line that begins with # is for a reader."""

    apply: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    unkeep: tuple[str, ...] = ()

    def after(self, *lines: str) -> "Commands":
        """Do something else first, which is not undone."""
        return replace(self, apply=(*lines, *self.apply))

    def then(self, *lines: str, undo: Sequence[str] = ()) -> "Commands":
        """Do something else last, when it is undone, too."""
        return replace(self, apply=(*self.apply, *lines), undo=(*self.undo, *undo))


@dataclass(frozen=True)
class ServiceName:
    """How the service is found by a shell: its root process, and its systemd unit where it has one."""

    pid: str
    unit: str = ""


def service(program: str, pid: int | None) -> ServiceName:
    """Name a service that runs here by its pid, one that was captured by its program."""
    if pid is None and program.startswith(INTERPRETERS):
        return ServiceName('"${PID:?set it to the pid of the service}"')
    if pid is None:
        return ServiceName(f'"$(pgrep -o -x -- {shlex.quote(program[:15])})"')
    return ServiceName(str(pid), _unit(pid))


def _unit(pid: int) -> str:
    """Find the systemd unit that a process belongs to; nothing where it belongs to none. Source: cgroups(7)."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    units = re.findall(r"/([\w@.:\\-]+\.service)(?=/|$)", text, re.MULTILINE)
    return units[-1] if units and "user@" not in units[-1] else ""


def settings(changes: Mapping[str, object], before: Mapping[str, object]) -> Commands:
    """Write files of sysfs now, and at each boot; undoing it puts back what the kernel raises as `enabled` is written.

    Source: mm/khugepaged.c set_recommended_min_free_kbytes() (v6.18): nothing lowers vm.min_free_kbytes again.
    """
    raised = MIN_FREE in before and any(path.endswith("/enabled") for path in changes)
    lines = " ".join(shlex.quote(f"w {path} - - - - {value}") for path, value in changes.items())
    return Commands(
        tuple(f"echo {value} > {path}" for path, value in changes.items()),
        tuple(f"echo {before[path]} > {path}" for path in (*reversed([*changes]), *([MIN_FREE] if raised else []))),
        (f"mkdir -p {Path(TMPFILES).parent} && printf '%s\\n' {lines} > {TMPFILES}",),
        (f"rm {TMPFILES}",),
    )


def collapse(service: ServiceName, *, only_root: bool) -> Commands:
    """Collapse from outside, now, and whenever the service starts."""
    alone = " --no-children" if only_root else ""
    command = "thpsweep collapse --pid {}" + alone + f" --max-bytes {MAX_BYTES} --apply"
    keep, unkeep = _after_start(service, command) if service.unit else ((), ())
    now = command.format(service.pid, max_bytes=MAX_BYTES)
    return Commands((now,), _undone_by_restart(service), keep, unkeep)


def _undone_by_restart(service: ServiceName) -> tuple[str, ...]:
    if service.unit:
        return ("# no call turns huge pages back into small ones; a restart does", *restart(service))
    return ("# undo: restart the service; no call turns huge pages back into small ones",)


def restart(service: ServiceName) -> tuple[str, ...]:
    """Start a service anew."""
    return (f"systemctl restart {shlex.quote(service.unit)}",) if service.unit else ("# restart the service",)


def _after_start(service: ServiceName, command: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Extend a systemd unit by a drop-in; the + lets the command be root where the service is not.

    The - keeps the service running where nothing could be collapsed: systemd ends a service whose ExecStartPost fails.
    """
    folder = shlex.quote(f"/etc/systemd/system/{service.unit}.d")
    words = command.format("$MAINPID", max_bytes=MAX_BYTES).split(" ", 1)[1]
    line = f"ExecStartPost=-+{_executable()} {words}"
    reload = "systemctl daemon-reload"
    return (
        (
            "# of use where the unit has Type=notify: with any other type it runs before the service has loaded its memory",
            f"mkdir -p {folder} && printf '%s\\n' '[Service]' {shlex.quote(line)} > {folder}/thpsweep.conf && {reload}",
        ),
        (f"rm {folder}/thpsweep.conf && {reload}",),
    )


def _executable() -> str:
    """Give the path of thpsweep as a unit takes it: systemd knows neither $PATH nor virtual environments."""
    beside = Path(sys.executable).with_name("thpsweep")
    found = str(beside) if beside.exists() else shutil.which("thpsweep") or str(beside)
    escaped = found.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(letter in found for letter in " \t\\\"'$") else escaped
