"""Which parameters matter: Sobol' indices of a full grid, by its exact functional decomposition."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from thpsweep.answers.analysis.paired import PairedEstimate, Values, jackknife


@dataclasses.dataclass(frozen=True)
class Index:
    """Shares of the variance over the grid: of a parameter alone, and with all that it takes part in."""

    name: str
    first: PairedEstimate
    total: PairedEstimate


def indices(names: Sequence[str], values: Values) -> list[Index]:
    """Decompose the variance over a grid whose levels count alike; nothing where there is no variance.

    A grid has its variances exactly: first order, of the means over all other axes; total, of what is left of the mean
    over the axis itself. Replicates are averaged first; intervals are the jackknife's over them.
    Source: Sobol', doi:10.1016/S0378-4754(00)00270-6; Homma and Saltelli, doi:10.1016/0951-8320(96)00002-6.
    Shapes: values (levels of names[0], levels of names[1], ..., n_replicates).
    """
    n = values.shape[-1]
    whole = _shares(values.mean(axis=-1))
    if whole is None:
        return []
    parts = [_shares(np.delete(values, at, axis=-1).mean(axis=-1)) for at in range(n)] if n > 1 else []
    without = np.array([whole if part is None else part for part in parts]).reshape(len(parts), whole.size)
    found = jackknife(whole, without)
    return [Index(name, found[2 * at], found[2 * at + 1]) for at, name in enumerate(names)]


def _shares(values: Values) -> Values | None:
    """Give first and total order of each axis in turn. Shapes: (levels, ...) -> (2 * n_axes,)."""
    variance = float(values.var())
    if not np.isfinite(variance) or variance <= 1e-24 * float(np.square(values).mean()):
        return None
    found = []
    for axis in range(values.ndim):
        others = tuple(other for other in range(values.ndim) if other != axis)
        found += [float(values.mean(axis=others).var()), variance - float(values.mean(axis=axis).var())]
    return np.array(found) / variance
