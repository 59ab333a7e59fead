"""Fill memory in one of three forms: small pages, folios of PMD order mapped by ptes, or mapped by PMDs."""

from collections.abc import Callable

from thpsweep.linux.live.actor import Actor, Advice, LiveMemory
from thpsweep.units import HPAGE_PMD_NR, PAGE_SIZE_BYTES

_READ, _READ_WRITE = 1, 3


def small(actor: Actor, memory: LiveMemory) -> None:
    """Write all pages."""
    actor.write(memory, range(memory.n_pages))


def huge(actor: Actor, memory: LiveMemory) -> None:
    """Advise huge pages, and write all pages."""
    actor.advise(memory, Advice.HUGEPAGE)
    small(actor, memory)


def compound(actor: Actor, memory: LiveMemory) -> None:
    """Get huge pages and split their PMDs."""
    huge(actor, memory)
    for region in range(memory.n_regions):
        split_pmd(actor, memory, region)


def split_pmd(actor: Actor, memory: LiveMemory, region: int) -> None:
    """Map a region by ptes: one page of it is protected and allowed again, so that the VMA is whole after it."""
    for protection in (_READ, _READ_WRITE):
        actor.do("protect", memory.page(region * HPAGE_PMD_NR), PAGE_SIZE_BYTES, protection, 0)


FORMS: dict[str, tuple[Callable[[Actor, LiveMemory], None], int]] = {
    "pte_small": (small, HPAGE_PMD_NR),
    "pte_compound": (compound, HPAGE_PMD_NR),
    "pmd": (huge, 1),
}
"""Name of a form -> how to make it, and the entries that map a region then."""
