"""An initramfs, in the format that the kernel unpacks: cpio "newc".

Source: Documentation/driver-api/early-userspace/buffer-format.rst (v6.12).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

_EXECUTABLE = 0o100755


def archive(files: Mapping[str, bytes]) -> bytes:
    """Pack files by name; all of them may be executed by root."""
    return b"".join(_entries(files))


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write an initramfs."""
    path.write_bytes(archive(files))


def _entries(files: Mapping[str, bytes]) -> Iterator[bytes]:
    for number, (name, content) in enumerate(files.items(), start=1):
        yield _entry(number, name, _EXECUTABLE, content)
    yield _entry(0, "TRAILER!!!", 0, b"")


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(block: bytes) -> bytes:
    return block + b"\0" * (-len(block) % 4)
