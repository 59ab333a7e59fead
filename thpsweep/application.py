"""What Hydra's app does with a composed config: simulate a job, drive a plan to its answer, or only show it.

Whatever is heavy is imported where it is needed.
"""

import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

from thpsweep.arguments import NO_RECORD, ONLY_OURS
from thpsweep.errors import ThpsweepError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from thpsweep.sweep.driver.drive import Driven
    from thpsweep.sweep.driver.follower import Process
    from thpsweep.sweep.local.launcher import Launch
    from thpsweep.sweep.planning.forecast import Workers
    from thpsweep.sweep.planning.plan import Plan
    from thpsweep.sweep.records.journal import Sweep

NARROWEST = 80
"""Columns that tables take at least: a smaller terminal breaks their lines, which can still be read."""

TEXT_COLUMNS = 120
"""Columns of running text in files."""


class Application:
    """The task function of the Hydra app. Hydra gives it to our plugins too, which plan and drive through it.

    exit_code and problem are what a command ended with: Hydra itself hands neither back. told_no_number says that a sweeper
    of another make got an objective that is inf or nan, which not every one can bear.
    """

    def __init__(self, *, previews: bool = False, whole: bool = False) -> None:
        self._started_s = time.monotonic()
        self.previews, self._whole = previews, whole
        self._records = False
        self.exit_code = 0
        self.problem: Exception | None = None
        self.told_no_number = False
        self._begun: Process | None = None

    def __call__(self, config: "DictConfig") -> Any:
        """Run the job of a composed config: in a multirun just the simulation, else a sweep of one point."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from thpsweep.config.point import point_of
        from thpsweep.model.simulate import simulate

        self.refuse_to_run()
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            if self._records:
                return simulate(point_of(config))
            self.problem = ThpsweepError(NO_RECORD)
            return None
        try:
            return self._run_alone(config)
        except Exception as problem:  # Hydra would add lines of its own to what the user reads
            self.problem = problem
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the process for MLflow behind: launchers of other makes pickle the task function for their workers."""
        return {**self.__dict__, "_begun": None}

    def expect(self, *, tracked: bool) -> None:
        """Let MLflow make itself ready while a plan is made."""
        from thpsweep.sweep.driver import follower

        if tracked and not self.previews:
            self._begun = follower.begin()

    def close(self) -> None:
        """Do without MLflow where there was no plan for it."""
        if self._begun is not None:
            from thpsweep.sweep.driver import follower

            follower.end(self._begun)

    def drive(self, plan: "Plan", launch: "Launch") -> "Driven":
        """Run a plan to its table and plot."""
        from thpsweep.sweep.driver.drive import drive

        self._records = True
        driven = drive(plan, launch, _finish, self._begun)
        if driven.exit_code in (0, 1):
            self._conclude(plan)
        self.exit_code = driven.exit_code
        return driven

    def _conclude(self, plan: "Plan") -> None:
        """Say how long it took, and where the runs are to be seen."""
        from thpsweep.answers.terminal.numbers import duration

        took = f"Took {duration(time.monotonic() - self._started_s)}."
        ui = f" Compare the runs in a browser: {plan.target.shown_by(plan.root, plan.directory)}"
        print(took + (ui if plan.tracked else ""))

    def preview(self, plan: "Plan", workers: "Workers") -> None:
        """Show a plan and what it would take."""
        from rich.console import Console

        from thpsweep.answers.terminal.preview import points_table, search_summary, summary
        from thpsweep.sweep.planning.forecast import forecast
        from thpsweep.sweep.records import journal, reuse

        file = plan.directory / journal.FILE_NAME
        found = journal.contents(file) if file.is_file() else None
        done = found.done if found else set()
        wanted = {point.id for point in plan.points} - done if plan.search is None else set()
        places = reuse.elsewhere(plan.root, plan.directory, wanted)
        done |= places.keys()
        if said := reuse.other_code(plan.root, plan.directory, plan.claimed, plan.overrides):
            print(f"thpsweep: {said}", file=sys.stderr)
        console = Console()
        Console(width=_width(console)).print(points_table(plan, done, whole=self._whole))
        if plan.search is not None:
            print(*search_summary(plan, found, workers), sep="\n")
            return
        print(*summary(plan, done, forecast(plan, done, workers)), sep="\n")
        if places:
            names = ", ".join(sorted({place.sweep for place in places.values()}))
            print(f"{len(places)} of those that are done are in {names}: they are taken over")

    def refuse_to_run(self) -> None:
        """Hold back what another sweeper wants to run where the command only asked for the plan."""
        if self.previews:
            raise ThpsweepError(ONLY_OURS)

    def _run_alone(self, config: "DictConfig") -> Any:
        from hydra.core.hydra_config import HydraConfig

        from thpsweep.config.plan import plan_of
        from thpsweep.config.point import point_of
        from thpsweep.sweep.local.serial import run_serial
        from thpsweep.sweep.planning.axes import Job

        job = Job(tuple(HydraConfig.get().overrides.task), {})
        plan = plan_of(config, HydraConfig.get(), [job], lambda _: point_of(config))
        return self.drive(plan, run_serial).results[plan.points[0].id]["result"]


def _width(console: "Console") -> int:
    """Give the width of tables: the terminal's, unless it is so small that they would break numbers in two."""
    return max(console.width, NARROWEST) if console.is_terminal else 170


def _finish(sweep: "Sweep") -> None:
    """Show the answer of a sweep and leave it in the sweep's directory: table as text and CSV, plot, report."""
    from rich.console import Console

    from thpsweep.answers.analysis import frame
    from thpsweep.answers.analysis.question import question_of
    from thpsweep.answers.report.sentences import answer
    from thpsweep.answers.terminal.table import table, text

    console = Console()
    width = _width(console)
    said = "" if "search" in sweep.header else answer(sweep)
    as_text = f"{text(sweep)}\n{textwrap.fill(said, TEXT_COLUMNS)}\n" if said else text(sweep)
    if "search" in sweep.header:
        from thpsweep.answers.terminal.searched import searched

        Console(width=width).print(searched(sweep))
    elif console.is_terminal:
        Console(width=width).print(table(sweep, width=width))
        Console(width=width).print(said, highlight=False, markup=False)
    else:
        print(as_text)
    (sweep.directory / "table.txt").write_text(as_text, encoding="utf-8")
    frame.write_csv(sweep, sweep.directory / "table.csv")
    if len(sweep.done) > 1:  # a picture of one point shows nothing, and takes as long as everything else
        from thpsweep.answers.picture.plot import plot

        plot(sweep, sweep.directory / "plot.png")
    if sweep.done and question_of(sweep.directory):
        from thpsweep.answers.report.report import write_report

        print(f"Report: {write_report(sweep)}")
