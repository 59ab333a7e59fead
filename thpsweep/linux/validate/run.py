"""Run cases on the live kernel and in the model, step by step, and collect what differs."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

from thpsweep.errors import DisturbedError, LiveError
from thpsweep.linux.live.bench import Bench
from thpsweep.linux.live.cgroup import memory_cgroup
from thpsweep.linux.live.family import LiveFamily
from thpsweep.linux.validate import compare
from thpsweep.linux.validate.confirm import settled
from thpsweep.linux.validate.on_kernel import OnKernel
from thpsweep.linux.validate.on_model import OnModel
from thpsweep.linux.validate.state import InexpressibleError, State, StepResult
from thpsweep.linux.validate.steps import Case, CaseStep
from thpsweep.linux.validate.verdict import CaseVerdict
from thpsweep.model.machines.profile import Profile

Timed = tuple[float, float | None]
"""What a case took, and what was predicted for that run of it, where it was. Units: ns."""

ROUNDS = 5
_TRIES = 3
"""Times that a case is begun which the machine's state keeps from being asked."""
MIN_SPREAD_ROUNDS = 3
MIN_TIMED_NS = 100_000.0
"""What took less is not held against a prediction: the clock and what calls cost by themselves would be part of it."""


def validate(
    cases: Iterable[Case],
    machine: Profile,
    bench: Bench,
    rounds: int = ROUNDS,
    tell: Callable[[Case], None] = lambda _: None,
) -> list[CaseVerdict]:
    """Run cases, each in so many rounds; the first decides on what is compared, all of them on time."""
    verdicts = []
    for case in cases:
        tell(case)
        verdicts.append(_judge(case, machine, bench, rounds))
    return verdicts


def _judge(case: Case, machine: Profile, bench: Bench, rounds: int) -> CaseVerdict:
    times: list[Timed] = []

    def once() -> CaseVerdict:
        for _ in range(_TRIES):
            verdict = CaseVerdict(case)
            try:
                times.extend(_live(case, machine, bench, verdict))
                return verdict
            except LiveError as error:
                verdict.skipped = str(error)
                if not isinstance(error, DisturbedError):
                    break
        return verdict

    verdict = settled(once)
    try:
        n_compared = len(times)  # their faults were counted, which takes time
        while verdict.equal and times and len(times) - n_compared < min(rounds, case.max_rounds) - 1:
            again = CaseVerdict(case) if case.low else None  # another number of pages moves each time
            times += _live(case, machine, bench, again) or [(math.nan, None)]
        times = times[n_compared:] or times
    except LiveError as error:
        verdict.skipped = str(error)
    _time(verdict, times)
    return verdict


def _time(verdict: CaseVerdict, times: Sequence[Timed]) -> None:
    """Sum up the rounds: each is held against the prediction of what happened in it, where that was made."""
    known = [timed for timed in times if not math.isnan(timed[0])]
    if verdict.predicted_ns is None or not known:
        return
    measured_ns = statistics.median(ns for ns, _ in known)
    ratio = statistics.median((predicted_ns or verdict.predicted_ns) / ns for ns, predicted_ns in known)
    verdict.predicted_ns = measured_ns * ratio
    verdict.spread = _spread([ns for ns, _ in known])
    verdict.measured_ns = measured_ns if not verdict.unsteady and measured_ns >= MIN_TIMED_NS else None


def _spread(times_ns: Sequence[float]) -> float | None:
    """Give the ratio of the third quartile to the first, which one odd round does not move; None of fewer than 3 rounds."""
    if len(times_ns) < MIN_SPREAD_ROUNDS:
        return None
    low, _, high = statistics.quantiles(times_ns, n=4, method="inclusive")
    return high / low


def _live(case: Case, machine: Profile, bench: Bench, verdict: CaseVerdict | None) -> list[Timed]:
    """Go through a case once on the kernel, and in the model too where there is a verdict to reach; time both."""
    with memory_cgroup() if case.low or case.limited else nullcontext() as group, LiveFamily() as family:
        kernel = OnKernel(case, bench, family, group, counts_faults=verdict is not None)
        model = OnModel(case, machine) if verdict else None
        watch = _Watch(verdict)
        for step in case.ready:
            model = watch.step(kernel, model, step, timed=False)
        watch.look(kernel, model)
        kernel.warm()
        for step in case.question:
            model = watch.step(kernel, model, step, timed=True)
            watch.look(kernel, model)
        if verdict:
            verdict.retries = kernel.retries
            predicted_ns = sum(watch.predicted)  # nothing, where a step of it has no price
            predicted_ns = 0.0 if math.isnan(predicted_ns) else predicted_ns
            verdict.predicted_ns = predicted_ns if model and watch.predicted else None
        return [(sum(watch.measured), verdict.predicted_ns if verdict else None)] if watch.measured else []


class _Watch:
    """Take both sides through a case and write down what differs."""

    def __init__(self, verdict: CaseVerdict | None) -> None:
        self._verdict = verdict
        self._before: tuple[State, State] | None = None
        self._step = CaseStep("")
        self._attributed = False
        self.measured: list[float] = []
        self.predicted: list[float] = []

    def step(self, kernel: OnKernel, model: OnModel | None, step: CaseStep, timed: bool) -> OnModel | None:
        """Do one step on both sides; give the model, or nothing from the step on that it cannot express."""
        self._step = step
        live = kernel.do(step)
        if self._verdict is None:
            self._time(live, None, timed)
            return None
        if timed:
            self._verdict.kernel.append(str(live))
        if model is None:
            return None
        try:
            mine = model.do(step, live)
        except InexpressibleError as error:
            self._verdict.inexpressible = str(error)
            return None
        if timed:
            self._verdict.model.append(str(mine))
        self._time(live, mine, timed)
        self._note("outcome", compare.outcomes(live, mine))
        if not self._verdict.case.outcomes_only:
            self._note("memory", [*compare.tables(live, mine), *compare.faults(live, mine)])
        return model

    def look(self, kernel: OnKernel, model: OnModel | None) -> None:
        """Compare the memory of both sides as it is now, and what the last step did to it."""
        if self._verdict is None or model is None or self._verdict.case.outcomes_only:
            return
        live, mine = kernel.look(), model.look()
        self._note("sharing", compare.sharing(live, mine))
        self._note("memory", compare.memory(live, mine))
        moves = self._step.verb == "migrate"  # pages change their frames, for all sharers alike
        if self._before is not None and not moves:
            live_before, mine_before = self._before
            self._note("sharing", compare.kept((live_before, live), (mine_before, mine)))
        self._verdict.compared_sharing &= all(view.frames is not None for view in live.views.values())
        self._before = live, mine
        interference = kernel.interference.take(self._step.verb)
        if self._verdict.differences and not self._attributed:
            self._verdict.interference, self._attributed = interference, True

    def _note(self, kind: str, lines: Sequence[str]) -> None:
        assert self._verdict is not None
        if lines:
            self._verdict.differences.setdefault(kind, []).extend(f"after '{self._step}': {line}" for line in lines)

    def _time(self, live: StepResult, mine: StepResult | None, timed: bool) -> None:
        """Keep the times of a step that both sides have."""
        if not timed or live.ns is None:
            return
        self.measured.append(live.ns)
        if mine is not None:
            self.predicted.append(mine.ns or 0.0)
