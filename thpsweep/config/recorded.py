"""Read from the config that a recorded sweep keeps beside its journal what was to become of its runs in MLflow."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from thpsweep.config.explain import first_line
from thpsweep.errors import ThpsweepError
from thpsweep.sweep.tracking.labels import Labels, labels
from thpsweep.sweep.tracking.target import Target, target


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
