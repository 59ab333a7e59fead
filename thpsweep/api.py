"""For notebooks: a sweep as a pandas table, a simulation in one line."""

import contextlib
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thpsweep.errors import ThpsweepError

if TYPE_CHECKING:
    import pandas as pd

    from thpsweep.sweep.records.schema import Point


def load(sweep: str | PathLike[str], *, replicates: bool = False) -> "pd.DataFrame":
    """Read a sweep, running or not, into a table: one row per point, one column per choice and metric.

    sweep: its directory, or its journal. A metric m has its mean in column m and the ends of its 95 % interval in m_low and
    m_high. With replicates=True there is one row per replicate instead, m has its value, and rows of the same scene and
    replicate met the same events, whatever the policy. `attrs` has the units (metric -> unit) and what the sweep asked.
    Raises: SweepError where there is no sweep.

    >>> import thpsweep
    >>> table = thpsweep.load(example_sweep)
    >>> table[["policy", "sharing.degree", "cost/pte_updates"]]
        policy  sharing.degree  cost/pte_updates
    0  inplace               2            2048.0
    1   switch               2            1024.0
    2  inplace             195          199680.0
    3   switch             195           99840.0
    >>> table.attrs["units"]["cost/pte_updates"]
    'ptes'
    """
    from thpsweep.answers.analysis.tidy import tidy
    from thpsweep.sweep.records import journal

    return tidy(journal.read(Path(sweep)), replicates=replicates)


def simulate(*point: str | Mapping[str, Any]) -> dict[str, Any]:
    """Simulate one point, given as overrides in Hydra's words or as the dict that a journal has of it.

    Gives what the journal would hold of it: metrics (mean, low, high), replicates, series, outcomes, facts, units.
    Raises: ThpsweepError for a point that cannot run.

    >>> import thpsweep
    >>> scene = ("workload=prefork", "workload.regions=1", "workload.hot_regions=0", "sharing.degree=195")
    >>> run = thpsweep.simulate(*scene, "policy=switch")
    >>> run["metrics"]["cost/pte_updates"]["mean"], run["units"]["cost/pte_updates"]
    (99840.0, 'ptes')
    """
    from thpsweep.model.setting import check
    from thpsweep.model.simulate import simulate as simulated

    given = point[0] if len(point) == 1 and isinstance(point[0], Mapping) else composed(point)
    check(given)
    return simulated(given)


@contextlib.contextmanager
def _beside_any_other() -> Iterator[None]:
    """Leave the Hydra that a notebook has initialized for itself as it is: there can be one at a time."""
    from hydra.core.global_hydra import GlobalHydra

    others, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = others


def composed(overrides: tuple[Any, ...]) -> "Point":
    """Give the point that overrides make, as the command line would. Raises: ThpsweepError for what it refuses."""
    from hydra import compose, initialize_config_dir

    from thpsweep.config import hydra_defaults, point_of, register
    from thpsweep.config_files import only_values
    from thpsweep.explain import explain
    from thpsweep.shipped import conf_dir
    from thpsweep.sweep.planning.where import as_override

    if not all(isinstance(one, str) for one in overrides):
        raise ThpsweepError("simulate(): expected overrides like 'sharing.degree=16', or one point as a dict")
    register()
    try:
        with _beside_any_other(), only_values(), initialize_config_dir(str(conf_dir()), **hydra_defaults()):
            return point_of(compose("config", overrides=[as_override(one) for one in overrides]))
    except Exception as error:
        line = None if isinstance(error, ThpsweepError) else explain(error)
        if line is None:
            raise
        raise ThpsweepError(line) from error
