"""MADV_COLLAPSE by the root before it forks: what a preforking server can do on today's kernels."""

import dataclasses

from thpsweep.model.triggers.base import Collapser, Early


@dataclasses.dataclass
class BeforeFork(Early):
    """Let the root advise all of its memory once, just before it forks those who live when the run begins."""

    def prepare(self, collapser: Collapser) -> None:
        """Collapse what the root has; nobody shares it yet."""
        self.collapse_root(collapser)
