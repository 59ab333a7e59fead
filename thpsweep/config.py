"""The schema of conf/: an option is a dataclass. A composed config becomes checked objects, then the dict of a point."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hydra
import yaml
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thpsweep.config_files import values_of
from thpsweep.errors import OptionError, PluginError, ThpsweepError
from thpsweep.explain import BASE, first_line, unknown_key
from thpsweep.model import plugins, registry
from thpsweep.sweep.planning.axes import Job, zips
from thpsweep.sweep.planning.limits import PointLimits
from thpsweep.sweep.planning.plan import Plan, planned
from thpsweep.sweep.planning.where import Where
from thpsweep.sweep.records.schema import Point
from thpsweep.sweep.tracking import secrets
from thpsweep.sweep.tracking.labels import Labels, check_names, labels
from thpsweep.sweep.tracking.target import Target, target

GROUPS = {
    "workload": "workload",
    "sharing": "sharing",
    "mechanism": "policy/mechanism",
    "trigger": "policy/trigger",
    "gate": "policy/gate",
    "machine": "machine",
    "memory": "memory",
}
"""Group of the model -> group of the config. One below policy/ needs no YAML: its options have defaults of their own."""


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
    """Where a sweep is recorded, what its points are and what each may take; none of it changes a result."""

    dir: str = MISSING
    name: str | None = None
    question: str | None = None
    track: bool = MISSING
    zip: list[Any] = dataclasses.field(default_factory=list)
    grids: list[Any] = dataclasses.field(default_factory=list)
    if_exists: list[str] = dataclasses.field(default_factory=list)
    drop: list[str] = dataclasses.field(default_factory=list)
    where: str | None = None
    objective: Any = None
    objective_never: float | None = None
    tracking_uri: str | None = None
    force: bool = MISSING
    deadline_s: float | None = MISSING
    memory_bytes: int | None = MISSING
    tags: dict[str, Any] = dataclasses.field(default_factory=dict)
    note: str | None = None
    run_name: str | None = None

    def __post_init__(self) -> None:
        if not self.dir:
            raise OptionError("sweep.dir", self.dir, "a folder")
        for key in ("deadline_s", "memory_bytes"):
            value = getattr(self, key)
            if value is not None and value != MISSING and not 0 < value < math.inf:
                raise OptionError(f"sweep.{key}", value, "null or a number above 0")
        if self.name is not None and not re.fullmatch(r"[\w][\w.-]{0,99}", self.name):
            raise OptionError("sweep.name", self.name, "a folder's name of letters, digits, '_', '-' and '.'")
        self.labels  # noqa: B018 raises where they are none
        zips(self.zip)
        if self.where is not None:
            Where(self.where)
        objectives = self.objective if isinstance(self.objective, list) else [self.objective or ""]
        if not objectives or not all(isinstance(metric, str) for metric in objectives):
            raise OptionError("sweep.objective", self.objective, "null, a metric of the results, or a list of them")

    @property
    def labels(self) -> Labels:
        """What runs are called and tagged in MLflow. Raises: OptionError."""
        return labels(self.tags, self.note, self.run_name)


@dataclass
class Config:
    """All that a user can declare."""

    workload: Any = MISSING
    sharing: Any = MISSING
    policy: PolicyConfig = MISSING
    machine: Any = MISSING
    memory: Any = MISSING
    run: RunConfig = MISSING
    metrics: Any = dataclasses.field(default_factory=dict)
    sweep: SweepConfig = MISSING


PARTS = tuple(field.name for field in dataclasses.fields(Config))
"""What a config consists of. The parts make a point, but for `sweep`, which changes no result."""


def hydra_defaults() -> dict[str, str]:
    """Ask Hydra 1.3 for the defaults of its own release; 1.4 has no others, and warns of being asked."""
    return {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def register() -> None:
    """Tell Hydra the schema: every option of every group becomes one of Hydra's, or the base of some."""
    store = ConfigStore.instance()
    own = {name: cls for name, cls in registry.options("metric").items() if name in plugins.LOADED}
    store.store(name=f"{BASE}config", node=Config(metrics={name: _schema(name, cls) for name, cls in own.items()}))
    for family, group in GROUPS.items():
        prefix = "" if group.startswith("policy/") else BASE
        for name, member in registry.options(family).items():
            node = _schema(name, member)
            OmegaConf.set_readonly(node, None)  # a frozen member is read-only once made, not while Hydra fills it
            store.store(group=group, name=f"{prefix}{name}", node=node)
            if registry.is_added(family, name):  # which has no file in conf/ to be chosen by
                store.store(group=group, name=name, node=_with_values(name, node))
                if family == "mechanism":
                    store.store(group="policy", name=name, node=_policy_of(name))


