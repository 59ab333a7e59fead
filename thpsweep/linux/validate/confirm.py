"""Tell what the kernel does from what others did to memory meanwhile: only what has a sign of theirs is asked again.

Compaction moves pages, reclaim splits folios and swaps, DAMON takes references and young bits. Each leaves a sign
(`signs`). A difference without one is the model's or the harness's, though it came once. One with a sign is the model's if
it comes again.
"""

from collections.abc import Callable

from thpsweep.linux.validate.verdict import Verdict

_CLEAN, _TRIES = 2, 6


def settled(run: Callable[[], Verdict]) -> Verdict:
    """Run a case, and again where it differs under a sign: until two runs are clean, or a difference counts.

    That is one without a sign, one that came twice, and one of a case that differs in another way each time, so often that
    neither comes about. A difference while others changed what is compared is no evidence; where there is no other the
    case is skipped.
    """
    verdict = run()
    if not verdict.signs:
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
        if not verdict.signs or not known.isdisjoint(_evidence(verdict)):
            return verdict
        seen += _named(verdict)
        known |= _evidence(verdict)
    if verdict.meddled:
        verdict.skipped = f"others do not let this case be told: {', '.join(verdict.signs)} each time"
        verdict.differences, verdict.once = {}, seen
    return verdict


def _evidence(verdict: Verdict) -> set[str]:
    return set() if verdict.meddled else set(verdict.lines)


def _named(verdict: Verdict) -> list[str]:
    return [f"{line} (meanwhile: {', '.join(verdict.signs)})" for line in verdict.lines]
