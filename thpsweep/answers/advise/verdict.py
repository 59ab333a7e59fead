"""What the predictions say: which choice pays, by how much, how surely, and through what."""

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thpsweep.answers.advise.choices import NamedPolicy
from thpsweep.answers.analysis.paired import PairedEstimate, difference, estimate
from thpsweep.answers.terminal.numbers import significant

Result = Mapping[str, Any]


class ChoiceVerdict(enum.Enum):
    """What comes of a choice."""

    PAYS = "pays"
    BY_TLB = "pays by fewer page walks"
    LOSES = "costs more than it gains"
    OPEN = "too close to tell"
    IDLE = "does nothing here"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A choice with its figures: means over replicates with 95 % intervals, on the events of the baseline.

    Units: ms of CPU time over the run, bytes, s. `dry` is the net gain without the page walks that are saved, of which
    there are as many as the tree has cycles in page walks.
    """

    choice: NamedPolicy
    net: PairedEstimate
    dry: PairedEstimate
    gain: PairedEstimate
    cost: PairedEstimate
    payback: PairedEstimate
    stall_max: PairedEstimate
    extra_bytes: PairedEstimate
    sharing_lost_bytes: PairedEstimate
    outcomes: Mapping[str, int]
    net_values: np.ndarray
    dry_values: np.ndarray

    @property
    def verdict(self) -> ChoiceVerdict:
        """Judge by the intervals."""
        if not self.outcomes.get("SUCCEED") and self.gain.mean == 0:
            return ChoiceVerdict.IDLE
        if self.net.sign > 0:
            return ChoiceVerdict.PAYS if self.dry.sign > 0 else ChoiceVerdict.BY_TLB
        return ChoiceVerdict.LOSES if self.net.sign < 0 else ChoiceVerdict.OPEN

    @property
    def refused(self) -> str:
        """Name the result that most visits ended with, where none succeeded."""
        return (
            "" if self.outcomes.get("SUCCEED") else max(self.outcomes, key=lambda name: self.outcomes[name], default="")
        )


def predict(choice: NamedPolicy, result: Result) -> Prediction:
    """Read the figures of a result."""
    every = {name: np.array(values, np.float64) for name, values in result["replicates"].items()}
    net = every["tradeoff/net_cpu_ms"]
    return Prediction(
        choice=choice,
        net=estimate(net),
        dry=estimate(net - every["benefit/tlb_ms_saved"]),
        gain=estimate(every["tradeoff/gain_cpu_ms"]),
        cost=estimate(every["cost/cpu_ms"]),
        payback=estimate(every["tradeoff/payback_s"]),
        stall_max=estimate(every["cost/stall_max_ms"]),
        extra_bytes=estimate(every["cost/extra_bytes_peak"]),
        sharing_lost_bytes=estimate(every["cost/sharing_lost_bytes"]),
        outcomes=result["outcomes"],
        net_values=net,
        dry_values=net - every["benefit/tlb_ms_saved"],
    )


def ordered(found: Sequence[Prediction]) -> list[Prediction]:
    """Put what can be done today before what cannot, and what brings more before what brings less."""
    return sorted(found, key=lambda each: (not each.choice.possible, -each.net.mean))


def later(found: Sequence[Prediction], hours: float) -> list[str]:
    """Say what is best of what no released kernel does, and whether that is sure."""
    paying = [each for each in ordered(found) if not each.choice.possible and each.net.sign > 0]
    if not paying:
        return []
    best = paying[0]
    rivals = [each.choice.name for each in paying[1:] if alike(best, each)]
    text = (
        f"Of what no released kernel does, {best.choice.name} would bring most: {span(best.net)} ms of CPU in "
        f"{significant(hours)} h"
    )
    return [text + (f"; {', '.join(rivals)} as much, as far as {best.net.n} replicates tell." if rivals else ".")]


def alike(one: Prediction, other: Prediction) -> bool:
    """Tell whether two choices cannot be told apart on the same events."""
    apart = difference(one.net_values, other.net_values)
    return apart.sign == 0 and not apart.exact


def span(value: PairedEstimate) -> str:
    """Write a mean with its interval, where one is known and its ends differ as they are written."""
    mean, low, high = (significant(one) for one in (value.mean, value.low, value.high))
    if not (math.isfinite(value.low) and math.isfinite(value.high)) or value.exact or low == high:
        return mean
    return f"{mean} ({low} to {high})"
