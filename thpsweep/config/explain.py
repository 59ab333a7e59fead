"""Say in one line what Hydra or OmegaConf found wrong with a command, and what is expected instead."""

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import yaml
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from thpsweep.errors import OptionError

BASE = "base_"
"""Before an option's name it names the schema that a YAML file of the group starts from; no option of a user's."""


NO_PACKAGE = "experiment: expected a file that begins with `# @package _global_`, as it sets values of other groups"


def explain(error: Exception) -> str | None:
    """Say in one line what Hydra or OmegaConf found wrong, and what is expected; None for any other error."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, RecursionError) and _passes_through(error, "hydra"):
        return "defaults: a config includes itself, directly or through others; expected a list that comes to an end"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read ({first_line(error)}); expected KEY=VALUE in Hydra's grammar"
    if isinstance(error, MissingConfigException):
        return _explain_option(error)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError) and _raised_by(error, "yaml", "codecs", "omegaconf"):
        return _explain_yaml(error)
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        return _explain_value(cause, str(error))
    if isinstance(error, OmegaConfBaseException):
        return _explain_value(error, "")
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'", str(error))
    if ambiguous:
        return f"{ambiguous[1]}: several values; expected one, or `thpsweep sweep`, or KEY=[A,B] for a list"
    if isinstance(error, HydraException) or (isinstance(error, ValueError) and _raised_by(error, "hydra")):
        return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return None


def _explain_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    known = [name for name in error.options or () if not name.startswith(BASE)]
    if not group:
        return first_line(error)
    return str(OptionError(group, option, _one_of(known)))


def _explain_yaml(error: Exception) -> str:
    """Name the file and the line where it stops being YAML."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{getattr(error, 'name', 'a file of --config-dir')}: cannot be read as YAML ({first_line(error)})"
    return f"{mark.name}: line {mark.line + 1}: cannot be read as YAML ({getattr(error, 'problem', '')})"


def _explain_value(error: OmegaConfBaseException, context: str) -> str:
    """Explain a key or value; `context` is Hydra's text around it, which quotes the override."""
    key = error.full_key or str(error.key or _quoted_key(context) or "config")
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set: give {key}=VALUE"
    if "does not support deletion" in str(error):
        return f"~{key}: it has to be; expected {key}=VALUE, or another option of its group"
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        quoted = re.search(r"use \+(\S+?)=(.*)$", context, re.MULTILINE)
        key, value = (quoted[1], quoted[2]) if quoted else (key, error.value)
        if key == "experiment":
            return NO_PACKAGE
        known = map(str, error.parent_node) if isinstance(error.parent_node, DictConfig) else ()
        if error.full_key and str(error.full_key).startswith(f"{key}."):  # a dict was given for what is above
            return unknown_key(str(error.full_key), None, known)
        return unknown_key(key, value, known)
    if isinstance(error, ValidationError) and not isinstance(error, InterpolationResolutionError):
        return f"{key}={_shown(error.value)}: expected {_wanted(error)}"
    return f"{key}: {first_line(error)}"


def _wanted(error: OmegaConfBaseException) -> str:
    """Name the type that a field or a list element takes."""
    kind = OmegaConf.get_type(error.parent_node) if isinstance(error.parent_node, DictConfig) else None
    types = {field.name: field.type for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    wanted: Any = types.get(str(error.key))
    if wanted is None:
        named = re.search(r"could not be converted to (\w+)", str(error))
        return f"a value of type {named[1].lower()}" if named else first_line(error)
    if dataclasses.is_dataclass(wanted):
        return f"{error.key}.NAME=VALUE for the values below it"
    return f"a value of type {wanted.__name__ if isinstance(wanted, type) else str(wanted).replace('typing.', '')}"


def _raised_by(error: Exception, *packages: str) -> bool:
    """Tell what a library refuses with an error of Python's from a mistake of ours."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__", "").partition(".")[0] in packages


def unknown_key(key: str, value: object, known: Iterable[str]) -> str:
    """Refuse a key that is not there; say which keys are."""
    parent, known = key.rpartition(".")[0], [*known]
    given = key if value is None else f"{key}={value}"  # a file's value is not known here
    if not known and parent.startswith("policy."):
        return f"{given}: no such key; {key}?=VALUE sets it in those policies alone that have it"
    if not known:
        return f"{given}: no such key yet; expected +{given}, which adds one"
    where = f"below {parent}" if parent else "at the top"
    only_some = f"; {key}?=VALUE sets it in those policies alone that have it" if parent.startswith("policy.") else ""
    return f"{given}: no such key; expected {where} {_one_of(known)}{only_some}"


def _one_of(names: Iterable[str]) -> str:
    return "one of " + (", ".join(sorted(name for name in names if name != "_target_")) or "none")


def _shown(value: object) -> str:
    return "null" if value is None else repr(value)


def _quoted_key(context: str) -> str:
    """Find the key of an override in Hydra's text around an error."""
    found = re.search(r"override:? '?\+*([\w./@]+)=", context)
    return found[1] if found else ""


def _passes_through(error: BaseException, package: str) -> bool:
    last = error.__traceback__
    while last is not None:
        if last.tb_frame.f_globals.get("__name__", "").partition(".")[0] == package:
            return True
        last = last.tb_next
    return False


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
