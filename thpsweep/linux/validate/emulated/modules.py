"""Modules of a kernel in the order in which they can be loaded, without depmod: each names what it needs."""

import gzip
import lzma
import re
from pathlib import Path

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_OPEN = {".xz": lzma.decompress, ".gz": gzip.decompress}


def in_order(root: Path, *wanted: str) -> list[bytes]:
    """Give modules, each behind all that it needs; those that this kernel does not have are left out."""
    files = {path.name.partition(".ko")[0].replace("-", "_"): path for path in root.rglob("*.ko*")}
    found: dict[str, bytes] = {}
    for name in wanted:
        _add(files, name, found)
    return list(found.values())


def _add(files: dict[str, Path], name: str, found: dict[str, bytes]) -> None:
    path = files.get(name)
    if path is None or name in found:
        return
    packed = path.read_bytes()
    content = _OPEN[path.suffix](packed) if path.suffix in _OPEN else packed
    needs = _DEPENDS.search(content)
    for other in needs[1].decode().split(",") if needs else ():
        _add(files, other.replace("-", "_"), found)
    found[name] = content
