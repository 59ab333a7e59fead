"""All that an answer rests on: who wins as simulated, how often over the ranges of all prices and rates, what turns it."""

import dataclasses
from collections.abc import Mapping

from thpsweep.answers.analysis.inputs import FileOf, Inputs, inputs
from thpsweep.answers.analysis.ranking import Verdict, verdicts
from thpsweep.answers.analysis.sensitivity import Sensitivity, sensitivities
from thpsweep.answers.analysis.study import Key, Study
from thpsweep.answers.analysis.uncertainty import Odds, draws, odds
from thpsweep.answers.charts.choose import headline_scene


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A study, judged. inputs, varied: a sentence where nothing can be priced anew."""

    study: Study
    chosen: Key
    judged: Mapping[Key, Verdict]
    inputs: Inputs | str
    odds: Mapping[Key, Odds]
    varied: list[Sensitivity] | str


def evidence(known: Study, file_of: FileOf) -> Evidence:
    """Judge a study, draw all prices and rates at once, and move each alone. Raises: ThpsweepError for a wrong profile."""
    chosen, judged = headline_scene(known), verdicts(known, sharing_kept=True)
    found = inputs(known, file_of)
    if isinstance(found, str):
        return Evidence(known, chosen, judged, found, {}, found)
    drawn = draws(found.keys)
    often = odds(found, drawn, sharing_kept=True)
    varied = sensitivities(found, judged, drawn, often, chosen)
    return Evidence(known, chosen, judged, found, often, varied or found.left_out)
