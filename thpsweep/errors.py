"""What a user may do wrong, each kind with a class; the command line prints them as one line and exits with 2."""

import re


class ThpsweepError(Exception):
    """Say in one line what is wrong and what is expected; the user's, not the program's, mistake."""

    exit_code = 2


class OptionError(ThpsweepError, ValueError):
    """Name the key, the value it had, and what is expected."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(f"{key}={value!r}: expected {expected}")
        self.key, self.value, self.expected = key, value, expected

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        return (type(self), (self.key, self.value, self.expected))


class PluginError(ThpsweepError):
    """A file with an option of a user's own cannot be used."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path}: expected {expected}")
        self.path, self.expected = path, expected

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return (type(self), (self.path, self.expected))


class CaptureError(ThpsweepError):
    """A process tree could not be captured, or a captured file cannot be used."""


class NoRegionError(CaptureError):
    """A process tree uses no range of memory that a huge page could hold."""


class LiveError(ThpsweepError):
    """The kernel of this machine cannot be measured or asked: say what is missing."""


class DisturbedError(LiveError):
    """The state that the machine is in, or its other programs, kept a measurement from being made: later it may go."""


class SweepError(ThpsweepError):
    """A sweep cannot be planned, started or read."""


class StorageError(ThpsweepError):
    """The disk takes no more of a sweep that is right in itself."""

    exit_code = 3


def shortened(message: str) -> str:
    """Cut long words out of a message: a user knows what was typed, and a terminal has room for its beginning."""
    return re.sub(r"\S{300,}", lambda found: f"{found[0][:100]}... ({len(found[0]):,} characters)", message)
