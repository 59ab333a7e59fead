"""A fixed sharing degree."""

import dataclasses

from thpsweep.errors import OptionError
from thpsweep.model.sharings.base import Sharing
from thpsweep.units import MAX_SHARERS


@dataclasses.dataclass
class Fixed(Sharing):
    """Let `degree` mms map the memory, the root (the process that forked the others) among them."""

    degree: int

    def __post_init__(self) -> None:
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or not 1 <= self.degree <= MAX_SHARERS:
            raise OptionError("sharing.degree", self.degree, f"1..{MAX_SHARERS}")

    @property
    def sharers(self) -> int:
        """The degree itself."""
        return self.degree
