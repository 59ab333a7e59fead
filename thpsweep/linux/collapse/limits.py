"""How much memory a collapse may take: what was asked for, or a share of what is free."""

import re

from thpsweep.errors import OptionError

SHARE = 4
"""A quarter of what is available is taken at most, unless more is asked for."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(key: str, text: str) -> int:
    """Read a size as 512M or 2GiB. Raises: OptionError."""
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if matched is None:
        raise OptionError(key, text, "a size such as 0, 512M or 2G")
    return int(float(matched[1]) * _UNITS[matched[2].upper()])
