"""What comes from outside to pages: long references that processes ask for, and reclaim. Blind to the policy.

One generator a kind of request, as for all events; drawn tick by tick, since there are few.
"""

import dataclasses

import numpy as np

from thpsweep.model.bits import Ints
from thpsweep.model.events.scene import Scene
from thpsweep.model.workloads.base import hot_count
from thpsweep.units import HPAGE_PMD_NR, S_PER_HOUR

KINDS = {"pins": 6, "vmsplices": 7, "reclaims": 8}
"""Number of each kind's generator: part of the meaning of a seed."""

_NONE = np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True)
class Requests:
    """Requests of one tick. Shapes: keys (n,) = (region * n_sharers + sharer) * 512 + slot, ascending and distinct.

    Of pins (FOLL_PIN) and vmsplices (FOLL_GET) each page has the tick in which its reference ends; reclaims are pages that
    reclaim comes to, through a process that maps them.
    """

    pins: Ints
    pins_until: Ints
    vmsplices: Ints
    vmsplices_until: Ints
    reclaims: Ints


NOTHING = Requests(_NONE, _NONE, _NONE, _NONE, _NONE)


def draw(scene: Scene, rngs: dict[str, np.random.Generator], tick: int) -> Requests:
    """Draw the requests of a tick; which of them reach living processes and mapped pages shows when they are made."""
    pins, pins_until = _references(scene, rngs["pins"], scene.workload.pins_per_process_hour, tick)
    gets, gets_until = _references(scene, rngs["vmsplices"], scene.workload.vmsplices_per_process_hour, tick)
    return Requests(pins, pins_until, gets, gets_until, _reclaims(scene, rngs["reclaims"]))


def expected(scene: Scene, n_ticks: int) -> float:
    """Give the mean number of pages that are asked for in so many ticks of one replicate."""
    load, hours = scene.workload, n_ticks * scene.tick_s / S_PER_HOUR
    requests = (load.pins_per_process_hour + load.vmsplices_per_process_hour) * scene.n_sharers * hours
    return requests * load.pages_per_request + load.swap_outs_per_page_hour * _cold_pages(scene) * hours


def _cold_pages(scene: Scene) -> int:
    return (scene.n_regions - hot_count(scene.n_regions, scene.workload.hot_regions)) * HPAGE_PMD_NR


def _references(scene: Scene, rng: np.random.Generator, per_hour: float, tick: int) -> tuple[Ints, Ints]:
    """Draw runs of pages, each somewhere in one region of one process, and when each run is let go."""
    if per_hour <= 0:
        return _NONE, _NONE
    load, pages = scene.workload, scene.workload.pages_per_request
    n = int(rng.poisson(per_hour * scene.n_sharers * scene.tick_s / S_PER_HOUR))
    sharer, region = rng.integers(scene.n_sharers, size=n), rng.integers(scene.n_regions, size=n)
    first = rng.integers(HPAGE_PMD_NR - pages + 1, size=n)
    life = np.maximum(1, np.ceil(rng.exponential(load.request_life_s, n) / scene.tick_s)).astype(np.int64)
    slots = first[:, None] + np.arange(pages)
    keys = (((region * scene.n_sharers + sharer) * HPAGE_PMD_NR)[:, None] + slots).reshape(-1)
    until = np.repeat(np.minimum(tick + life, scene.n_ticks), pages)
    order = np.lexsort((until, keys))
    keys, until = keys[order], until[order]
    last = np.append(keys[1:] != keys[:-1], True)[: keys.size]  # of two references to one page the longer one counts
    return keys[last], until[last]


def _reclaims(scene: Scene, rng: np.random.Generator) -> Ints:
    """Draw cold pages that reclaim comes to, each through a process drawn evenly."""
    per_hour, pages = scene.workload.swap_outs_per_page_hour, _cold_pages(scene)
    if per_hour <= 0 or not pages:
        return _NONE
    n = int(rng.poisson(per_hour * pages * scene.tick_s / S_PER_HOUR))
    page = rng.integers(scene.n_regions * HPAGE_PMD_NR - pages, scene.n_regions * HPAGE_PMD_NR, size=n)
    sharer = rng.integers(scene.n_sharers, size=n)
    return np.unique((page // HPAGE_PMD_NR * scene.n_sharers + sharer) * HPAGE_PMD_NR + page % HPAGE_PMD_NR)
