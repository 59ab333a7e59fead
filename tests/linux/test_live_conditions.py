"""What a command says, and what still works, where something is missing: each condition is made, not mocked."""

import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import thpsweep
from tests.linux.live import bench_or_skip

pytestmark = pytest.mark.live

SOME = [f"--only={name}" for name in ("collapse_both", "k_private_3", "swap_1", "shmem_3", "migrate_3")]
COMMAND = [sys.executable, "-m", "thpsweep", "validate", "--rounds=1", *SOME]
NOT_ROOT = """
import os, sys
from thpsweep.cli import main
def run(*words):
    try:
        main(["validate", "--rounds=1", *words])
    except SystemExit as end:
        return end.code
assert run("--only=collapse_both") == 0  # whatever is imported on the way is imported while it can be read
print("---", flush=True); print("---", file=sys.stderr, flush=True)
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
sys.exit(run(*{some}))
"""


@pytest.fixture
def root(nobody):
    """Give what this machine lacks anyway; skip where we are not root, its settings cannot be changed, or are held."""
    with bench_or_skip("khugepaged", "tracefs", "frames") as bench:
        lacking = {*bench.missing}
    return lacking


def ran(command: list[str], **changed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **changed}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def refused(prefix: list[str]) -> bool:
    """Tell whether this machine does not let us make a condition."""
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0


def tracefs(place: Path | None, command: list[str]) -> list[str]:
    """Let a command see tracefs mounted there, or nowhere: machines with systemd have it mounted, others have not."""
    here = f"mount -t tracefs none {place}" if place else "umount --all --types tracefs"
    return ["unshare", "--mount", "sh", "-c", f'{here} && exec "$@"', "sh", *command]


def in_part(done: subprocess.CompletedProcess[str], missing: set[str]) -> None:
    """Check that the rest was validated, and that all that is missing was named, and nothing else."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert {*re.findall(r"\bwithout ([a-z]+): ", done.stderr)} == missing, done.stderr
    assert "collapse_both" in done.stdout
    assert ("k_private_3: skipped: " in done.stdout) == bool({"tracefs", "khugepaged"} & missing)
    assert re.search(r"([2-9]) of \1 scenarios equal", done.stdout)


def closed_to_others() -> Path | None:
    """Find a folder above the package that another user cannot enter."""
    package = Path(thpsweep.__file__).resolve()
    return next((above for above in package.parents if not above.stat().st_mode & stat.S_IXOTH), None)


@pytest.mark.skipif(closed_to_others() is not None, reason=f"another user cannot read {closed_to_others()}")
def test_not_root(root, nobody) -> None:
    with tempfile.TemporaryDirectory() as folder:  # unlike tmp_path one that others can look into
        os.chmod(folder, 0o1777)
        program = NOT_ROOT.format(nobody=nobody, some=SOME)
        done = ran([sys.executable, "-c", program], XDG_CACHE_HOME=folder, TMPDIR=folder)
    done.stdout, done.stderr = done.stdout.rpartition("---")[2], done.stderr.rpartition("---")[2]
    in_part(done, root | {"tracefs", "khugepaged", "swap", "frames"})


@pytest.mark.parametrize("mounted", [True, False])
def test_root_of_a_user_namespace(root, tmp_path, mounted: bool) -> None:
    """Its user is the owner of what is mounted already, but it may mount no tracefs itself."""
    prefix = ["unshare", "--user", "--map-root-user"]
    place = tmp_path if mounted else None
    if refused(tracefs(place, prefix)):
        pytest.skip("mount or user namespaces are off")
    in_part(
        ran(tracefs(place, [*prefix, *COMMAND])), root | {"swap", "frames"} | ({"tracefs"} if not mounted else set())
    )


@pytest.mark.parametrize("mounted", [True, False])
def test_a_container_without_cap_sys_admin(root, tmp_path, mounted: bool) -> None:
    prefix = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    place = tmp_path if mounted else None
    if refused(tracefs(place, prefix)):
        pytest.skip("mount namespaces are off, or setpriv does not work here")
    before = sorted(path.name for path in Path("/sys/block").iterdir())
    done = ran(tracefs(place, [*prefix, *COMMAND]))
    in_part(done, root | {"swap", "frames"} | ({"tracefs"} if not mounted else set()))
    assert sorted(path.name for path in Path("/sys/block").iterdir()) == before


def test_sysfs_read_only(root) -> None:
    mount = "mount --rbind /sys /sys && mount -o remount,bind,ro /sys && exec "
    prefix = ["unshare", "--mount", "sh", "-c"]
    if refused(prefix[:2]):
        pytest.skip("mount namespaces are off")
    in_part(ran([*prefix, mount + " ".join(COMMAND)]), root | {"khugepaged", "swap"})


@pytest.mark.parametrize("verb", ["validate", "calibrate"])
def test_no_thp(root, tmp_path, verb: str) -> None:
    script = f"mount --bind {tmp_path} /sys/kernel/mm/transparent_hugepage && exec {sys.executable} -m thpsweep {verb}"
    done = ran(["unshare", "--mount", "sh", "-c", script])
    assert done.returncode == 2
    assert done.stderr == "thpsweep: /sys/kernel/mm/transparent_hugepage: this kernel has no transparent huge pages\n"


def test_a_container_that_masks_kpageflags(root) -> None:
    """Docker masks files of /proc with an empty one: that is not to be taken for frames without flags."""
    if refused(["unshare", "--mount"]):
        pytest.skip("mount namespaces are off")
    command = "mount --bind /dev/null /proc/kpageflags && exec " + " ".join(COMMAND)
    done = ran(["unshare", "--mount", "sh", "-c", command])
    assert done.returncode == 0 and "without frames: " in done.stderr
    assert "migrate_3: skipped: " in done.stdout and re.search(r"([2-9]) of \1 scenarios equal", done.stdout)


@pytest.mark.slow
def test_calibrating_as_root_of_a_user_namespace(root, tmp_path) -> None:
    """What needs no privilege is measured, the rest is assumed; both are said."""
    prefix = ["unshare", "--user", "--map-root-user"]
    if refused(tracefs(None, prefix)):
        pytest.skip("user namespaces are off")
    out = tmp_path / "here.yaml"
    command = [*prefix, sys.executable, "-m", "thpsweep", "calibrate", "--quick", "--out", str(out)]
    done = ran(tracefs(None, command))
    assert done.returncode == 0, done.stderr
    said = out.read_text()
    assert "without tracefs: " in done.stderr and "without frames: " in done.stderr
    assert (
        re.search(r"^migration_entry_set_ns: .* # assumed: ", said, re.M)
        and "# Not measured by migrating in 1 of 1" in said
    )
    for key in ("copy_page_ns", "cow_fault_ns", "fork_pte_small_ns", "pte_unmap_ns"):
        assert re.search(rf"^{key}: .* # measured: ", said, re.M)


WITHOUT_PAGEMAP = """
import builtins, errno, os, sys
real = {"open": builtins.open, "os_open": os.open, "exists": os.path.exists}
def missing(path):
    return str(path).endswith("/pagemap")
