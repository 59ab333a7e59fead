"""What keeps a test machine from being built or run."""

from thpsweep.errors import ThpsweepError


class PrototypeError(ThpsweepError):
    """Something is missing or does not work; says what, and what still works."""
