"""The schema of conf/: an option is a dataclass. A composed config becomes checked objects, then the dict of a point."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.model import registry
from thpsweep.sweep.plan import Job, Plan, planned
from thpsweep.sweep.point import Point

GROUPS = {
    "workload": "workload",
    "sharing": "sharing",
    "mechanism": "policy/mechanism",
    "trigger": "policy/trigger",
    "gate": "policy/gate",
    "machine": "machine",
    "memory": "memory",
}
"""Family of the model -> config group. A group below policy/ needs no YAML: its members have defaults of their own."""

BASE = "base_"
"""Before a member's name it names the schema that a YAML file of the group starts from."""


@dataclass
class PolicyConfig:
    """A way to collapse, what starts it, what may hold it back, and the name of it all. No gate is `always`."""

    name: str = MISSING
    mechanism: Any = MISSING
    trigger: Any = MISSING
    gate: Any = None


@dataclass
class RunConfig:
    """How long and how often one point is simulated."""

    seed: int = MISSING
    replicates: int = MISSING
    duration_s: float = MISSING
    tick_s: float = MISSING


@dataclass
class SweepConfig:
    """Where a sweep is recorded, and under which name; none of it changes a result."""

    dir: str = MISSING
    name: str | None = None
    track: bool = MISSING

    def __post_init__(self) -> None:
        if self.name is not None and not re.fullmatch(r"[\w][\w.-]{0,99}", self.name):
            raise OptionError("sweep.name", self.name, "a folder's name of letters, digits, '_', '-' and '.'")


@dataclass
class Config:
    """All that a user can declare."""

    workload: Any = MISSING
    sharing: Any = MISSING
    policy: PolicyConfig = MISSING
    machine: Any = MISSING
    memory: Any = MISSING
    run: RunConfig = MISSING
    sweep: SweepConfig = MISSING


def conf_dir() -> Path:
    """Find the conf/ that belongs to this code: inside the package in a wheel, beside it in a checkout."""
    here = Path(__file__).absolute().parent
    for found in (here / "conf", here.parent / "conf"):
        if (found / "config.yaml").is_file():
            return found
    raise ThpsweepError(f"no conf/config.yaml beside or inside {here}: the installation is incomplete")


def register() -> None:
    """Tell Hydra the schema: every member of every family becomes an option or the base of options."""
    store = ConfigStore.instance()
    store.store(name=f"{BASE}config", node=Config)
    for family, group in GROUPS.items():
        prefix = "" if group.startswith("policy/") else BASE
        for name, member in registry.members(family).items():
            node = OmegaConf.structured(member)
            OmegaConf.set_readonly(node, None)  # a frozen member is read-only once made, not while Hydra fills it
            store.store(group=group, name=f"{prefix}{name}", node=node)


def checked(config: DictConfig) -> Config:
    """Make the objects that a composed config describes.

    Raises: OptionError for a value that a member refuses; OmegaConf's errors for keys and types.
    """
    _refuse_unknown_keys(config, "")
    made = OmegaConf.to_object(config)
    assert isinstance(made, Config)
    return made


def point_of(config: DictConfig) -> Point:
    """Turn a composed config into a point: plain JSON types, nothing of `sweep`, which changes no result."""
    made = checked(config)
    policy = {
        "name": made.policy.name,
        "mechanism": registry.spec(made.policy.mechanism),
        "trigger": registry.spec(made.policy.trigger),
        "gate": {"kind": "always"} if made.policy.gate is None else registry.spec(made.policy.gate),
    }
    return {
        "workload": registry.spec(made.workload),
        "sharing": registry.spec(made.sharing),
        "policy": policy,
        "machine": registry.spec(made.machine),
        "memory": registry.spec(made.memory),
        "run": dataclasses.asdict(made.run),
    }


