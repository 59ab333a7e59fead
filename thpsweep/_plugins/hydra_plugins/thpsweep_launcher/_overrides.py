"""Expand overrides as Hydra's basic sweeper does, and what it cannot say: unions, keys of some points only, no noise."""

import decimal
import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep, ValueType
from omegaconf import DictConfig, ListConfig

from thpsweep.errors import OptionError, SweepError
from thpsweep.sweep.planning.axes import Job, SweptKey, combined
from thpsweep.sweep.planning.notice import noting
from thpsweep.sweep.records.schema import Point

from ._compose import Composer

MAX_JOBS = 1_000_000
"""Combinations of a grid; more are a slip of the hand, and would not fit into memory."""


def params_texts(params: Mapping[str, Any] | None, option: str = "hydra.sweeper.params") -> list[str]:
    """Write the axes of a saved experiment as overrides. A value is what the command line would have, or a list of values.

    Raises: OptionError for anything else.
    """
    return [f"{key}={_values(key, value, option)}" for key, value in (params or {}).items()]


def of_some_points(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part KEY=VALUES from KEY?=VALUES, which is for points that have the key; the latter without its mark."""
    marked = [re.match(r"([\w./@]+)\?=", text) for text in texts]
    plain = [text for text, found in zip(texts, marked, strict=True) if not found]
    return plain, [f"{m[1]}={text[m.end() :]}" for text, m in zip(texts, marked, strict=True) if m]


def _values(key: str, value: Any, option: str) -> str:
    if isinstance(value, list | ListConfig):
        return ",".join(map(_element, value)) if value else "choice()"
    if value is None or isinstance(value, Mapping | DictConfig):
        shown = {key: None if value is None else dict(value)}
        raise OptionError(option, shown, "KEY: VALUES, as on the command line, or KEY: [VALUE, ...]")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _element(value: Any) -> str:
    if isinstance(value, str) and not re.fullmatch(r"[\w./:@?+-]+", value):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    if isinstance(value, list | ListConfig):
        return "[" + ",".join(map(_element, value)) + "]"
    if isinstance(value, Mapping | DictConfig):
        return "{" + ",".join(f"{key}:{_element(inner)}" for key, inner in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def jobs(overrides: Sequence[Override], zipped: Sequence[Sequence[str]] = ()) -> list[Job]:
    """Expand overrides to one job per combination, the last of them varying fastest; of one key the last one counts.

    Raises: SweepError for what cannot be swept, and for more combinations than MAX_JOBS.
    """
    kept = _effective(_last(overrides))
    sizes = [_size(override) for override in kept]
    leaders = {key: keys[0] for keys in zipped for key in keys}
    counted = {
        leaders.get(_bare(one), number): size for number, (one, size) in enumerate(zip(kept, sizes, strict=True))
    }
    if math.prod(counted.values()) > MAX_JOBS:
        widest = max(zip(sizes, kept, strict=True), key=lambda pair: pair[0])[1]
        what = f"{math.prod(counted.values()):,} combinations; expected at most {MAX_JOBS:,}"
        raise SweepError(f"{shortened(widest.input_line or '')}: {what}")
    return list(combined([_axis(override) for override in kept], zipped))


def replaced(overrides: Sequence[Override]) -> list[str]:
    """Say which choices have no effect, because a later override has the same key: Hydra drops them without a word."""
    last = _last(overrides)
    effective = _effective(last)
    lines = []
    for one in overrides:
        if any(one is other for other in effective) or not one.is_sweep_override():
            continue
        by = next((other for other in reversed(effective) if _bare(other) == _bare(one)), None)
        if by is not None and by.input_line != one.input_line:
            shown = shortened(one.input_line or "")
            lines.append(f"{shown} has no effect: {shortened(by.input_line or '')} has the same key, and comes later")
    return lines


def expanded(plain: Sequence[Job], some: Sequence[Override], composer: Composer) -> list[Job]:
    """Add keys that not every point has: where a point has them, their values vary fastest.

    Raises: SweepError for a key that no point has; OptionError for one that is a group.
    """
    if not some:
        return list(plain)
    axes = [_axis(override) for override in _last(some)]
    for axis in axes:
        if "/" in axis.name or "." not in axis.name:
            raise OptionError(
                "sweep.if_exists", axis.name, "KEY?=VALUES of a key that some points have and others lack"
            )
    found: list[Job] = []
    met: set[str] = set()
    for job in noting(plain, "sweep.if_exists"):
        point = composer.point(job.overrides)
        present = [axis for axis in axes if _has(point, axis.name)]
        met |= {axis.name for axis in present}
        found += [_extended(job, choices) for choices in itertools.product(*(axis.choices for axis in present))]
        if len(found) > MAX_JOBS:
            raise SweepError(f"sweep.if_exists: over {MAX_JOBS:,} combinations; expected at most so many")
    for axis in axes:
        if axis.name not in met:
            raise SweepError(f"{axis.name}?: no point has such a key; expected one that some have")
    return found


def dropped(params: Sequence[Override], names: Sequence[str]) -> list[Override]:
    """Leave axes of an experiment out: their keys stay as they are configured. Raises: OptionError for unknown ones."""
    known = list(dict.fromkeys(map(_bare, params)))
    for name in names:
        if name not in known:
            raise OptionError("sweep.drop", name, f"an axis of the experiment: {', '.join(known) or 'it has none'}")
    return [override for override in params if _bare(override) not in names]


def shortened(text: str, most: int = 120) -> str:
    """Cut a text that a line has no room for."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def label(key: str) -> str:
    """Name a swept key as a point's params do: a group below policy/ by its own name."""
    return key.lstrip("+~").removeprefix("policy/").replace("/", ".")


def values(override: Override) -> list[str]:
    """List the values of a swept key; a glob leaves out the schemas that the options of a group are built on."""
    value = override.value()
    if isinstance(value, RangeSweep) and not isinstance(value.range(), range) and not _casts(value):
        return _floats(value)
    texts = [str(text) for text in override.sweep_string_iterator()]
    globbed = override.value_type == ValueType.GLOB_CHOICE_SWEEP
    return [text for text in texts if not (globbed and text.startswith("base_"))]


def _casts(value: RangeSweep) -> bool:
    return bool(getattr(value, "transformers", ()))  # of Hydra 1.4


def _floats(value: RangeSweep) -> list[str]:
    """List a range as Hydra 1.4 does: Hydra 1.3 adds steps up in binary, and their errors with them."""
    start, step = (decimal.Decimal(str(one)) for one in (value.start, value.step))
    texts = [str(float(start + step * number)) for number in range(_n_floats(value))]
    if value.shuffle:
        random.shuffle(texts)
    return texts


def _n_floats(value: RangeSweep) -> int:
    start, stop, step = (decimal.Decimal(str(one)) for one in (value.start, value.stop, value.step))
    if not all(one.is_finite() for one in (start, stop, step)) or step == 0:
        raise SweepError(f"range({start},{stop},{step}): cannot be swept; expected numbers, and a step that is not 0")
    return max(math.ceil((stop - start) / step), 0)


def _size(override: Override) -> int:
    """Count the values of an override without listing those of a range."""
    key, value = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return 1
    if key.startswith("sweep.") or not override.is_discrete_sweep():
        expected = "a,b,c and choice, range, glob, of a key outside sweep; intervals are for searches"
        raise SweepError(f"{shortened(override.input_line or '')}: cannot be swept; expected {expected}")
    if isinstance(value, RangeSweep):
        if value.step == 0:
            raise SweepError(f"{override.input_line}: cannot be swept; expected a step that is not 0")
        numbers = None if any(isinstance(one, float | decimal.Decimal) for one in _bounds(value)) else value.range()
        return len(numbers) if isinstance(numbers, range) else _n_floats(value)
    return len(values(override))


def _bounds(value: RangeSweep) -> tuple[Any, Any, Any]:
    return value.start, value.stop, value.step


def _axis(override: Override) -> SweptKey:
    key = override.get_key_element()
    if override.is_sweep_override():
        return SweptKey(
            _bare(override), [(f"{key}={text}", {label(key): text}) for text in values(override)], swept=True
        )
    return SweptKey(_bare(override), [(override.input_line or "", {})], swept=False)


def _last(overrides: Sequence[Override]) -> list[Override]:
    """Keep the last override of each key and prefix, at the place of the first: as Hydra does."""
    return list({override.get_key_element(): override for override in overrides}.values())


def _effective(overrides: Sequence[Override]) -> list[Override]:
    """Leave out values that a later override of the same key and another prefix replaces in every combination."""
    return [one for at, one in enumerate(overrides) if not any(_overrules(by, one) for by in overrides[at + 1 :])]


def _overrules(later: Override, earlier: Override) -> bool:
    if _bare(later) != _bare(earlier) or earlier.is_add() or later.is_add():  # + on top of a key is an error of Hydra's
        return False
    return not (later.is_delete() or earlier.is_delete()) and "{" not in (later.input_line or "")  # dicts are merged


def _bare(override: Override) -> str:
    return override.get_key_element().lstrip("+")


def _extended(job: Job, choices: Sequence[tuple[str, Mapping[str, str]]]) -> Job:
    varied = {key: text for _, one in choices for key, text in one.items()}
    return Job((*job.overrides, *(text for text, _ in choices)), {**job.varied, **varied})


def _has(point: Point, key: str) -> bool:
    node: Any = point
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True


def overrides_in_grid(grids: Any) -> Iterator[list[str]]:
    """Write each grid of `sweep.grids` as overrides. Raises: OptionError."""
    for grid in grids or [{}]:
        if not isinstance(grid, Mapping):
            raise OptionError("sweep.grids", grids, "[{KEY: VALUES, ...}, ...]: each a grid of its own")
        yield params_texts(grid, "sweep.grids")
