"""Does one calibration agree with another, key by key, within the spread that both state?"""

import re
from pathlib import Path

from thpsweep.errors import LiveError
from thpsweep.profiles import Source, load, sources

_ROUNDS = re.compile(r"(?P<rounds>\d+) rounds?(?:, spread [\d.]+)?, (?P<low>[\d.e+-]+)\.\.(?P<high>[\d.e+-]+)$")
_DRIFT = 0.05
"""What a machine changes from one run to the next beyond what the rounds of one show: its host does other things."""


def disagreements(one: Path, other: Path) -> tuple[list[str], int]:
    """Compare the keys that both files measured; list those whose rounds do not meet.

    The number of all that were compared comes with it.

    Raises: LiveError where a file is no profile, or where there is nothing to compare.
    """
    files = [(load(path), sources(path)) for path in (one, other)]
    sentences, compared = [], 0
    for key in files[0][1]:
        spans = [_span(known.get(key)) for _, known in files]
        if None in spans:
            continue
        compared += 1
        if not _meet(*(span for span in spans if span)):
            figures = (float(getattr(profile, key)) for profile, _ in files)
            spelled = (
                f"{figure:g} ({span[0]:g}..{span[1]:g})" for figure, span in zip(figures, spans, strict=True) if span
            )
            sentences.append(f"{key}: {' and '.join(spelled)}")
    if not compared:
        raise LiveError(f"{one}, {other}: expected two profiles that `thpsweep calibrate` wrote")
    return sentences, compared


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(one[0], other[0]) <= min(one[1], other[1]) * (1 + _DRIFT)


def _span(source: Source | None) -> tuple[float, float] | None:
    """Read the least and the most that a round found, as rounds.Figure writes them."""
    match = _ROUNDS.search(source.text) if source else None
    return (float(match["low"]), float(match["high"])) if match else None
