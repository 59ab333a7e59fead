"""The events of all replicates: drawn anew for each point, or, of a small scene, once for all that meet them."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

from thpsweep.model.draws import Stream
from thpsweep.model.events import draw
from thpsweep.model.events.draw import Tick
from thpsweep.model.events.scene import Scene

MOST_WORDS, TICK_WORDS = 2 << 20, 100
"""Of a scene with more words of events none are kept; what a tick takes beside its writes. Units: 8 bytes."""


def ticks(scene: Scene, streams: tuple[Stream, ...], scene_key: str) -> Iterable[tuple[Tick, ...]]:
    """Give the events of every replicate, tick by tick; nobody may change them. `scene_key` tells scenes apart."""
    words = len(streams) * (draw.expected_writes(scene, scene.n_ticks) + scene.n_ticks * TICK_WORDS)
    if words > MOST_WORDS:
        return _drawn(scene, streams, scene_key)
    return _kept(scene_key, streams, _Whole(scene))


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A scene, compared as a whole: the key beside it is its hash, but two files of one path have the same key."""

    scene: Scene = dataclasses.field(hash=False)


@functools.lru_cache(maxsize=1)
def _kept(scene_key: str, streams: tuple[Stream, ...], whole: _Whole) -> list[tuple[Tick, ...]]:
    """Keep the events of the last scene: its baseline and policies come one after the other."""
    return list(_drawn(whole.scene, streams, scene_key))


def _drawn(scene: Scene, streams: tuple[Stream, ...], scene_key: str) -> Iterator[tuple[Tick, ...]]:
    return zip(*(draw.ticks(scene, seed, scene_key, number) for seed, number in streams), strict=True)
