"""The disk is full, or does not keep what it was given."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakePlace
from tests.faults.driver import main
from thpsweep.sweep.records import journal
from thpsweep.sweep.records.writer import DAMAGED_NAME


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of half a MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small tmpfs is not allowed here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk_stops_the_sweep_and_room_lets_it_go_on(make_place: MakePlace, small_disk: Path) -> None:
    place, undisturbed = make_place("full", 60), make_place("undisturbed", 60)
    undisturbed.finish("serial", "slow")
    place.root = small_disk
    for _ in range(2):
        driver = place.start("serial", "slow")
        _, said = driver.communicate(timeout=60)
        *_, last = said.splitlines()
        assert driver.returncode == 3
        assert "No space left on device" in last and "goes on when there is room" in last
        assert "Traceback" not in said
    kept = place.results()
    assert 0 < len(kept) < 60
    assert journal.read(next(small_disk.iterdir())).done == set(kept)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    place.finish("serial", "slow")
    assert kept.items() <= place.results().items()
    assert place.results() == undisturbed.results()


def test_file_size_limit_is_a_full_disk(make_place: MakePlace) -> None:
    place = make_place("limited", 60)
    arguments = [str(place.points), str(place.root), "serial", "slow"]
    code = (
        "import resource, sys; from tests.faults.driver import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000)); sys.exit(run(*sys.argv[1:]))"
    )
    driver = place.run([sys.executable, "-c", code, *arguments])
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 3 and "File too large" in said
    kept = place.results()
    assert 0 < len(kept) < 60
    place.finish("serial", "slow")
    assert len(place.results()) == 60 and kept.items() <= place.results().items()


def test_any_flipped_bit_costs_at_most_its_own_lines(make_place: MakePlace, capsys: pytest.CaptureFixture[str]) -> None:
    place = make_place("rotten", 12)
    arguments = [str(place.points), str(place.root), "serial", "slow"]
    main(*arguments)
    undisturbed = place.results()
    (file,) = place.root.glob("*/journal.jsonl")
    dice = random.Random("40 bits")
    for _ in range(40):
        content = bytearray(file.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        file.write_bytes(content)
        capsys.readouterr()
        assert main(*arguments) == 0
        said = capsys.readouterr().err
        left = 12 - int(said.partition(" points, ")[2].partition(" already done")[0]) if "already" in said else 12
        assert left <= 2  # a flipped end of a line takes the next one with it
        assert place.results() == undisturbed
    assert (file.parent / DAMAGED_NAME).exists()


@pytest.mark.parametrize("lost", [1, 2, 13, 14, 500, 5000])
def test_torn_end_is_repaired_and_its_point_runs_again(make_place: MakePlace, lost: int) -> None:
    place = make_place("torn", 5)
    arguments = [str(place.points), str(place.root), "serial", "slow"]
    main(*arguments)
    undisturbed = place.results()
    (file,) = place.root.glob("*/journal.jsonl")
    os.truncate(file, file.stat().st_size - lost)
    assert main(*arguments) == 0
    assert place.results() == undisturbed
