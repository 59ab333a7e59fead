"""Look-ups whose moment the policy chooses: keyed hashes, so that what is drawn there moves no other draw."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from thpsweep.model.bits import Ints

Stream = tuple[int, int]
"""A point's seed and the number of one of its replicates: what a replicate draws depends on no other."""

_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX_1 = np.uint64(0xBF58_476D_1CE4_E5B9)
_MIX_2 = np.uint64(0x94D0_49BB_1331_11EB)


def keys(streams: Sequence[Stream], scene_key: str) -> npt.NDArray[np.uint64]:
    """Give each replicate a 64-bit key, equal on every machine. Shapes: -> (n_replicates,)."""
    texts = (f"{seed} {scene_key} {replicate}" for seed, replicate in streams)
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)


def uniform(keys: npt.NDArray[np.uint64], *coordinates: Ints | int) -> npt.NDArray[np.floating[Any]]:
    """Give one number in [0, 1) for each key and coordinates. Shapes: (n,), each (n,) or a scalar -> (n,).

    Source: splitmix64, G. L. Steele, D. Lea, C. H. Flood, doi:10.1145/2660193.2660195.
    """
    state = keys.copy()
    for coordinate in coordinates:
        state = _mix((state + _GOLDEN) ^ _mix(np.atleast_1d(coordinate).astype(np.uint64) + _GOLDEN))
    return (_mix(state + _GOLDEN) >> np.uint64(11)) * 2.0**-53


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))
