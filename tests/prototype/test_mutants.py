"""`check` finds every mistake: a module with one in it fails, or its machine dies."""

import shutil

import pytest

from tests.prototype.mutants import MUTANTS
from thpsweep.linux.prototype.bench import GuestMachine
from thpsweep.linux.prototype.build import MODULE, rebuild
from thpsweep.linux.prototype.errors import PrototypeError
from thpsweep.linux.prototype.machine import CHECKING

LIMIT_S = 600.0


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mistake_is_one_in_the_source(name):
    mutant = MUTANTS[name]
    assert (MODULE / mutant.file).read_text().count(mutant.right) == 1


@pytest.mark.mutants
@pytest.mark.xdist_group("prototype")
@pytest.mark.parametrize("name", MUTANTS)
def test_check_finds_the_mistake(name, machine, tmp_path):
    source = tmp_path / "module"
    shutil.copytree(machine.built.module.parent, source)  # built: only the file with the mistake is compiled again
    file, mutant = source / MUTANTS[name].file, MUTANTS[name]
    file.write_text(file.read_text().replace(mutant.right, mutant.wrong))
    broken = GuestMachine(machine.version, rebuild(machine.built, source), tmp_path)
    assert first_failure(broken) is not None


def first_failure(broken):
    """What the machine complains of first, or that it died."""
    try:
        for line in broken.lines("check", CHECKING, LIMIT_S):
            if line.startswith(("FAIL", "NOT-OK")):
                return line
    except PrototypeError as died:
        return str(died)
    return None
