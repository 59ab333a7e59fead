"""Tell what the kernel does from what happened to it once: compaction, DAMON, other CPUs' LRU batches meddle at times.

They move pages, take references and locks, or make ptes old for a moment. None of it comes at the same step of every
repetition; a difference of the model's does.
"""

from collections.abc import Callable

from thpsweep.linux.validate.verdict import Verdict

_CLEAN, _TRIES = 2, 6


def settled(run: Callable[[], Verdict]) -> Verdict:
    """Run a case, and where it differs again: until a difference came twice, or two runs had none.

    A case that differs in another way each time, so often that neither comes about, differs. A run that differs and during
    which somebody else had folios split is no evidence, and only reported.
    """
    verdict = run()
    seen, known, clean = list(verdict.lines), set[str]() if verdict.meddled else set(verdict.lines), 0
    for _ in range(_TRIES if verdict.differences else 0):
        again = run()
        clean += again.equal
        if clean == _CLEAN:
            again.once = seen
            return again
        if again.differences:
            verdict = again
        if not again.meddled and not known.isdisjoint(again.lines):
            break
        seen += again.lines
        known |= set() if again.meddled else set(again.lines)
    if verdict.meddled:
        verdict.skipped = "other programs' memory is reclaimed all the time, which splits the folios of this case"
        verdict.differences, verdict.once = {}, seen
    return verdict
