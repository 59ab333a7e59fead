"""All that an answer rests on: who wins as simulated, how often over the ranges of all prices and rates, what turns it."""

import dataclasses
from collections.abc import Mapping

from thpsweep.answers.analysis.inputs import FileOf, Inputs, inputs
from thpsweep.answers.analysis.ranges import LEVELS
from thpsweep.answers.analysis.ranking import NOTHING_FITS, Verdict, verdicts
from thpsweep.answers.analysis.sensitivity import Sensitivity, sensitivities
from thpsweep.answers.analysis.study import Key, Study
from thpsweep.answers.analysis.uncertainty import Draws, Odds, draws, odds, scene_odds
from thpsweep.answers.charts.choose import headline_scene


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A study, judged. inputs, varied: a sentence where nothing can be priced anew. levels: the chosen scene at each value
    of a key that is one of a few."""

    study: Study
    chosen: Key
    judged: Mapping[Key, Verdict]
    inputs: Inputs | str
    odds: Mapping[Key, Odds]
    varied: list[Sensitivity] | str
    levels: Mapping[str, Mapping[float, Odds]]


def evidence(known: Study, file_of: FileOf) -> Evidence:
    """Judge a study, draw all prices and rates at once, and move each alone. Raises: ThpsweepError for a wrong profile."""
    chosen, judged = headline_scene(known), verdicts(known, sharing_kept=True)
    found = inputs(known, file_of)
    if isinstance(found, str):
        return Evidence(known, chosen, judged, found, {}, found, {})
    drawn = draws(found.keys)
    often = odds(found, drawn, sharing_kept=True)
    varied = sensitivities(found, judged, drawn, often, chosen)
    why = found.left_out or (NOTHING_FITS if judged[chosen].best == NOTHING_FITS else "")
    return Evidence(known, chosen, judged, found, often, varied or why, _levels(found, drawn, chosen))


def _levels(found: Inputs, drawn: Draws, chosen: Key) -> dict[str, dict[float, Odds]]:
    """Draw the chosen scene once for each value of a key that is one of a few."""
    keys = [key for key in LEVELS if key in found.keys and chosen in found.scenes]
    return {
        key: {level: scene_odds(chosen, found, drawn, sharing_kept=True, given={key: level}) for level in LEVELS[key]}
        for key in keys
    }
