"""Compose one config a point: as Hydra does, but a hundred times as fast where only values differ."""

import copy
import functools
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from thpsweep.errors import SweepError


class Composer:
    """Compose the configs of a sweep; keeps one base per combination of group choices."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._parsed = functools.cache(self._parse)
        self._is_group = functools.cache(self._find_group)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Give the config of one job, equal to what Hydra composes; what differs only in values takes the fast way.

        A value is applied by Hydra after all groups have been composed, and so it is here. Everything else (+, ++, ~,
        packages, more places to search) goes through Hydra itself, and so does what fails, for Hydra's error.
        """
        parsed = [self._parsed(override) for override in overrides]
        if self._master.hydra.searchpath or not all(self._is_plain(override) for override in parsed):
            return self.slow(overrides)
        groups = tuple(o.input_line or "" for o in parsed if self._is_group(o.key_or_group))
        config = copy.deepcopy(self._base(groups))
        try:
            for override in parsed:
                if not self._is_group(override.key_or_group):
                    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return self.slow(overrides)
        return config

    def slow(self, overrides: Sequence[str]) -> DictConfig:
        """Compose as Hydra's own launchers do."""
        return without_hydra(self.with_hydra(overrides))

    def with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """Compose as Hydra's own launchers do, Hydra's node included."""
        config = self.loader.load_sweep_config(self._master, list(overrides))
        if config.hydra.sweeper != self._master.hydra.sweeper:
            raise SweepError("experiment: an experiment that sweeps cannot be swept over; allowed is one a command")
        return config

    def _base(self, groups: tuple[str, ...]) -> DictConfig:
        if groups not in self._bases:
            self._bases[groups] = self.slow(groups)
        return self._bases[groups]

    def _parse(self, override: str) -> Override:
        return self._parser.parse_override(override)

    def _is_plain(self, override: Override) -> bool:
        is_change = not (override.is_add() or override.is_force_add() or override.is_delete())
        return is_change and override.package is None and "@" not in override.key_or_group

    def _find_group(self, key: str) -> bool:
        return any(self.loader.get_group_options(key, kind) for kind in (ObjectType.CONFIG, ObjectType.GROUP))


def without_hydra(config: DictConfig) -> DictConfig:
    """Copy what belongs to the app."""
    own = copy.copy(config)
    OmegaConf.set_readonly(own, False)
    with open_dict(own):
        del own["hydra"]
    return own
