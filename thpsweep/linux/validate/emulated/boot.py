"""Run `thpsweep validate` in another kernel, and bring back what it says."""

import base64
import json
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from thpsweep.linux.prototype import cpio, machine
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.kernels import KERNELS
from thpsweep.linux.prototype.machine import CHECKING
from thpsweep.linux.prototype.needs import EMULATOR, require
from thpsweep.linux.validate.emulated.kernels import DebianKernel, fetched
from thpsweep.linux.validate.emulated.modules import in_order
from thpsweep.linux.validate.emulated.root import files

_NEEDED = ("apt-get", "dpkg-deb", EMULATOR)
_MODULES = ("lzo_rle", "zram")
"""For swap; the first is what zram compresses with before 6.12, though it names no need of it."""

_MEMORY_MIB = 3072
_CPU = "max,avx=off,avx2=off,fma=off,f16c=off"
"""Without what qemu 7.2 began to emulate: under it NumPy, which uses AVX2 where there is, went wrong now and then."""
_LIMIT_S = 7200.0


def say(line: str) -> None:
    """Tell on standard error what goes on."""
    print(f"thpsweep: {line}", file=sys.stderr, flush=True)


def validate_in(kernel: DebianKernel, arguments: Sequence[str], out: Path | None) -> int:
    """Fetch a kernel if need be, boot it, validate there; print what it prints, give its exit code.

    Raises: PrototypeError for what is missing, and where the machine dies.
    """
    require(KERNELS["6.12"], _NEEDED)
    unpacked = fetched(kernel, say)
    with tempfile.TemporaryDirectory(prefix="thpsweep-validate-") as name:
        initramfs = Path(name) / "root.cpio"
        inside = files(in_order(unpacked.root, *_MODULES))
        inside["arguments.json"] = json.dumps(list(arguments)).encode()
        cpio.write_tree(initramfs, inside)
        say(f"booting {unpacked.version} under emulation: times there are the emulator's, and mean nothing")
        return _watch(unpacked.image, initramfs, out)


def _watch(image: Path, initramfs: Path, out: Path | None) -> int:
    code, result, begun = 1, None, False
    for line in machine.boot(image, initramfs, CHECKING, _LIMIT_S, "", _MEMORY_MIB, _CPU):
        kind, _, rest = line.partition(" ")
        if kind == "json":
            result = zlib.decompress(base64.b64decode(rest))
        elif line.startswith("done failures="):
            code = int(line.partition("=")[2])
        elif begun:
            print(line, flush=True)
        begun |= line == "begun"  # before it the firmware speaks
    if out is not None:
        if result is None:
            raise PrototypeError("validate: the test machine gave no result")
        out.write_bytes(result)
    return code
