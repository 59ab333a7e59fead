"""`thpsweep prototype price`: count instructions, show the table, write it."""

import datetime
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from thpsweep.linux.prototype.bench import GuestMachine
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.instructions import instructions
from thpsweep.linux.prototype.machine import COUNTING
from thpsweep.linux.prototype.needs import EMULATOR
from thpsweep.linux.prototype.outcome import CheckOutcome
from thpsweep.linux.prototype.table import InstructionTable, load, save

_LIMIT_S = 900.0
_COMPILER = re.compile(r"\((\S*gcc\S* \([^)]*\) [\d.]+)")


def known(out: Path | None) -> dict[str, InstructionTable]:
    """Read what a file has of other kernels, before anything is counted. Raises: PrototypeError."""
    if out is None:
        return {}
    if not out.absolute().parent.is_dir():
        raise PrototypeError(f"--out={str(out)!r}: expected a file in a folder that exists")
    return load(out) if out.exists() else {}


def price(ready: GuestMachine, kernel: str, out: Path | None, others: Mapping[str, InstructionTable]) -> int:
    """Count, show, and write where a file is named, beside the tables of other kernels. Raises: PrototypeError."""
    table = counted(ready, kernel)
    show(table, ready.version)
    if out is not None:
        save(out, {**others, kernel: table})
    return 0


def counted(ready: GuestMachine, kernel: str) -> InstructionTable:
    """Run the machine that counts. Raises: PrototypeError."""
    outcome, version = CheckOutcome(), ""
    for line in ready.lines("price", COUNTING, _LIMIT_S):
        version = line if line.startswith("version ") else version
        outcome.take(line)
    if not outcome.passed:
        raise PrototypeError("prototype: price: " + "; ".join(outcome.failures[:3] or ["nothing was counted"]))
    compiler = _COMPILER.search(version)
    return InstructionTable(
        kernel=kernel,
        date=datetime.date.today().isoformat(),
        compiler=f"{compiler[1] if compiler else 'unknown'}, {ready.version}",
        emulator=_emulator(),
        per_pte=instructions(outcome.costs),
    )


def show(table: InstructionTable, version: str) -> None:
    """Print the table."""
    shown = Shown(title=f"Linux {version}: guest instructions a pte", title_justify="left")
    shown.add_column("operation")
    shown.add_column("instructions", justify="right")
    for name, value in table.per_pte.items():
        shown.add_row(name, f"{value:,.1f}")
    Console().print(shown)
    print(f"{table.date}; kernel built by {table.compiler}; {table.emulator}")


def _emulator() -> str:
    said = subprocess.run([EMULATOR, "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0] if said else "unknown"
