"""thpsweep: when does collapsing shared anonymous pages into a THP pay back?"""

import pathlib
import sys

__version__ = "0.1.0"

# Hydra finds launchers and sweepers only below a namespace package called hydra_plugins; appending our folder works
# alike from a checkout, an editable install and a wheel (hydra-core issues 2359 and 3252).
_PLUGINS = str(pathlib.Path(__file__).parent / "_plugins")
if _PLUGINS not in sys.path:
    sys.path.append(_PLUGINS)
