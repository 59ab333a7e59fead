"""Drive a search as a process of its own, which tests kill: search_driver.py BASE.json ROOT LAUNCHER FUNCTION KIND."""

import functools
import json
import sys
from pathlib import Path

from tests.each import each
from tests.faults.driver import LAUNCHERS
from tests.sweep import planted
from thpsweep.answers.terminal.searched import searched
from thpsweep.errors import ThpsweepError
from thpsweep.sweep.driver.drive import drive


def main(file: str, root: str, launcher: str, function: str, kind: str) -> int:
    """Drive to the end, with its answer."""
    search = getattr(planted, kind)(json.loads(Path(file).read_text()))
    run = functools.partial(LAUNCHERS[launcher], function=each(getattr(planted, function)))
    return drive(planted.plan_of(Path(root), search), run, searched).exit_code


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except ThpsweepError as error:
        print(f"thpsweep: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