def deny(name):
    def wrapped(path, *rest, **named):
        if missing(path):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return real[name](path, *rest, **named)
    return wrapped
builtins.open, os.open = deny("open"), deny("os_open")
os.path.exists = lambda path: not missing(path) and real["exists"](path)
from thpsweep.cli import main
main(sys.argv[1:])
"""


def without_pagemap(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a kernel whose /proc has no pagemap: no such one is at hand, so opening it is what fails."""
    return ran([sys.executable, "-c", WITHOUT_PAGEMAP, *words])


def test_validate_without_pagemap(root) -> None:
    in_part_of_sums = without_pagemap("validate", "--rounds=1", *SOME)
    assert in_part_of_sums.returncode == 0, in_part_of_sums.stdout + in_part_of_sums.stderr
    assert "without frames: /proc/PID/pagemap is not there" in in_part_of_sums.stderr
    assert "migrate_3: skipped: " in in_part_of_sums.stdout
    assert re.search(r"([2-9]) of \1 scenarios equal", in_part_of_sums.stdout)


@pytest.mark.slow
def test_calibrate_without_pagemap(root, tmp_path) -> None:
    done = without_pagemap("calibrate", "--quick", "--out", str(tmp_path / "here.yaml"))
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "here.yaml").read_text()
    for key in ("copy_page_ns", "pte_clear_ns", "fork_pte_small_ns", "age_small_pte_ns"):
        assert re.search(rf"^{key}: .* # (measured|derived): ", said, re.M), key
    for probe in ("migrating", "splitting"):
        assert f"# Not measured by {probe} in 1 of 1" in said


@pytest.mark.parametrize("words", [("capture", "--pid=1", "--out=a.npz"), ("advise", "--pid=1")])
def test_capture_and_advise_without_pagemap(nobody, words: tuple[str, ...]) -> None:
    done = without_pagemap(*words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "no /proc/PID/pagemap" in done.stderr and "workload=prefork" in done.stderr


def test_no_compiler(root, tmp_path) -> None:
    done = ran(COMMAND, XDG_CACHE_HOME=str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 2 and "no C compiler" in done.stderr
