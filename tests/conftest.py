"""Settings that all tests share."""

import os
import secrets
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["tests.side_by_side"]

# Whoever starts the tests with SIGINT ignored, as a script's & does, means them, and not what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A gate must give the same answer twice for the same code; elsewhere the properties are tried on new examples each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def ray_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let Ray keep its token in a place of the tests' own; a process that started Ray once remembers it for good."""
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text(secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        yield
