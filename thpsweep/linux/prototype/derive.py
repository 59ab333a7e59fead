"""The price of what no kernel does, from prices measured on the same machine and the ratio of guest instructions."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.table import InstructionTable

MEASURED = {
    "migration_entry_set_ns": "set_entry",
    "migration_entry_restore_ns": "restore_entry",
    "pte_unmap_ns": "shmem_collapse",
    "fork_pte_small_ns": "fork_small",
    "fork_pte_compound_ns": "fork_compound",
    "exit_pte_small_ns": "exit_small",
    "exit_pte_compound_ns": "exit_compound",
}
"""Prices that calibrate measures, and the operations of the table that they are prices of.

The table's forks are of memory that an earlier fork has protected, and caches are no part of it: so should the forks be.
"""

DERIVABLE = {
    "pte_switch_ns": "switch",
    "pte_protect_ns": "write_protect",
    "pte_clear_compound_ns": "map_by_pmd",
}
"""Prices of what kernels do not do, or not by itself."""

BY_INSTRUCTIONS = "derived from instruction counts"
"""How the line of a profile begins that has such a price."""

_LEAST = 3


@dataclass(frozen=True)
class Derived:
    """A price with its range: what leave-one-out shows that this way of deriving is wrong by, at most, either way.

    Units: ns. ns_per_instruction is the geometric mean over the measured prices `of`; `kernel` is that of the table.
    """

    ns: float
    low_ns: float
    high_ns: float
    ns_per_instruction: float
    of: tuple[str, ...]
    kernel: str

    @property
    def source(self) -> str:
        """Say where the price comes from, for a profile."""
        return (
            f"{BY_INSTRUCTIONS}: {self.ns / self.ns_per_instruction:.0f} of Linux {self.kernel} at "
            f"{self.ns_per_instruction:.2f} ns, the mean of {len(self.of)} measured prices; leave-one-out, "
            f"{self.low_ns:.0f}..{self.high_ns:.0f}"
        )


def derive(key: str, prices: Mapping[str, float], table: InstructionTable) -> Derived:
    """Derive a price from those that were measured on one machine (ns). Raises: PrototypeError.

    It is inference: an instruction of one operation is taken to last as long as one of the others.
    """
    if key not in DERIVABLE:
        raise PrototypeError(f"{key}: expected one of {', '.join(DERIVABLE)}")
    known = {name: prices[name] for name in MEASURED if prices.get(name, 0) > 0}
    if len(known) < _LEAST:
        raise PrototypeError(f"{key}: expected at least {_LEAST} measured prices of {', '.join(MEASURED)}")
    rates = {name: ns / table.per_pte[MEASURED[name]] for name, ns in known.items()}
    errors = left_out(rates)
    rate = _mean(rates.values())
    ns = rate * table.per_pte[DERIVABLE[key]]
    low_ns, high_ns = ns / max(*errors.values(), 1.0), ns / min(*errors.values(), 1.0)
    return Derived(ns, low_ns, high_ns, rate, tuple(known), table.kernel)


def derivable(prices: Mapping[str, float], table: InstructionTable) -> dict[str, Derived]:
    """Derive all that can be derived from these prices: nothing where too few of them were measured."""
    if sum(prices.get(name, 0) > 0 for name in MEASURED) < _LEAST:
        return {}
    return {key: derive(key, prices, table) for key in DERIVABLE}


def left_out(rates: Mapping[str, float]) -> dict[str, float]:
    """Predict each price from the others: predicted / measured, by price."""
    return {name: _mean(other for key, other in rates.items() if key != name) / rate for name, rate in rates.items()}


def _mean(values: Iterable[float]) -> float:
    return statistics.geometric_mean(list(values))
