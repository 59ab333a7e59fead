"""The answer of a search, whichever kind it is."""

from rich.table import Table

from thpsweep.answers import breakeven
from thpsweep.sweep.journal import Sweep
from thpsweep.sweep.search.breakeven import answers


def searched(sweep: Sweep) -> Table:
    """Leave the answer of a search in its directory, and lay it out as a table."""
    found = answers(sweep)
    breakeven.write(sweep, found)
    return breakeven.table(sweep, found)
