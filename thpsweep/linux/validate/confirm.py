"""Separate what the kernel does from what others did to memory meanwhile: only a difference under interference is retried.

Compaction moves pages, reclaim splits folios and swaps, DAMON takes references and young bits. Each leaves a trace
(`interference`). A difference without one is the model's or the harness's, though it came once. One with a trace is the
model's if it comes again.
"""

from collections.abc import Callable

from thpsweep.linux.validate.verdict import CaseVerdict

_CLEAN, _TRIES = 2, 6


def settled(run: Callable[[], CaseVerdict]) -> CaseVerdict:
    """Run a case, and again where it differs under interference: until two runs are clean, or a difference counts.

    That is one without interference, one that came twice, and one of a case that differs in another way each time, so
    often that neither comes about. A difference while others changed what is compared is no evidence; where there is no
    other the case is skipped.
    """
    verdict = run()
    if not verdict.interference:
        return verdict
    seen, known, clean = _named(verdict), _evidence(verdict), 0
    for _ in range(_TRIES):
        again = run()
        clean += again.equal
        if clean == _CLEAN:
            again.once = seen
            return again
        if not again.differences:
            continue
        verdict = again
        if not verdict.interference or not known.isdisjoint(_evidence(verdict)):
            return verdict
        seen += _named(verdict)
        known |= _evidence(verdict)
    if verdict.disturbed:
        verdict.skipped = f"others disturbed this case each time: {', '.join(verdict.interference)}"
        verdict.differences, verdict.once = {}, seen
    return verdict


def _evidence(verdict: CaseVerdict) -> set[str]:
    return set() if verdict.disturbed else set(verdict.lines)


def _named(verdict: CaseVerdict) -> list[str]:
    return [f"{line} (meanwhile: {', '.join(verdict.interference)})" for line in verdict.lines]
