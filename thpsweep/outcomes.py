"""How a collapse attempt can end, with the kernel's own names and a sentence each."""

import enum


class ScanResult(enum.IntEnum):
    """Result of one visit to one (mm, region).

    Source: mm/khugepaged.c enum scan_result (torvalds/linux b2128290c299); the names are the kernel's without SCAN_.
    GATE_REFUSED is not the kernel's: the policy's gate kept an attempt back that the scan had let pass.
    PAGE_ANON of one means a page that KSM merged: it is anonymous to the kernel, which takes it for a private copy.
    VMA_CHECK means a range over which no collapse is allowed, known before any page table is looked at: a process that did
    not ask for huge pages (khugepaged alone), or that only ever read its memory, which has no anon_vma then.
    PAGE_NULL of an all-sharers mechanism means that the range maps nothing but zero pages: there is no page to share.
    PTE_MAPPED_HUGEPAGE of an all-sharers mechanism means its own product; the kernel uses the name for mTHP orders.
    """

    SUCCEED = 0
    NO_PTE_TABLE = 1
    PMD_MAPPED = 2
    EXCEED_NONE_PTE = 3
    EXCEED_SWAP_PTE = 4
    EXCEED_SHARED_PTE = 5
    PTE_NON_PRESENT = 6
    PTE_MAPPED_HUGEPAGE = 7
    LACK_REFERENCED_PAGE = 8
    PAGE_COUNT = 9
    GATE_REFUSED = 10
    ALLOC_HUGE_PAGE_FAIL = 11
    PAGE_NULL = 12
    PTE_UFFD_WP = 13
    PAGE_LAZYFREE = 14
    PAGE_ANON = 15
    VMA_CHECK = 16
    CGROUP_CHARGE_FAIL = 17
    PAGE_LOCK = 18
    PAGE_RO = 19


SENTENCES = {
    ScanResult.SUCCEED: "collapsed",
    ScanResult.NO_PTE_TABLE: "the process maps nothing here",
    ScanResult.PMD_MAPPED: "already mapped by a PMD",
    ScanResult.EXCEED_NONE_PTE: "more empty ptes than max_ptes_none",
    ScanResult.EXCEED_SWAP_PTE: "more swapped ptes than max_ptes_swap",
    ScanResult.EXCEED_SHARED_PTE: "more shared ptes than max_ptes_shared",
    ScanResult.PTE_NON_PRESENT: "a page that is not there any more",
    ScanResult.PTE_MAPPED_HUGEPAGE: "already a folio of PMD order, mapped by ptes",
    ScanResult.LACK_REFERENCED_PAGE: "no young pte",
    ScanResult.ALLOC_HUGE_PAGE_FAIL: "no free 2 MiB block for the new folio",
    ScanResult.CGROUP_CHARGE_FAIL: "the new folio would exceed the limit of the memory cgroup",
    ScanResult.GATE_REFUSED: "kept back by the policy's gate, not by the kernel",
    ScanResult.PTE_UFFD_WP: "a pte that userfaultfd write-protects",
    ScanResult.PAGE_LAZYFREE: "a clean page that MADV_FREE gave up",
    ScanResult.PAGE_ANON: "a page that KSM merged, which sharers of other memory map too",
    ScanResult.VMA_CHECK: "a VMA that allows no huge page: not advised, or never written (no anon_vma)",
    ScanResult.PAGE_NULL: "no page to collapse, only zero pages",
    ScanResult.PAGE_RO: "no writable pte, which kernels before 6.18 ask for",
    ScanResult.PAGE_LOCK: "a page that is locked: one that KSM put into several slots, since the first of them",
    ScanResult.PAGE_COUNT: "an extra reference (gup, LRU batch) on a page",
}
"""What each result means, for a person."""
