"""`thpsweep prototype compare`: draw, play on both sides, and list what differs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import Progress

from thpsweep.errors import OptionError
from thpsweep.linux.prototype.bench import GuestMachine
from thpsweep.linux.prototype.compare.differ import Difference, differences
from thpsweep.linux.prototype.compare.draw import MECHANISMS, draw
from thpsweep.linux.prototype.compare.kernel import kernel_results
from thpsweep.linux.prototype.compare.model import model_result
from thpsweep.linux.prototype.compare.script import script
from thpsweep.linux.prototype.compare.steps import Play
from thpsweep.linux.prototype.machine import CHECKING

_BOOT_S, _FAMILY_S = 120.0, 15.0
_SHOWN = 5


def plays(families: int, seed: int) -> list[Play]:
    """Draw families, the mechanisms in turn. Raises: OptionError."""
    if families < 1:
        raise OptionError("--families", families, "1 or more")
    return [draw(number) for number in range(seed, seed + families)]


def compare(ready: GuestMachine, chosen: Sequence[Play]) -> dict[int, list[Difference]]:
    """Play in the kernel and in the model; give what differs, by seed."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("families in the kernel", total=len(chosen))
        lines = []
        for line in ready.lines("play", CHECKING, _BOOT_S + _FAMILY_S * len(chosen), {"plays": script(chosen)}):
            lines.append(line)
            progress.update(task, advance=line.startswith("family "))
        kernel = kernel_results(lines, chosen)
        task = progress.add_task("families in the model", total=len(chosen))
        found = {}
        for play in chosen:
            found[play.seed] = differences(play, kernel[play.seed], model_result(play))
            progress.update(task, advance=1)
    return found


def report(chosen: Sequence[Play], found: Mapping[int, Sequence[Difference]]) -> int:
    """Print what differs, and why where that is known; 1 where anything is left to explain."""
    drawn = Counter(play.mechanism for play in chosen)
    equal = Counter(play.mechanism for play in chosen if not found[play.seed])
    reasons: Counter[str] = Counter()
    odd = 0
    for play in chosen:
        unexplained = [difference.what for difference in found[play.seed] if not difference.reason]
        reasons.update({difference.reason for difference in found[play.seed] if difference.reason})
        odd += bool(unexplained)
        for what in unexplained[:_SHOWN]:
            print(f"family {play.seed} ({play.mechanism}): {what}")
    for mechanism in MECHANISMS:
        if drawn[mechanism]:
            print(f"{mechanism}: {equal[mechanism]} of {drawn[mechanism]} families equal in model and kernel")
    for reason, families in reasons.items():
        print(f"explained in {families}: {reason}")
    return 1 if odd else 0
