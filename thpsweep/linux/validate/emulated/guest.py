"""Be the first process of a test machine: mount what validate needs, run it, tell the result, and power off.

The command's arguments stand in /arguments.json.
"""

import base64
import ctypes
import json
import os
import runpy
import sys
import traceback
import zlib
from pathlib import Path

_MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
)
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "XDG_CACHE_HOME": "/cache",
    "TERM": "dumb",
    "TTY_COMPATIBLE": "0",  # the console is a log: no colours, no bars
}
_INIT_MODULE, _POWER_OFF = 175, 0x4321FEDC
_RESULT = Path("/tmp/result.json")
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Set the machine up and run the command; end by powering off, whatever happens."""
    code: object = 1
    print("\nbegun", flush=True)
    try:
        _set_up()
        sys.path.insert(0, "/site")
        given = json.loads(Path("/arguments.json").read_text())
        sys.argv = ["thpsweep", "validate", *given, "--json", str(_RESULT)]
        try:
            runpy.run_module("thpsweep", run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code
    except BaseException:
        traceback.print_exc()
    if _RESULT.exists():
        print("json " + base64.b64encode(zlib.compress(_RESULT.read_bytes())).decode())
    print(f"done failures={code if isinstance(code, int) else int(bool(code))}", flush=True)
    sys.stderr.flush()
    _LIBC.sync()
    _LIBC.reboot(_POWER_OFF)


def _set_up() -> None:
    for kind, place in _MOUNTS:
        os.makedirs(place, exist_ok=True)
        if _LIBC.mount(b"none", place.encode(), kind.encode(), 0, None):
            print(f"{kind} cannot be mounted: {os.strerror(ctypes.get_errno())}")
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    os.environ |= _ENVIRONMENT
    for path in sorted(Path("/modules").glob("*.ko")) if Path("/modules").is_dir() else ():
        content = path.read_bytes()
        if _LIBC.syscall(_INIT_MODULE, content, ctypes.c_ulong(len(content)), b""):
            print(f"{path.name} cannot be loaded: {os.strerror(ctypes.get_errno())}")


main()
