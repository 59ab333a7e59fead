"""thpsweep: when does collapsing shared anonymous pages into a THP pay back?"""

import importlib
import pathlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thpsweep.api import compare as compare
    from thpsweep.api import load as load
    from thpsweep.api import simulate as simulate

__version__ = "0.1.0"

# Hydra finds launchers and sweepers only below a namespace package called hydra_plugins; appending our folder works
# alike from a checkout, an editable install and a wheel (hydra-core issues 2359 and 3252).
_PLUGINS = str(pathlib.Path(__file__).parent / "_plugins")
if _PLUGINS not in sys.path:
    sys.path.append(_PLUGINS)


def __getattr__(name: str) -> Any:
    """Import `compare`, `load` and `simulate` when they are asked for: importing thpsweep itself stays light."""
    if name in ("compare", "load", "simulate"):
        return getattr(importlib.import_module("thpsweep.api"), name)
    raise AttributeError(f"module 'thpsweep' has no attribute {name!r}")
