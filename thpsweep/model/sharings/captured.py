"""As many sharers as were captured."""

import dataclasses

from thpsweep.model.capture import files
from thpsweep.model.sharings.base import Sharing


@dataclasses.dataclass
class CapturedSharing(Sharing):
    """Take the number of sharers from a captured file, as a rule the one that the workload is made of.

    Who maps what is in the workload's layout; here nothing is cut and nothing replicated.
    """

    path: str

    def __post_init__(self) -> None:
        files.check_name("sharing.path", self.path)

    @property
    def sharers(self) -> int:
        """Number of captured processes. Raises: OptionError, CaptureError."""
        return int(files.load(files.find("sharing.path", self.path)).present.shape[0])
