"""What a user may do wrong, each kind with a class; the command line prints them as one line and exits with 2."""


class ThpsweepError(Exception):
    """Say in one line what is wrong and what is allowed; the user's, not the program's, mistake."""

    exit_code = 2


class OptionError(ThpsweepError, ValueError):
    """Name the key, the value it had, and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key}={value!r}: allowed is {allowed}")
        self.key, self.value, self.allowed = key, value, allowed

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        return (type(self), (self.key, self.value, self.allowed))


class PluginError(ThpsweepError):
    """A file with a member of a user's own cannot be used."""

    def __init__(self, path: str, allowed: str) -> None:
        super().__init__(f"--plugin {path}: allowed is {allowed}")
        self.path, self.allowed = path, allowed

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return (type(self), (self.path, self.allowed))


class CaptureError(ThpsweepError):
    """A process tree could not be captured, or a captured file cannot be used."""


class LiveError(ThpsweepError):
    """The kernel of this machine cannot be measured or asked: say what is missing."""


class DisturbedError(LiveError):
    """The state that the machine is in, or its other programs, kept a measurement from being made: later it may go."""


class SweepError(ThpsweepError):
    """A sweep cannot be planned, started or read."""


class StorageError(ThpsweepError):
    """The disk takes no more of a sweep that is right in itself."""

    exit_code = 3
