"""What it costs to draw all prices and rates jointly, for as many points as `seed_debate` has.

Run with `python -m pytest -m bench -s tests/bench/test_odds.py`.
"""

import time

import pytest

from tests.answers.test_odds_speed import DEBATE, LIMIT_S, studied
from thpsweep.answers.charts.choose import headline_scene
from thpsweep.answers.report.evidence import evidence
from thpsweep.profiles import default_file


@pytest.mark.bench
def test_joint_draws_over_the_points_of_the_debate() -> None:
    study = studied(DEBATE)
    began_s = time.process_time()
    found = evidence(study, lambda _: default_file())
    took_s = time.process_time() - began_s
    one = found.odds[headline_scene(study)]
    n_draws = len(one.lead(one.favourite))
    print(f"\n{len(study.entries)} points: {n_draws} joint draws and all keys alone in {took_s:.2f} s of CPU")
    assert n_draws >= 1000 and len(study.entries) == 528 and took_s < LIMIT_S
