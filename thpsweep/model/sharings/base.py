"""How many processes share the memory, and in which shape."""

import abc
import dataclasses


@dataclasses.dataclass
class Sharing(abc.ABC):
    """Answer how many sharers (mms that map the family's memory, the root included) a scene has."""

    @property
    @abc.abstractmethod
    def sharers(self) -> int:
        """Number of living mms at the start of the run."""
