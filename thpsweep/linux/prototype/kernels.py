"""The kernels that the module is written for, and where Debian keeps them."""

from dataclasses import dataclass

from thpsweep.errors import OptionError


@dataclass(frozen=True)
class Kernel:
    """One kernel version of a Debian suite.

    sources: lines "archive suite", of the mirror that this machine takes Debian's packages from. headers: the meta-package
    that depends on the version's own; the archive keeps only the newest few. image: the package that has the kernel. tools:
    packages whose libraries the kernel's build tools need. make: what make is told besides, where the compiler is another
    than the one that built the kernel.
    """

    name: str
    sources: tuple[str, ...]
    headers: str
    image: str = "linux-image-{}-unsigned"
    compiler: str = "gcc-12"
    tools: tuple[str, ...] = ()
    make: tuple[str, ...] = ()


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("6.12", ("debian-security bookworm-security",), "linux-headers-6.12-cloud-amd64"),
        Kernel(
            "7.3",
            ("debian trixie-backports", "debian trixie"),
            "linux-headers-cloud-amd64/trixie-backports",
            image="linux-binary-unsigned-{}",
            tools=("libc6",),
            make=("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=",),
        ),
    )
}
DEFAULT = "6.12"


def kernel(name: str) -> Kernel:
    """Choose a kernel by its version. Raises: OptionError."""
    if name not in KERNELS:
        raise OptionError("--kernel", name, "one of " + ", ".join(KERNELS))
    return KERNELS[name]
