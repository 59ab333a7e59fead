"""Show Hydra the schema: every option of every group becomes one of Hydra's, or the base of some."""

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from thpsweep.config.explain import BASE
from thpsweep.config.own import policy_of, structured, with_values
from thpsweep.config.schema import GROUPS, Config
from thpsweep.model import plugins, registry


def hydra_defaults() -> dict[str, str]:
    """Ask Hydra 1.3 for the defaults of its own release; 1.4 has no others, and warns of being asked."""
    return {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def register() -> None:
    """Store the schema where Hydra looks for it."""
    store = ConfigStore.instance()
    own = {name: cls for name, cls in registry.options("metric").items() if name in plugins.LOADED}
    store.store(name=f"{BASE}config", node=Config(metrics={name: structured(name, cls) for name, cls in own.items()}))
    for kind, group in GROUPS.items():
        prefix = "" if group.startswith("policy/") else BASE
        for name, option in registry.options(kind).items():
            node = structured(name, option)
            OmegaConf.set_readonly(node, None)  # a frozen option is read-only once made, not while Hydra fills it
            store.store(group=group, name=f"{prefix}{name}", node=node)
            if registry.is_added(kind, name):  # which has no file in conf/ to be chosen by
                store.store(group=group, name=name, node=with_values(name, node))
                if kind == "mechanism":
                    store.store(group="policy", name=name, node=policy_of(name))