def _with_values(name: str, node: DictConfig) -> DictConfig:
    """Give an option of the user's own the values of the YAML file beside it. Raises: PluginError where some lack."""
    loaded = plugins.LOADED.get(name)  # none for a class of a notebook's
    file = Path(loaded.path).with_suffix(".yaml") if loaded else None
    if file is None or not file.is_file():
        return node
    values = values_of(file)
    known = [field.name for field in dataclasses.fields(cast(Any, OmegaConf.get_type(node)))]
    if unknown := [key for key in values if key not in known]:
        raise PluginError(str(file), f"keys that {name}.py has: {', '.join(known)}; not {', '.join(unknown)}")
    try:
        merged = cast(DictConfig, OmegaConf.merge(node, values))
    except OmegaConfBaseException as error:
        raise PluginError(str(file), f"values of the types that {name}.py has ({first_line(error)})") from error
    if missing := sorted(map(str, OmegaConf.missing_keys(merged))):
        raise PluginError(str(file), f"a value of {', '.join(missing)}, too; it has {', '.join(values) or 'none'}")
    return merged


def spec_of_own(group: str, name: str) -> dict[str, Any]:
    """Give the spec that an option of the user's own has without any override. Raises: PluginError, OptionError."""
    cls = registry.options(group)[name]
    node = _with_values(name, _schema(name, cls))
    if missing := sorted(map(str, OmegaConf.missing_keys(node))):
        raise PluginError(
            plugins.LOADED[name].path, f"defaults of {', '.join(missing)}, or {name}.yaml beside it with them"
        )
    return registry.spec(OmegaConf.to_object(node))


def _policy_of(mechanism: str) -> dict[str, Any]:
    """Make a policy of a user's own mechanism, called like it, as the shipped ones have each a file."""
    parts = [{"mechanism": mechanism}, {"trigger": "madvise"}, {"gate": "always"}, "_self_"]
    return {"defaults": parts, "name": mechanism}


def _schema(name: str, member: type) -> DictConfig:
    """Make a schema of a member's options. Raises: PluginError for a user's own of a type that no override could give."""
    try:
        made: DictConfig = OmegaConf.structured(member)
    except OmegaConfBaseException as error:
        if name not in plugins.LOADED:
            raise
        expected = "options of type int, float, bool, str, list or dict, with defaults of it"
        raise PluginError(plugins.LOADED[name].path, f"{expected} ({first_line(error)})") from error
    return made


def point_of(config: DictConfig) -> Point:
    """Turn a composed config into a point: plain JSON types, nothing of `sweep`, which changes no result.

    Raises: OptionError for a value that a member refuses; OmegaConf's errors for keys and types.
    """
    _refuse_unknown_keys(config, "", nested=False)
    nodes = {name: config.get(name) for name in PARTS}
    return made_of({name: part_of(name, node) for name, node in nodes.items()})


def made_of(parts: Mapping[str, Any]) -> Point:
    """Make a point of the parts of a config: all but `sweep`, and `metrics` where there are some of the user's own."""
    left_out = {"sweep"} if parts["metrics"] else {"sweep", "metrics"}
    return cast(Point, {name: part for name, part in parts.items() if name not in left_out})


def part_of(name: str, node: DictConfig | None) -> Any:
    """Check one part of a composed config and turn it into plain JSON types. Raises: as point_of()."""
    if not isinstance(node, DictConfig):
        is_group = name in (*GROUPS, "policy")
        expected = (
            f"one of the options of group {name!r}: {name}=NAME" if is_group else f"{name}.KEY=VALUE; it has to be"
        )
        raise OptionError(name, node, expected)
    if name == "metrics":
        return _own_metrics(node)
    _refuse_unknown_keys(node, f"{name}.")
    made = OmegaConf.to_object(node)
    if isinstance(made, PolicyConfig):
        gate = {"kind": "always"} if made.gate is None else _part_of_policy("gate", made.gate)
        members = {family: _part_of_policy(family, getattr(made, family)) for family in ("mechanism", "trigger")}
        return {"name": made.name, **members, "gate": gate}
    if isinstance(made, RunConfig | SweepConfig):
        return dataclasses.asdict(made)
    if not dataclasses.is_dataclass(made):
        expected = f"a file with `defaults: [{BASE}NAME, _self_]`, which says what it is a variant of"
        raise ThpsweepError(f"{name}: expected {expected}")
    return registry.spec(made)


def _own_metrics(node: DictConfig) -> dict[str, Any]:
    """Turn the options of the user's own metrics into specs, by their names. Raises: ThpsweepError for other keys."""
    known = [name for name in registry.options("metric") if registry.is_added("metric", name)]
    for name in map(str, node):
        if name not in known:
            raise OptionError(
                f"metrics.{name}", node[name], f"a metric of your own: --plugin FILE.py ({known or 'none'})"
            )
    _refuse_unknown_keys(node, "metrics.")
    return {str(name): registry.spec(OmegaConf.to_object(node[name])) for name in node}


