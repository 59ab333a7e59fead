"""An initramfs, in the format that the kernel unpacks: cpio "newc".

Source: Documentation/driver-api/early-userspace/buffer-format.rst (v6.12).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

_EXECUTABLE, _FOLDER = 0o100755, 0o40755


def archive(files: Mapping[str, bytes]) -> bytes:
    """Pack files by name; all of them may be executed by root."""
    return b"".join(_entries(files))


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write an initramfs."""
    path.write_bytes(archive(files))


def write_tree(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write an initramfs of files in folders, each with the time of its last change: bytecode stays valid by it."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents} - {"."}
    with path.open("wb") as out:
        for number, name in enumerate(sorted(folders), start=len(files) + 1):
            out.write(_entry(number, name, _FOLDER, b""))
        for number, (name, file) in enumerate(files.items(), start=1):
            content, changed_s = (
                (file, 0) if isinstance(file, bytes) else (file.read_bytes(), int(os.stat(file).st_mtime))
            )
            out.write(_entry(number, name, _EXECUTABLE, content, changed_s))
        out.write(_entry(0, "TRAILER!!!", 0, b""))


def _entries(files: Mapping[str, bytes]) -> Iterator[bytes]:
    for number, (name, content) in enumerate(files.items(), start=1):
        yield _entry(number, name, _EXECUTABLE, content)
    yield _entry(0, "TRAILER!!!", 0, b"")


def _entry(inode: int, name: str, mode: int, content: bytes, changed_s: int = 0) -> bytes:
    fields = (inode, mode, 0, 0, 1, changed_s & 0xFFFFFFFF, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(block: bytes) -> bytes:
    return block + b"\0" * (-len(block) % 4)
