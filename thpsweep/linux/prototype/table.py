"""The table of instructions a pte: a YAML file that ships, one entry a kernel, written by `thpsweep prototype price`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thpsweep.linux.prototype.errors import PrototypeError

SHIPPED = Path(__file__).with_name("instructions.yaml")
_HEAD = """\
# Guest instructions a pte of each operation, counted by qemu -icount.
# Written by: thpsweep prototype price --kernel VERSION --out FILE
# switch_overwrite: old to new without clearing, one flush afterwards (x86; arm64 forbids it).
# switch_slice_N: N ptes under one pte lock and one flush. switch_per_page: an rmap walk a page, a flush a pte, as KSM does.
# set_entry, restore_entry: the kernel's migration entries; restore_to_subpage: ours. map_by_pmd: the PMD step after switch.
# fork_*, exit_*: a 4 KiB page that is small, a subpage mapped by a pte, or below a PMD.
"""


@dataclass(frozen=True)
class InstructionTable:
    """What was counted in one kernel."""

    kernel: str
    date: str
    compiler: str
    emulator: str
    per_pte: Mapping[str, float]

    def ratio(self, of: str, to: str) -> float:
        """Divide the price of an operation by that of another."""
        return self.per_pte[of] / self.per_pte[to]


def load(path: Path = SHIPPED) -> dict[str, InstructionTable]:
    """Read a table file: by kernel version such as "6.12". Raises: PrototypeError."""
    try:
        plain: Any = yaml.safe_load(path.read_text())
        return {
            name: InstructionTable(
                name, str(entry["date"]), entry["compiler"], entry["emulator"], dict(entry["instructions_per_pte"])
            )
            for name, entry in plain.items()
        }
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as problem:
        raise PrototypeError(f"{path}: expected a table of instructions a pte, by kernel ({problem})") from None


def save(path: Path, tables: Mapping[str, InstructionTable]) -> None:
    """Write a table file."""
    plain = {
        name: {
            "date": table.date,
            "compiler": table.compiler,
            "emulator": table.emulator,
            "instructions_per_pte": {key: round(value, 1) for key, value in table.per_pte.items()},
        }
        for name, table in tables.items()
    }
    path.write_text(_HEAD + yaml.safe_dump(plain, sort_keys=False, width=120))
