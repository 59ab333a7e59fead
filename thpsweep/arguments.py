"""What a command line says before Hydra reads it: our verb, our own flags, and words that Hydra's grammar has not."""

import os
import re
from collections.abc import Sequence

from thpsweep.errors import ThpsweepError

HYDRA_VERBS = {
    "run": "simulate one point: thpsweep run [Hydra overrides]",
    "sweep": "simulate every combination: thpsweep sweep [Hydra overrides]; the same command again resumes",
    "plan": "show what sweep would run, and how long and in how much memory: thpsweep plan [--all] [Hydra overrides]",
}

PLAIN_VERBS = (
    "new",
    "check",
    "capture",
    "import",
    "advise",
    "collapse",
    "ui",
    "calibrate",
    "validate",
    "prototype",
    "status",
    "sync",
    "report",
)

KINDS = ("mechanism", "gate", "trigger", "workload", "sharing", "memory", "metric")
"""What `thpsweep new` writes; a machine is written by `thpsweep calibrate`."""

COMPLETION = ("-sc", "--shell-completion")

HYDRA_QUESTIONS = (
    "--help",
    "-h",
    "--hydra-help",
    "--version",
    "--cfg",
    "-c",
    "--info",
    "-i",
    *COMPLETION,
)
"""Flags that make Hydra answer instead of running anything; with them it accepts no --multirun."""

VALUED_FLAGS = ("--config-dir", "-cd", "--config-path", "-cp")
"""Flags of Hydra's whose value may look like an override."""

ONLY_OURS = (
    "hydra/sweeper: expected for `thpsweep plan` is grid, breakeven or pareto; the points of others show as they run"
)

NO_RECORD = (
    "hydra/sweeper, hydra/launcher: neither is thpsweep's, so that no results would be recorded; expected any sweeper "
    "with hydra/launcher=auto, serial or ray, or any launcher with hydra/sweeper=grid"
)


def for_hydra(arguments: list[str]) -> list[str]:
    """Give the arguments that Hydra reads. Raises: ThpsweepError for a plan of another sweeper's points."""
    from thpsweep.sweep.planning.where import as_override

    verb, rest = (arguments[0], arguments[1:]) if arguments[0] in HYDRA_VERBS else ("", arguments)
    for argument in rest:
        if re.match(r"~?\+*hydra\.sweeper\.params\b", argument):
            raise ThpsweepError(
                f"{argument}: for saved experiments; expected on the command line are its axes: KEY=VALUES"
            )
    rest = _overrides_first([as_override(argument) for argument in _where_they_exist(rest)])
    if verb == "plan":
        rest = [argument for argument in rest if argument != "--all"]
        if any(re.fullmatch("hydra/sweeper=(?!(grid|breakeven|pareto)$).*", argument) for argument in rest):
            raise ThpsweepError(ONLY_OURS)
    asks = any(argument.partition("=")[0] in HYDRA_QUESTIONS for argument in rest)
    return ["--multirun", *rest] if verb in ("sweep", "plan") and not asks else rest


def _where_they_exist(arguments: Sequence[str]) -> list[str]:
    """Put KEY?=VALUES, which Hydra's grammar has not, into sweep.if_exists."""
    from thpsweep.sweep.planning.where import quoted

    marked = [re.fullmatch(r"([\w./@]+)\?=(.*)", argument, re.DOTALL) for argument in arguments]
    texts = [quoted(f"{found[1]}={found[2]}") for found in marked if found]
    rest = [argument for argument, found in zip(arguments, marked, strict=True) if not found]
    return [*rest, f"sweep.if_exists=[{','.join(texts)}]"] if texts else rest


def verbs_to_complete(line: str) -> list[str] | None:
    """Complete the verb of a line, or nothing after a verb that is none of Hydra's; None where Hydra completes it."""
    words = line.lstrip().split(" ")
    verb = words[1] if len(words) > 1 else ""
    if len(words) < 2 or "=" in verb or verb.startswith("-") or (verb in HYDRA_VERBS and len(words) > 2):
        return None
    return [known for known in (*HYDRA_VERBS, *PLAIN_VERBS) if len(words) == 2 and known.startswith(verb)]


def line_to_complete(line: str) -> str:
    """Leave our verb out of what a shell wants completed, as Hydra knows of none."""
    words = line.split(" ")
    return " ".join([words[0], *words[2:]]) if len(words) > 1 and words[1] in HYDRA_VERBS else line


def _overrides_first(arguments: list[str]) -> list[str]:
    """Move flags and their values to the end: Hydra refuses an override after a flag that comes after another override."""
    before = ["", *arguments]
    is_flag = [
        flag in VALUED_FLAGS or text.startswith("-") or not ("=" in text or text.startswith("~"))
        for flag, text in zip(before, arguments, strict=False)
    ]
    return [text for _, text in sorted(zip(is_flag, arguments, strict=True), key=lambda pair: pair[0])]


def load_plugins(arguments: list[str]) -> list[str]:
    """Load what --plugin and THPSWEEP_PLUGINS name; give the arguments, and leave the line to complete, without it."""
    words, named = _without_plugins(os.environ.get("COMP_LINE", "").split(" "))
    if named:
        os.environ["COMP_LINE"] = " ".join(words)
    rest, also_named = _without_plugins(arguments)
    load_files([*named, *also_named])
    return rest


def load_files(named: Sequence[str]) -> None:
    """Load the files that THPSWEEP_PLUGINS names, then those given. Raises: PluginError."""
    from thpsweep.model import plugins

    in_environment = os.environ.get("THPSWEEP_PLUGINS", "").split(os.pathsep)
    for path in filter(None, [*in_environment, *named]):
        plugins.load(plugins.read(path))


def _without_plugins(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take --plugin FILE and --plugin=FILE out of arguments."""
    rest: list[str] = []
    named: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--plugin" or word.startswith("--plugin="):
            path = word.partition("=")[2] or next(words, "")
            if not path:
                raise ThpsweepError("--plugin: expected --plugin FILE.py")
            named.append(path)
        else:
            rest.append(word)
    return rest, named