def plan_of(
    config: DictConfig, hydra: HydraConf, jobs: Sequence[Job], compose: Callable[[Sequence[str]], Point]
) -> Plan:
    """Plan the sweep that a composed config and Hydra's own node of it ask for.

    Raises: ThpsweepError if any of its points cannot run.
    """
    sweep = OmegaConf.to_object(config.sweep)
    assert isinstance(sweep, SweepConfig)
    experiment = hydra.runtime.choices.get("experiment")
    points, id_of = planned(jobs, compose)
    return Plan(
        root=Path(sweep.dir).expanduser().absolute(),
        name=sweep.name or (experiment or "sweep").replace("/", "_"),
        overrides=tuple(hydra.overrides.task),
        points=points,
        config=OmegaConf.to_yaml(OmegaConf.masked_copy(config, [field.name for field in dataclasses.fields(Config)])),
        tracked=sweep.track,
        n_jobs=len(jobs),
        id_of=id_of,
    )


def _refuse_unknown_keys(config: DictConfig, prefix: str) -> None:
    """Refuse what `+key=value` and `++key=value` added to a schema: nothing would read it."""
    kind = OmegaConf.get_type(config)
    known = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None
    for key in map(str, config):
        if known is not None and key not in known:
            raise ThpsweepError(_unknown(f"{prefix}{key}", config[key], known))
        child = None if OmegaConf.is_missing(config, key) else config[key]
        if isinstance(child, DictConfig):
            _refuse_unknown_keys(child, f"{prefix}{key}.")
        elif prefix == "" and key in ("workload", "sharing", "machine", "memory") and child is None:
            raise OptionError(key, None, f"one of the options of group {key!r}: {key}=NAME")


def explain(error: Exception) -> str | None:
    """Say in one line what Hydra or OmegaConf found wrong, and what is allowed; None for any other error."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read ({_first_line(error)}); allowed is KEY=VALUE in Hydra's grammar"
    if isinstance(error, MissingConfigException):
        return _explain_option(error)
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        return _explain_value(cause, str(error))
    if isinstance(error, OmegaConfBaseException):
        return _explain_value(error, "")
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'", str(error))
    if ambiguous:
        return f"{ambiguous[1]}: several values; allowed is one, or `thpsweep sweep`, or KEY=[A,B] for a list"
    if isinstance(error, HydraException) or (isinstance(error, ValueError) and _raised_by_hydra(error)):
        return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return None


def _explain_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    known = [name for name in error.options or () if not name.startswith(BASE)]
    if not group:
        return _first_line(error)
    return str(OptionError(group, option, _one_of(known)))


def _explain_value(error: OmegaConfBaseException, context: str) -> str:
    """Explain a key or value; `context` is Hydra's text around it, which quotes the override."""
    key = error.full_key or str(error.key)
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set: give {key}=VALUE"
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        quoted = re.search(r"use \+(\S+?)=(.*)$", context, re.MULTILINE)
        key, value = (quoted[1], quoted[2]) if quoted else (key, error.value)
        known = map(str, error.parent_node) if isinstance(error.parent_node, DictConfig) else ()
        return _unknown(key, value, known)
    if isinstance(error, ValidationError) and not isinstance(error, InterpolationResolutionError):
        return str(OptionError(key, error.value, _wanted(error)))
    return f"{key}: {_first_line(error)}"


def _wanted(error: OmegaConfBaseException) -> str:
    """Name the type that a field or a list element takes."""
    kind = OmegaConf.get_type(error.parent_node) if isinstance(error.parent_node, DictConfig) else None
    types = {field.name: field.type for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
    wanted: Any = types.get(str(error.key))
    if wanted is None:
        named = re.search(r"could not be converted to (\w+)", str(error))
        return f"a value of type {named[1].lower()}" if named else _first_line(error)
    return (
        f"a value of type {wanted.__name__ if isinstance(wanted, type) and wanted.__module__ == 'builtins' else wanted}"
    )


def _raised_by_hydra(error: Exception) -> bool:
    """Tell what Hydra refuses with a plain ValueError from a mistake of ours."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__", "").startswith("hydra.")


def _unknown(key: str, value: object, known: Iterable[str]) -> str:
    parent = key.rpartition(".")[0]
    return f"{key}={value}: no such key; allowed {f'below {parent}' if parent else 'at the top'} is {_one_of(known)}"


def _one_of(names: Iterable[str]) -> str:
    return "one of " + (", ".join(sorted(names)) or "none")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
