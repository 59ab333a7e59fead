"""Are the quantiles of the table SciPy's, and those beyond it?"""

import pytest
from scipy.special import stdtr, stdtrit

from thpsweep.model.metrics.student import UPPER, upper_quantile


@pytest.mark.parametrize("n", [*range(2, len(UPPER) + 4), 1000])
def test_quantiles(n: int) -> None:
    assert upper_quantile(n) == pytest.approx(stdtrit(n - 1, 0.975), rel=1e-14)
    assert stdtr(n - 1, upper_quantile(n)) == pytest.approx(0.975, abs=1e-13)
