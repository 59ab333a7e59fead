"""Run `thpsweep advise` and `collapse` on a service, paste what they print, and read their figures."""

import dataclasses
import os
import re
import subprocess
import sys

import numpy as np

from thpsweep import profiles
from thpsweep.answers.analysis.ranges import machine_ranges
from thpsweep.answers.analysis.uncertainty import draws
from thpsweep.linux.live.settings import KHUGEPAGED, THP
from thpsweep.model.metrics.repricing import recording
from thpsweep.shipped import machine_file
from thpsweep.sweep.records import journal

THPSWEEP = [sys.executable, "-m", "thpsweep"]
_MORE = re.compile(r"memory more +(?:0 B|([\d.]+) (KiB|MiB|GiB)) +(?:0 B|-?([\d.]+) (KiB|MiB|GiB))")
_CPU = re.compile(r"CPU time of collapsing +([\d.,]+) ms")
_MIB = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


def thpsweep(*words):
    done = subprocess.run([*THPSWEEP, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def advise(folder, pid, seconds=6):
    said = thpsweep("advise", "--pid", pid, "--seconds", seconds, "--hours", 0.05, "--replicates", 2, "--dir", folder)
    print(said)
    return said


def settings():
    return {file: file.read_text() for file in (THP / "enabled", *KHUGEPAGED.iterdir()) if os.access(file, os.W_OK)}


def applied_and_undone(said):
    """Paste what changes settings, and what undoes it, of every choice that is shown; count them."""
    before, tried = settings(), 0
    for block in re.split(r"# apply, until the next boot or restart:\n", said)[1:]:
        apply, _, rest = block.partition("  # undo:")
        undo = re.split(r"\n  # for good|\n\S", rest)[0]
        echoes = [[line.strip() for line in text.splitlines() if line.startswith("  echo ")] for text in (apply, undo)]
        if echoes[0]:
            _paste(echoes[0])
            assert settings() != before, echoes[0]
            _paste(echoes[1])
            assert settings() == before, echoes[1]
            tried += 1
    return tried


def _paste(lines):
    subprocess.run(["sh", "-eu", "-c", "\n".join(lines)], check=True)


@dataclasses.dataclass(frozen=True)
class Row:
    """What the table predicts of a choice; nan where it gives no per cent."""

    saves_percent: float
    more_mib: float


def row_of(said, choice):
    """Read a choice's row; its last columns are memory more and sharing lost."""
    row = next(line for line in said.splitlines() if line.strip().startswith(f"{choice} "))
    number, unit = re.findall(r"([\d.]+) (KiB|MiB|GiB)(?: \(does not fit\))? +\S+(?: [KMG]iB| B)\s*$", row)[0]
    percent = re.search(r" ([+-][\d.]+(?:e[+-]\d+)?) ", row)
    return Row(float(percent.group(1)) if percent else float("nan"), float(number) * _MIB[unit])


def predicted_cpu_ms(folder, choice):
    """Give the CPU time of a choice: 95 % of what comes out where all prices are drawn from their ranges at once."""
    (file,) = folder.rglob("journal.jsonl")
    records = [record for _, record in journal.records(file)]
    (point,) = (each for each in records if each["type"] == "point" and each["point"]["policy"]["name"] == choice)
    (result,) = (each["result"] for each in records if each["type"] == "result" and each["id"] == point["id"])
    recorded = recording(point["point"], result)
    profile = machine_file("--machine", point["point"]["machine"]["name"])
    ranges = {
        key: each for key, each in machine_ranges(profiles.load(profile), profile).items() if key in recorded.keys
    }
    cost_ms = recorded.cpu(draws(list(ranges)).values(ranges))["cost/cpu_ms"].mean(axis=1)
    return tuple(np.quantile(cost_ms, (0.025, 0.975)).tolist())


@dataclasses.dataclass(frozen=True)
class Took:
    """What collapsing took more, as planned and as the kernel's figures say, and the CPU time of it."""

    planned_mib: float
    found_mib: float
    cpu_ms: float


def collapsed(pid):
    """Collapse a tree from outside."""
    shown = thpsweep("collapse", "--pid", pid, "--apply")
    print(shown)
    planned, unit, found, other = _MORE.search(shown).groups()
    planned_mib, found_mib = (
        float(number or 0) * _MIB[of or "MiB"] for number, of in ((planned, unit), (found, other))
    )
    return Took(planned_mib, found_mib, float(_CPU.search(shown).group(1).replace(",", "")))
