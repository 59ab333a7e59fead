"""Try a file of a user's own against the rules that all options of its group keep: `thpsweep check FILE.py`."""

import dataclasses
import itertools
import math
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from thpsweep.errors import OptionError, ThpsweepError
from thpsweep.kit import mechanism, others
from thpsweep.kit.lines import Line
from thpsweep.kit.scenes import point
from thpsweep.model import plugins, registry
from thpsweep.model.plugins import Plugin
from thpsweep.model.simulate import simulate_each

KEYS = {
    "mechanism": "policy.mechanism",
    "gate": "policy.gate",
    "trigger": "policy.trigger",
    "workload": "workload",
    "sharing": "sharing",
    "memory": "memory",
}
"""Where the options of a group stand in a config."""

WORKER = "import pickle, sys; run, points = pickle.load(sys.stdin.buffer); print(repr(run(points)))"
"""What a worker does, here in a process of its own, which finds the file nowhere."""


def check(group: str, plugin: Plugin | None, spec: Mapping[str, Any]) -> Iterator[Line]:
    """Try the option that a spec makes; a rule whose trial raises is broken by that."""
    option = registry.build(group, spec)
    yield Line(
        "a documented dataclass, whose options can be written down and read again", _described(group, option, spec)
    )
    yield from _refuses(group, option, spec)
    one = with_option(group, spec)
    elsewhere = _on_a_worker(one) if plugin is not None else iter(())
    yield from _tried(_own_rules(group, option, dict(spec)), itertools.chain(_runs(one), elsewhere))


def with_option(group: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Make a small point of an option and of others that ship."""
    one = point()
    if group in ("mechanism", "gate", "trigger"):
        return {**one, "policy": {**one["policy"], group: dict(spec)}}
    if group == "metric":
        return {**one, "metrics": {spec[registry.KIND]: dict(spec)}} if registry.PLUGIN in spec else one
    return {**one, group: dict(spec)}


def _own_rules(group: str, option: Any, spec: dict[str, Any]) -> Iterator[Line]:
    if group == "mechanism":
        yield from mechanism.rules(option)
    elif group == "metric":
        yield from others.metric(option, spec)
    else:
        yield from getattr(others, group)(option)


def _tried(*trials: Iterator[Line]) -> Iterator[Line]:
    """Give the lines of trials; where one raises, the place in the user's file is its last line, once for all of them."""
    places = set()
    for lines in trials:
        try:
            yield from lines
        except Exception as error:
            problem = f"{type(error).__name__}: {plugins.located(error)}"
            place = problem.partition("() (")[0]  # without the values, which differ
            if place not in places:
                yield Line("it can be tried", str(error) if isinstance(error, ThpsweepError) else problem)
            places.add(place)


def _described(group: str, option: Any, spec: Mapping[str, Any]) -> str:
    if not type(option).__doc__ or str(type(option).__doc__).startswith(f"{type(option).__name__}("):
        return "the class has no docstring: a sentence that says what it does"
    if registry.build(group, registry.spec(option)) != option or dict(spec) != registry.spec(option):
        return f"{registry.spec(option)} makes another one"
    return ""


def _refuses(group: str, option: Any, spec: Mapping[str, Any]) -> Iterator[Line]:
    """Try what cannot be a value of a number: it has to be refused with its key."""
    numbers = [f.name for f in dataclasses.fields(option) if isinstance(getattr(option, f.name), int | float)]
    key = KEYS.get(group, f"metrics.{spec.get(registry.KIND)}")
    accepted, unnamed = [], []
    for name in numbers:
        if isinstance(getattr(option, name), bool):
            continue
        try:
            registry.build(group, {**spec, name: math.nan})
            accepted.append(name)
        except OptionError as error:
            if error.key != f"{key}.{name}":
                unnamed.append(f"{name} as {error.key}")
        except Exception as error:
            unnamed.append(f"{name} with {type(error).__name__}: {error}")
    problems = [f"{', '.join(accepted)}=nan is taken"] if accepted else []
    problems += [f"refused are {', '.join(unnamed)}"] if unnamed else []
    if numbers:
        yield Line(f"a number that is none is refused by its name, {key}.{numbers[0]}=...", "; ".join(problems))


def _runs(one: dict[str, Any]) -> Iterator[Line]:
    """Run a point again, and with fewer replicates."""
    (first,), (second,) = simulate_each([one]), simulate_each([one])
    yield Line(
        "the same seed gives the same numbers", "" if repr(first) == repr(second) else _difference(first, second)
    )
    alone = simulate_each([{**one, "run": {**one["run"], "replicates": 1}}])[0]["replicates"]
    differing = [name for name, values in first["replicates"].items() if repr(values[0]) != repr(alone[name][0])]
    problem = f"{len(differing)} metrics differ, such as {differing[0]}" if differing else ""
    yield Line("a replicate is the same alone and beside others", problem)
    yield others.run_time(one)


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    differing = [
        name for name, values in first["replicates"].items() if repr(values) != repr(second["replicates"][name])
    ]
    return f"{len(differing)} metrics differ, such as {(differing or ['the outcomes'])[0]}"


def _on_a_worker(one: dict[str, Any]) -> Iterator[Line]:
    """Run the point in another process, elsewhere, as workers do."""
    job = pickle.dumps((plugins.carrying(simulate_each), [one]))
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [sys.executable, "-c", WORKER], input=job, capture_output=True, cwd=elsewhere, check=False
        )
    problem = ""
    if done.returncode:
        problem = (done.stderr.decode().strip().splitlines() or ["it ended without a word"])[-1]
    elif done.stdout.decode().strip() != repr(simulate_each([one])):
        problem = "other numbers than here"
    yield Line("a worker, which has the text of the file and nothing else, gives the same", problem)
