"""Keep config files to values: none of them may name code that Hydra or logging would import, or grow without bound.

Hydra makes callbacks, launchers and sweepers of what `_target_` names, and logging of `()`, `class` and `ext://`. What
comes from an installed package or from the command line may name code; a file in conf/ or --config-dir may not.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from thpsweep.errors import PluginError, ThpsweepError

MAX_NODES = 100_000
"""Values of a file, those behind aliases counted wherever they are used."""

NAMES_CODE = "names code; expected values: code comes from --plugin FILE.py, the command line or an installed package"


@contextlib.contextmanager
def only_values() -> Iterator[None]:
    """Check each file in here before Hydra makes anything of it. Raises: ThpsweepError naming the file and the key."""
    Plugins.instance()  # which registers the sources
    reader: Any = SourcesRegistry.instance().resolve("file")
    load = reader.load_config

    def checked(source: ConfigSource, config_path: str) -> ConfigResult:
        file = Path(source.path, config_path if config_path.endswith(".yaml") else f"{config_path}.yaml")
        if file.is_file():
            _refuse_growth(file)
        loaded: ConfigResult = load(source, config_path)
        content = OmegaConf.to_container(loaded.config, resolve=False) if isinstance(loaded.config, DictConfig) else {}
        for key, value in _naming_code(content, ""):
            raise ThpsweepError(f"{file}: {key}={value}: {NAMES_CODE}")
        return loaded

    reader.load_config = checked
    try:
        yield
    finally:
        reader.load_config = load


def values_of(file: Path) -> dict[str, Any]:
    """Read the values of a file that stands beside a plugin. Raises: PluginError."""
    try:
        _refuse_growth(file)
        loaded = OmegaConf.load(file)
        content = OmegaConf.to_container(loaded, resolve=False) if isinstance(loaded, DictConfig) else None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        why = " ".join(str(error).split())
        raise PluginError(str(file), f"KEY: VALUE lines that can be read as YAML ({why})") from error
    if not isinstance(content, dict):
        raise PluginError(str(file), "KEY: VALUE lines")
    for key, value in _naming_code(content, ""):
        raise PluginError(str(file), f"values; {key}={value} {NAMES_CODE}")
    return {str(key): value for key, value in content.items() if key != "defaults"}


def place(file: Path, key: str) -> str:
    """Write a file with the line on which a key at the top stands; the file alone where it stands on none."""
    lines = file.read_text(encoding="utf-8").splitlines()
    number = next(
        (n for n, line in enumerate(lines, 1) if key and re.match(rf"['\"]?{re.escape(key)}['\"]?\s*:", line)), 0
    )
    return f"{file}:{number}" if number else str(file)


def _naming_code(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """List the keys below a node that make Hydra or logging import what their value names."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        text = value if isinstance(value, str) else ""
        is_class = key == "class" and not re.fullmatch(r"logging\.\w+|logging\.handlers\.\w+", text)
        is_name = text.startswith(("ext://", "cfg://")) and text not in ("ext://sys.stdout", "ext://sys.stderr")
        if str(key).rpartition(".")[2] in ("_target_", "()") or is_class or is_name:
            yield f"{prefix}{key}", value
        yield from _naming_code(value, f"{prefix}{key}.")


def _refuse_growth(file: Path) -> None:
    """Refuse a file whose aliases multiply. Raises: ThpsweepError."""
    text = file.read_text(encoding="utf-8")
    if "*" not in text or "&" not in text:
        return
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and _size(root, {}) > MAX_NODES:
        raise ThpsweepError(f"{file}: its aliases (*NAME) make over {MAX_NODES:,} values; expected fewer")


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    if id(node) not in known:
        known[id(node)] = 1  # an alias to what it stands in
        children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = children if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = min(1 + sum(_size(child, known) for child in inner), MAX_NODES + 1)
    return known[id(node)]
