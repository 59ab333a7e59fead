"""What a user wants runs to be called and tagged: sweep.tags, sweep.note and sweep.run_name. No MLflow here."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from thpsweep.errors import OptionError
from thpsweep.sweep.records import run_record
from thpsweep.sweep.records.schema import PointRecord

OURS = ("mlflow.", "thpsweep.")
"""Beginnings of tags that MLflow and we give a meaning."""

TAG_NAME = re.compile(r"[/\w.\- :]{1,250}")
"""Source: mlflow 3.17.2 mlflow/utils/validation.py, _VALID_PARAM_AND_METRIC_NAMES and MAX_ENTITY_KEY_LENGTH"""

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
MAX_NAME = 200


@dataclasses.dataclass(frozen=True)
class Labels:
    """Tags and a note of the user's own for every run of a sweep, and a pattern for the names of its points' runs."""

    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    note: str | None = None
    run_name: str | None = None

    def name(self, record: PointRecord) -> str:
        """Give the name of a point's run: `{key}` in the pattern stands for the point's value of that key."""
        if self.run_name is None:
            return run_record.run_name(record)
        return PLACEHOLDER.sub(lambda match: run_record.as_text(_value(record, match[1])), self.run_name)[:MAX_NAME]

    def described(self, note: str) -> str:
        """Put the user's note before another one."""
        return "\n\n".join(text for text in (self.note, note) if text)[: run_record.MAX_TEXT]


def labels(tags: Mapping[Any, Any] | None, note: str | None, run_name: str | None) -> Labels:
    """Check what the config says. Raises: OptionError."""
    for key, value in (tags or {}).items():
        if not TAG_NAME.fullmatch(str(key)) or str(key).startswith(OURS):
            expected = f"a tag's name of letters, digits and _-./: that does not begin with {' or '.join(OURS)}"
            raise OptionError("sweep.tags", {key: value}, expected)
        if isinstance(value, Mapping | list) or len(str(value)) > run_record.MAX_TEXT:
            raise OptionError(
                f"sweep.tags.{key}", value, f"a text of at most {run_record.MAX_TEXT} characters, or a number"
            )
    if note is not None and len(note) > run_record.MAX_TEXT:
        raise OptionError("sweep.note", f"{note[:40]}...", f"at most {run_record.MAX_TEXT} characters")
    if run_name is not None and not PLACEHOLDER.sub("", run_name).isprintable():
        raise OptionError("sweep.run_name", run_name, "one line of printable characters")
    if run_name is not None and (not run_name.strip() or set("{}") & set(PLACEHOLDER.sub("", run_name))):
        raise OptionError(
            "sweep.run_name", run_name, "a text with {KEY} for the value of a key, as {policy} {sharing.degree}"
        )
    return Labels({str(key): run_record.as_text(value) for key, value in (tags or {}).items()}, note, run_name)


def check_names(given: Labels, records: Iterable[PointRecord]) -> None:
    """Find out whether all points have the keys of the pattern. Raises: OptionError."""
    keys = PLACEHOLDER.findall(given.run_name or "")
    for record in records if keys else ():
        for key in keys:
            try:
                _value(record, key)
            except KeyError:
                known = ", ".join(run_record.choices(record))
                expected = f"keys that all points have, such as {known}; one has no {key!r}"
                raise OptionError("sweep.run_name", given.run_name, expected) from None


def _value(record: PointRecord, key: str) -> Any:
    """Look a key up among the choices, then in the whole point. Raises: KeyError."""
    choices = run_record.choices(record)
    if key in choices:
        return choices[key]
    node: Any = record["point"]
    for name in key.split("."):
        if not isinstance(node, Mapping):
            raise KeyError(key)
        node = node[name]
    return node
