"""Small families for the tests of the twin, and what they look at."""

from hypothesis import settings
from hypothesis import strategies as st

from tests.reference.twin import Twin
from tests.reference.twin_mechanisms import NOBODY
from thpsweep.units import HPAGE_PMD_NR

FULL = range(HPAGE_PMD_NR)
DEFAULTS = {"max_ptes_none": 511, "max_ptes_swap": 64, "max_ptes_shared": 256, "khugepaged": True}
SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
FAMILIES = settings(max_examples=40, deadline=None)


def shared_by(n_sharers: int, slots=FULL, n_regions: int = 1) -> Twin:
    """Build a family in which everybody maps the same small frames."""
    members = tuple(range(n_sharers))
    return Twin(n_regions, n_sharers, [(region, members, slots, 0) for region in range(n_regions)])


def parent_alone(slots=FULL, *, n_sharers: int = 2, folio: int = 0, pmd: bool = False) -> Twin:
    """Build a parent, sharer 0, that has memory of its own and may fork the others."""
    return Twin(1, n_sharers, [(0, (0,), slots, folio)] if slots else [], {}, {(0, 0)} if pmd else (), {0})


def parent_huge(n_sharers: int = 2) -> Twin:
    return parent_alone(folio=1, pmd=True, n_sharers=n_sharers)


def write_slots(twin: Twin, sharer: int, slots) -> None:
    twin.write({(0, sharer, slot) for slot in slots})


def fixed_inputs(region: int, sharer: int) -> tuple[bool, bool, int]:
    return True, False, NOBODY


def frames_of(twin: Twin) -> dict:
    """Return the very frames behind every pte, and what is private to the rows."""
    return {key: (dict(r.frames), dict(r.swapped), set(r.exclusive), r.pmd) for key, r in twin.rows.items()}


def ptes_changed(twin: Twin) -> dict[str, int]:
    return {key: n for key, n in twin.counts.items() if "ptes_" in key and key != "ptes_scanned" and n}