def _part_of_policy(family: str, member: Any) -> Any:
    """Turn a member into its spec; refuse a value in its place, such as the name of an option, which is the group's."""
    if not dataclasses.is_dataclass(member):
        key, names = f"policy/{family}", ", ".join(registry.options(family))
        raise OptionError(f"policy.{family}", member, f"one of the options of group {key!r}: {key}=NAME ({names})")
    return registry.spec(member)


def plan_of(
    config: DictConfig, hydra: HydraConf, jobs: Sequence[Job], compose: Callable[[Sequence[str]], Point]
) -> Plan:
    """Plan the sweep that a composed config and Hydra's own node of it ask for.

    Raises: ThpsweepError if any of its points cannot run.
    """
    sweep = OmegaConf.to_object(config.sweep)
    assert isinstance(sweep, SweepConfig)
    raw: Any = OmegaConf.to_container(config.sweep, resolve=False)
    literal = secrets.are_typed(raw["tracking_uri"] or "")
    root = Path(sweep.dir).expanduser().absolute()
    where = target(root, sweep.tracking_uri, literal=literal)
    experiment = hydra.runtime.choices.get("experiment")
    made = planned(jobs, compose, sweep.where)
    check_names(sweep.labels, (point.record(index) for index, point in enumerate(made.points)))
    typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # they are recorded: ${oc.env:...} stays
    return Plan(
        root=root,
        name=sweep.name or (experiment or "sweep").replace("/", "_"),
        overrides=tuple(map(str, typed)),
        points=made.points,
        config=OmegaConf.to_yaml(OmegaConf.masked_copy(config, list(PARTS))),
        tracked=sweep.track,
        n_jobs=len(jobs),
        id_of=made.id_of,
        n_filtered=made.n_filtered,
        target=where,
        limits=PointLimits(sweep.deadline_s, sweep.memory_bytes),
        named=sweep.name is not None,
        force=sweep.force,
        labels=sweep.labels,
    )


def is_tracked(directory: Path) -> bool:
    """Tell whether a recorded sweep was to be in MLflow, too."""
    file = directory / "config.yaml"
    return not file.exists() or OmegaConf.select(OmegaConf.load(file), "sweep.track") is not False


def labels_of(directory: Path) -> Labels:
    """Find what the runs of a recorded sweep are called and tagged. Raises: ThpsweepError."""
    file = directory / "config.yaml"
    if not file.exists():
        return Labels()
    try:
        node = OmegaConf.select(OmegaConf.load(file), "sweep")
        given: Any = OmegaConf.to_container(node) if isinstance(node, DictConfig) else {}
        texts = {key: OmegaConf.select(node, key) for key in ("note", "run_name") if given.get(key) is not None}
        tags = {key: OmegaConf.select(node, f"tags[{key}]") for key in given.get("tags") or {}}
        return labels(tags, texts.get("note"), texts.get("run_name"))
    except (UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ThpsweepError(f"{file}: cannot be read; the sweep's own command writes it anew") from problem
    except OmegaConfBaseException as problem:
        raise ThpsweepError(f"{file}: sweep.tags: {first_line(problem)}") from problem


def target_of(directory: Path, uri: str | None) -> Target:
    """Find where a recorded sweep's runs go: to `uri` (--tracking-uri), else to where the sweep was told to put them.

    Raises: ThpsweepError where that cannot be, or is held by an environment variable that is not set.
    """
    root = directory.absolute().parent
    file = directory / "config.yaml"
    if uri is not None or not file.exists():
        return target(root, uri, literal=False, key="--tracking-uri")
    try:
        return target(root, OmegaConf.select(OmegaConf.load(file), "sweep.tracking_uri"), literal=False)
    except (UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ThpsweepError(f"{file}: cannot be read; the sweep's own command writes it anew") from problem
    except OmegaConfBaseException as problem:
        raise ThpsweepError(
            f"{file}: sweep.tracking_uri: {first_line(problem)}; expected --tracking-uri URI"
        ) from problem


def _refuse_unknown_keys(config: DictConfig, prefix: str, *, nested: bool = True) -> None:
    """Refuse what `+key=value` and `++key=value` added to a schema: nothing would read it."""
    kind = OmegaConf.get_type(config)
    known = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None
    for key in map(str, config):
        if known is not None and key not in known:
            raise ThpsweepError(unknown_key(f"{prefix}{key}", config[key], known))
        child = None if not nested or OmegaConf.is_missing(config, key) else config[key]
        if isinstance(child, DictConfig):
            _refuse_unknown_keys(child, f"{prefix}{key}.")
