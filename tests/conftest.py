"""Settings that all tests share."""

import os

from hypothesis import settings

# A gate must give the same answer twice for the same code; elsewhere the properties are tried on new examples each time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
