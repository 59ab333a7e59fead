"""A stand-in for the emulator: a program of its name that prints what a test wants."""

import os


def stand_in(monkeypatch, folder, script):
    """Put a program of the emulator's name first on the PATH."""
    program = folder / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def built(folder):
    """Files that a machine is started with; the stand-in reads none of them."""
    from thpsweep.linux.prototype.build import Built

    files = Built(folder / "vmlinuz", folder / "shcollapse.ko", folder / "init")
    for path in (files.image, files.module, files.init):
        path.write_bytes(b"x")
    return files
