"""What can become of Ray."""

from typing import Self

from thpsweep.errors import SweepError


class RayUnavailableError(SweepError):
    """No Ray of our own can start or stay here. The points can still run in the driver."""

    @classmethod
    def of(cls, problem: BaseException, expected: str = "") -> Self:
        """Say in one line why Ray cannot start, and what to set."""
        text = " ".join(str(problem).split())[:200]
        if "AF_UNIX path length" in text:
            expected = "a shorter TMPDIR, for example RAY_TMPDIR=/tmp"
        elif isinstance(problem, OSError) and problem.filename is not None and not expected:
            expected = "a HOME and a TMPDIR that can be written to"
        expected = expected or "a Ray that starts (python -c 'import ray; ray.init()'), or hydra/launcher=serial"
        return cls(f"Ray cannot start here ({type(problem).__name__}: {text}); expected {expected}")


class RayLostError(SweepError):
    """The sweep's own Ray has died; what it ran has to run again."""
