"""A fixed sharing degree."""

import dataclasses

from thpsweep.model.sharings.base import Sharing, check_degree


@dataclasses.dataclass
class Fixed(Sharing):
    """Let `degree` mms map the memory, the root (the process that forked the others) among them."""

    degree: int

    def __post_init__(self) -> None:
        check_degree(self.degree)

    @property
    def sharers(self) -> int:
        """The degree itself."""
        return self.degree
