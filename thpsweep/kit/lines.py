"""What a check says: one line per rule."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Line:
    """A rule in words, and how it was broken, if so; or something to know."""

    text: str
    broken: str = ""
    info: bool = False

    @property
    def kept(self) -> bool:
        """Whether the rule was kept."""
        return not self.broken

    def __str__(self) -> str:
        if self.broken:
            return f"BROKEN  {self.text}:\n        {self.broken}"
        return f"{'     ' if self.info else 'ok   '}   {self.text}"


def note(text: str) -> Line:
    """Make a line of something to know."""
    return Line(text, info=True)
