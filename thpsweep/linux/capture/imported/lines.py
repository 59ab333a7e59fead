"""Pasted text as numbered lines, without what mail, terminals, browsers and grep have put around them."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from thpsweep.errors import CaptureError, shortened

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\u200b-\u200f\u2060\ufeff]")
_BLANKS = re.compile(r"[\u00a0\u2007\u202f]")
_QUOTES = re.compile(r"^(?:\s*(?:>|[*|](?=\s|$)))+ ?")
_SOFT_BREAK, _EQUALS = re.compile(r"^\s*(?:>\s*)*\S.*=$"), "=3D"
_NUMBERED = re.compile(r"^\s*\d+\t(?=\S)")
_ENTITY = re.compile(r"&(?:\w+|#\d+);")
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))

LONGEST = 200
"""Characters of a line that an error repeats."""


@dataclass(frozen=True)
class Line:
    """Hold a line of a file, and where it stands."""

    source: str
    number: int
    text: str

    def fault(self, expected: str) -> CaptureError:
        """Make the error that names file, line and text, and says what was expected."""
        text = self.text if len(self.text) <= LONGEST else f"{self.text[:LONGEST]}..."
        return CaptureError(f"{self.source}:{self.number}: {shortened(text)!r}: expected {expected}")


def lines(data: bytes, source: str) -> Iterator[Line]:
    """Decode a file and clean each line: quoting, colours, entities and line numbers go. Raises: CaptureError."""
    for number, raw in _unbroken(re.split(r"\r\n|\r|\n", _decoded(data, source))):
        text = _BLANKS.sub(" ", _ESCAPES.sub("", raw))
        if _ENTITY.search(text):
            text = html.unescape(text)
        yield Line(source, number, _NUMBERED.sub("", _QUOTES.sub("", text)).strip())


def _unbroken(raw: list[str]) -> Iterator[tuple[int, str]]:
    """Number lines; undo what quoted-printable mail does to '=' and to long lines, if this is such a mail."""
    if not any(_EQUALS in line for line in raw):
        yield from enumerate(raw, start=1)
        return
    begun, first = "", 1
    for number, line in enumerate(raw, start=1):
        first = first if begun else number
        begun += line
        if _SOFT_BREAK.match(begun) and number < len(raw):
            begun = begun[:-1]
            continue
        yield first, begun.replace(_EQUALS, "=")
        begun = ""


def _decoded(data: bytes, source: str) -> str:
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise CaptureError(f"{source}: is no text: expected smaps, smaps_rollup, numa_maps or thpmaps of a process")
    return data.decode(encoding, errors="replace")
