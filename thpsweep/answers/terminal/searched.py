"""The answer of a search, whichever kind it is."""

from rich.table import Table

from thpsweep.answers.terminal import breakeven, optimal
from thpsweep.sweep.records.journal import Sweep
from thpsweep.sweep.search.breakeven import answers
from thpsweep.sweep.search.pareto import KIND, front


def searched(sweep: Sweep) -> Table:
    """Leave the answer of a search in its directory, and lay it out as a table."""
    if sweep.header["search"]["kind"] == KIND:
        best = front(sweep)
        optimal.write(sweep, best)
        return optimal.table(sweep, best)
    found = answers(sweep)
    breakeven.write(sweep, found)
    return breakeven.table(sweep, found)
