"""An hour under a daemon that wakes every 10 ms, beside an older checkout: THPSWEEP_BEFORE=PATH names it.

The older one makes each pass by itself: it gets two stretches of the hour, whose difference is without what comes once.
"""

from typing import Any

import pytest

from tests.bench.before import NOW, older, run
from tests.model.points import point

pytestmark = pytest.mark.bench

SHORT_S, LONG_S, HOUR_S = 20.0, 60.0, 3600.0


def lasting(mechanism: str, regions: int, degree: int, duration_s: float) -> dict[str, Any]:
    trigger = {"kind": "khugepaged", "scan_sleep_millisecs": 10}
    run_of = {"replicates": 1, "duration_s": duration_s, "tick_s": 10.0}
    return point(mechanism, degree, trigger=trigger, run=run_of, regions=regions)


@pytest.mark.parametrize(("regions", "degree"), [(2, 4), (512, 4), (512, 16)])
@pytest.mark.parametrize("mechanism", ["inplace", "copy"])
def test_hour_of_passes_every_10_ms(mechanism: str, regions: int, degree: int) -> None:
    stretches = [lasting(mechanism, regions, degree, duration_s) for duration_s in (SHORT_S, SHORT_S, LONG_S)]
    _, _, results = run(NOW, stretches)
    (_, hour_s), _, _ = run(NOW, [stretches[0], lasting(mechanism, regions, degree, HOUR_S)])
    said = f"\n{mechanism}, {regions} regions x {degree}: an hour of 360,000 passes takes {hour_s:.2f} s"
    before = older()
    if before is not None:
        (_, short_s, long_s), _, theirs = run(before, stretches)
        assert results == theirs
        before_s = (long_s - short_s) / (LONG_S - SHORT_S) * HOUR_S
        said += f", before about {before_s:,.0f} s: {before_s / hour_s:.0f} times (bar 50, aim 200)"
    print(said)
