"""The scenarios, each a few steps: p parent, c child, g second child; M is MADV_COLLAPSE, K khugepaged."""

from typing import Any

from thpsweep.linux.validate.steps import (
    ALL,
    Case,
    CaseStep,
    age,
    collapse,
    discard,
    end,
    fork,
    hold,
    huge,
    limit,
    merge,
    migrate,
    page_out,
    pin,
    punch,
    read,
    release,
    scan,
    split,
    start,
    write,
)

NR = len(ALL)
HALF = range(NR // 2)
PAIR = (start("p"), write("p"), fork("p", "c"), read("c"))
HUGE_PAIR = (start("p"), huge("p"), fork("p", "c"), read("c"))
PRIVATE = (start("p"), write("p"))
MIGRATED = 96
SHARERS = (3, 8, 24, 48)
"""Sharer counts of the timed families: none of those that calibration uses."""


def family(sharers: int) -> tuple[CaseStep, ...]:
    """Let a parent write a region, and all children read it."""
    children = [f"c{i}" for i in range(1, sharers)]
    forks = [step for child in children for step in (fork("p", child), read(child))]
    return (start("p"), write("p"), *forks)


def after_fork() -> list[Case]:
    """Collapses in a family."""
    return [
        Case("collapse_parent", "M in the parent after a fork", PAIR, (collapse("p"),)),
        Case("collapse_child", "M in the child after a fork", PAIR, (collapse("c"),)),
        Case("collapse_both", "M in the child, then in the parent", PAIR, (collapse("c"), collapse("p"))),
        Case("collapse_again", "M where a PMD maps the region already", (*PAIR, collapse("c")), (collapse("c"),)),
        Case("collapse_then_fork", "a fork after a collapse", (*PAIR, collapse("p")), (fork("p", "late"),)),
        Case("collapse_cow", "M in a child that copied half", (*PAIR, write("c", HALF)), (collapse("c"),)),
        Case(
            "collapse_fork_single", "selftest: one page each, M in the child",
            (start("p"), write("p", range(1)), fork("p", "c"), write("c", range(1, 2))), (collapse("c"),),
        ),
        *(
            Case(f"collapse_{n}", f"M in one of {n} sharers", family(n), (collapse(f"c{n - 1}"),))
            for n in SHARERS
        ),
        *(Case(f"k_private_{n}", f"K on one of {n} sharers, max_ptes_shared 511, one page its own",
               (*family(n), write("c1", range(1))), (scan(["c1"], max_ptes_shared=511),)) for n in SHARERS),
    ]  # fmt: skip


def holes() -> list[Case]:
    """Empty slots, zero pages, regions without memory."""
    return [
        Case("full", "M on a full private region", PRIVATE, (collapse("p"),)),
        Case("single_pte", "M with one page of 512", (start("p"), write("p", range(1))), (collapse("p"),)),
        Case("empty", "M where nothing was faulted", (start("p"),), (collapse("p"),)),
        Case("discarded", "M where everything was given back", (*PRIVATE, discard("p", ALL)), (collapse("p"),)),
        Case("empty_table", "M where the only page was given back: the page table is there still",
             (start("p"), write("p", range(1)), discard("p", range(1))), (collapse("p"),)),
        Case("empty_table_most", "M where all pages were given back, in two calls",
             (*PRIVATE, discard("p", HALF), discard("p", range(NR // 2, NR))), (collapse("p"),)),
        Case("empty_table_child", "a fork has the empty page table, too; K and M",
             (start("p"), write("p", range(1)), discard("p", range(1)), fork("p", "c")),
             (scan(["c"]), collapse("c"), end("c"), collapse("p"))),
        *(
            Case(f"none_{present}", f"K with {present} pages, max_ptes_none 256",
                 (start("p"), write("p", range(present))), (scan(["p"], max_ptes_none=256),))
            for present in (255, 256, 257)
        ),
        *(
            Case(f"none0_{present}", f"K with {present} pages, max_ptes_none 0",
                 (start("p"), write("p", range(present))), (scan(["p"], max_ptes_none=0),))
            for present in (511, 512)
        ),
        Case("none_madvise", "M ignores max_ptes_none", (start("p"), write("p", range(255))), (collapse("p"),)),
        *(
            Case(f"zero_page_{limit}", f"zero pages count as none: 256 of them, max_ptes_none {limit}",
                 (start("p"), write("p", HALF), read("p")), (scan(["p"], max_ptes_none=limit),))
            for limit in (255, 256)
        ),
        Case("zero_page_only", "M on 512 zero pages where nothing was ever written",
             (start("p"), read("p")), (collapse("p"),)),
        Case("zero_page_khugepaged", "K passes over the same", (start("p"), read("p")), (scan(["p"]),)),
        Case("zero_page_child", "M in a child of a process that only read, before and after it writes",
             (start("p"), read("p"), fork("p", "c")),
             (collapse("c"), write("c", range(3, 4)), collapse("c"), collapse("p"))),
        Case("zero_page_all", "M on 512 zero pages, one of which was once written",
             (start("p"), write("p", range(1)), discard("p", range(1)), read("p")), (collapse("p"),)),
        Case("hole_region", "M over [empty, full, full]",
             (start("p"), write("p", range(NR, 3 * NR))), (collapse("p", range(3)),), n_regions=3),
        Case("child_hole", "M in a child with holes where the parent wrote later",
             (start("p"), write("p", HALF), fork("p", "c"), read("c", HALF), write("p")), (collapse("c"),)),
    ]  # fmt: skip


def limits() -> list[Case]:
    """khugepaged's other limits, and whom it takes."""
    return [
        *(
            Case(f"shared_{shared}", f"K, {shared} pages shared, max_ptes_shared 256",
                 (*PAIR, write("c", range(NR - shared))), (scan(["c"], max_ptes_shared=256),))
            for shared in (257, 256, 255)
        ),
        Case("shared_all_256", "K on a family of four, all shared", family(4), (scan(["p", "c1", "c2", "c3"]),)),
        Case("shared_all_511", "the same, max_ptes_shared 511",
             family(4), (scan(["p", "c1", "c2", "c3"], max_ptes_shared=511),)),
        Case("shared_one_private", "one private page each, max_ptes_shared 511: all four, in their order",
             (*family(4), *(write(who, range(i, i + 1)) for i, who in enumerate(["p", "c1", "c2", "c3"]))),
             (scan(["p", "c1", "c2", "c3"], max_ptes_shared=511),)),
        Case("untouched_child", "K on a child that touched nothing since the fork",
             (start("p"), write("p", range(1)), fork("p", "c"), age("p")), (scan(["c"], max_ptes_shared=511),)),
        Case("one_read", "the same after one read",
             (start("p"), write("p", range(1)), fork("p", "c"), read("c", range(1))),
             (scan(["c"], max_ptes_shared=511),)),
        Case("aged", "K where all ptes are old", (*PRIVATE, age("p")), (scan(["p"]),)),
        Case("young_collapse", "a collapse makes what was old young: M, split, K",
             (*PRIVATE, age("p"), collapse("p"), split("p")), (scan(["p"]),)),
        Case("k_private", "K on a full private region", PRIVATE, (scan(["p"]),)),
    ]  # fmt: skip


def swapped() -> list[Case]:
    """Pages in swap."""
    out = (*PRIVATE, page_out("p", range(64)))
    return [
        *(
            Case(f"swap_{n}", f"K, {n} pages swapped, max_ptes_swap 64",
                 (*PRIVATE, page_out("p", range(n))), (scan(["p"]),))
            for n in (1, 64, 65)
        ),
        Case("swap_madvise", "M takes 65 swapped pages", (*PRIVATE, page_out("p", range(65))), (collapse("p"),)),
        *(
            Case(f"swap_young_{n}", f"K, 64 swapped and {n} young",
                 (*out, age("p"), read("p", range(64, 64 + n))), (scan(["p"]),))
            for n in (255, 256)
        ),
        Case("swap_read", "swapped pages read back", out, (read("p", range(64)),)),
        Case("swap_fork", "64 swapped, fork, M in the child; the parent reads later",
             (*out, fork("p", "c")), (collapse("c"), read("p", range(64)))),
        Case("swap_shared_again", "64 swapped, fork, both read them: they share them again",
             (*out, fork("p", "c")), (read("p", range(64)), read("c", range(64)))),
        Case("swap_cache_write", "64 swapped, fork, the parent reads and writes them: copies, as the child has them in swap",
             (*out, fork("p", "c")), (read("p", range(64)), write("p", range(32)), read("c", range(64)))),
        Case("swap_write_both", "64 swapped, fork, both write them",
             (*out, fork("p", "c")), (write("p", range(64)), write("c", range(64)))),
        Case("swap_survivor", "64 swapped, fork, the parent reads them, the child exits, the parent writes them",
             (*out, fork("p", "c"), read("p", range(64)), end("c")), (write("p", range(64)),)),
        Case("swap_three", "64 swapped, two forks, M in one child; the others read",
             (*out, fork("p", "c"), fork("p", "g")),
             (collapse("c"), read("g", range(64)), read("p", range(32)), collapse("g"))),
        Case("swap_zeroes", "pages of a THP that are swapped split it; what is only zeroes in the others is given back",
             (start("p"), write("p", HALF), collapse("p")), (page_out("p", range(8)),)),
        Case("swap_written_zeroes", "the same where some of the zeroes were written since, and others are swapped, too",
             (start("p"), write("p", HALF), collapse("p"), write("p", range(300, 310))),
             (page_out("p", range(250, 305)), collapse("p"))),
        Case("swap_all_zeroes", "the same where all of it goes, which needs no split",
             (start("p"), write("p", HALF), collapse("p")), (page_out("p", ALL), read("p"))),
        Case("swap_held", "pages of a THP of which one is held stay",
             (start("p"), huge("p"), hold("p", range(1))), (page_out("p", range(100, 108)),)),
        Case("swap_shared", "MADV_PAGEOUT of shared pages does nothing", PAIR, (page_out("c", ALL),)),
        Case("swap_held_small", "small pages of which one is held go all the same; it comes back writable",
             (*PRIVATE, hold("p", range(1))), (page_out("p", ALL), write("p", HALF), read("p"))),
        Case("swap_held_fork", "the same, and a fork: the parent writes the held page, the child reads it",
             (*PRIVATE, hold("p", range(1)), page_out("p", ALL), fork("p", "c")),
             (write("p", HALF), read("c", HALF), write("c", HALF))),
        Case("swap_pinned", "a pinned small page stays", (*PRIVATE, pin("p", range(3, 5))), (page_out("p", ALL),)),
        Case("swap_held_collapse", "M in a child that has all in swap, one page of it held: it reads all, and is refused",
             (*PRIVATE, hold("p", range(1)), page_out("p", ALL), fork("p", "c")), (collapse("c"),)),
        Case("swap_held_mapped", "M meets a held page that is mapped before it reads what is in swap",
             (*PRIVATE, page_out("p", range(64)), hold("p", range(100, 101))), (collapse("p"),)),
        Case("swap_sole_pmd", "the only PMD of a THP whose mm has no slot: MADV_PAGEOUT of ten pages",
             (*HUGE_PAIR, fork("p", "g"), end("p"), end("c")), (page_out("g", range(10)),)),
    ]  # fmt: skip


def references() -> list[Case]:
    """Pages with an extra reference."""
    two = (start("p"), write("p", range(2 * NR)))
    both = (collapse("p", range(2)), collapse("c", range(2)))
    some = range(3, 4)
    return [
        Case("get_before_fork", "vmsplice before the fork: every sharer is refused, M goes on with the next region",
             (*two, hold("p", some), fork("p", "c")), both, n_regions=2),
        Case("get_after_fork", "vmsplice after the fork", (*two, fork("p", "c"), hold("c", some)), both, n_regions=2),
        Case("get_released", "M after the reference is gone", (*PAIR, hold("p", some), release("p")), (collapse("p"),)),
        Case("get_first", "K meets a held page before it has seen too many empty ptes",
             (start("p"), write("p", HALF), hold("p", range(1))), (scan(["p"], max_ptes_none=0),)),
        Case("get_khugepaged", "K on a page with a reference", (*PRIVATE, hold("p", some)), (scan(["p"]),)),
        Case("ksm_one_region", "M where KSM put one page into two slots of a region",
             (*PRIVATE, merge("p", range(5, 16, 5))), (collapse("p"),), outcomes_only=True),
        Case("ksm_two_regions", "M where the two slots are in two regions",
             (*two, merge("p", range(5, NR + 6, NR))), (collapse("p", range(2)),), n_regions=2, outcomes_only=True),
        Case("pin_before_fork", "io_uring before the fork: the child gets copies",
             (*PRIVATE, pin("p", range(3, 5)), fork("p", "c")), (collapse("p"), collapse("c"))),
        Case("pin_after_fork", "io_uring after the fork: the pinner gets copies",
             (*PAIR, pin("c", range(3, 5))), (collapse("p"), collapse("c"))),
        *(Case(f"{kind}_marks", f"{kind} marks the page for all sharers: a child that touched nothing counts as young, K",
               (start("p"), write("p", range(NR - 1)), age("p"), take("p", some), release("p"), fork("p", "c")),
               (scan(["c"], max_ptes_shared=511),)) for kind, take in (("get", hold), ("pin", pin))),
        Case("pin_copied", "what a fork copies for its child, since it is pinned, is young there: K, M",
             (*PRIVATE, age("p"), pin("p", some), fork("p", "c")), (scan(["c"], max_ptes_shared=511), collapse("p"))),
        Case("pin_sole", "io_uring on eight subpages of a THP that the parent has left: the first is reused, seven copied",
             (*HUGE_PAIR, split("p"), split("c"), collapse("p")), (pin("c", range(240, 248)),)),
        Case("pin_zeroes", "what io_uring faulted in and nobody wrote holds zeroes: M, then a split gives it back",
             (start("p"), write("p", range(5)), pin("p", range(17, 20)), release("p"), collapse("p")),
             (page_out("p", range(153, 410)), collapse("p"))),
        Case("pin_huge", "io_uring on a page of a PMD-mapped THP, then a fork",
             (start("p"), huge("p"), pin("p", range(3, 4)), fork("p", "c")), (write("c", range(8)),)),
    ]  # fmt: skip


def cgroups() -> list[Case]:
    """A memory cgroup whose limit is near."""
    return [
        Case("cgroup_madvise", "M where the memory cgroup has no room for a huge page",
             (*PAIR, limit()), (collapse("p"), collapse("c")), limited=True),
        Case("cgroup_regions", "M over two regions of which the first has no room: it ends there",
             (start("p"), write("p", range(2 * NR)), limit()), (collapse("p", range(2)),), n_regions=2, limited=True),
        Case("cgroup_khugepaged", "K there, on two processes",
             (*PAIR, *(write(who, range(i, i + 1)) for i, who in enumerate("pc")), limit()),
             (scan(["p", "c"], max_ptes_shared=511),), limited=True),
    ]  # fmt: skip


def huge_pages() -> list[Case]:
    """Huge pages: written, split, left by sharers."""
    three = (start("p"), huge("p"), split("p"), fork("p", "c"), fork("p", "g"), *(read(who) for who in "pcg"))
    gone = {who: tuple(end(other) for other in "pcg" if other != who) for who in "pcg"}
    return [
        Case("thp_fault", "first touch gets a THP", (start("p"),), (huge("p"),)),
        Case("thp_pte_mapped", "M on a pte-mapped exclusive THP", (start("p"), huge("p"), split("p")), (collapse("p"),)),
        Case("thp_shared_pte_mapped", "M by both on a shared pte-mapped THP",
             (*HUGE_PAIR, split("p"), split("c")), (collapse("p"), collapse("c"))),
        *(
            Case(f"thp_cow_{n}", f"K on a child that copied {n} pages of a shared THP",
                 (*HUGE_PAIR, write("c", range(n))), (scan(["c"]),))
            for n in (255, 256)
        ),
        Case("thp_write_child", "a write to a shared PMD-mapped THP", HUGE_PAIR, (write("c", range(7, 8)),)),
        Case("thp_write_both", "then one by the parent", (*HUGE_PAIR, write("c", range(7, 8))), (write("p", range(8, 9)),)),
        Case("exit_small", "child gone, the parent writes small pages", (*PAIR, end("c")), (write("p"),)),
        Case("exit_pmd", "child gone, the parent writes a PMD-mapped THP", (*HUGE_PAIR, end("c")), (write("p"),)),
        *(Case(f"cow_{n}", f"one of {n} sharers writes all", family(n), (write("c1"),)) for n in SHARERS),
        *(Case(f"survivor_{n}", f"{n} sharers, all children exit, the parent writes",
               (*family(n), *(end(f"c{i}") for i in range(1, n))), (write("p"),)) for n in SHARERS),
        Case("cow_small", "a child writes shared small pages", PAIR, (write("c"),)),
        Case("cow_compound", "a child writes a shared pte-mapped THP", (*HUGE_PAIR, split("c")), (write("c", HALF),)),
        Case("half_small", "parent wrote half, the child exits, the parent writes the rest",
             (*PAIR, write("p", HALF), end("c")), (write("p"),)),
        Case("stuck_compound", "the same on a THP, half of it dead",
             (*HUGE_PAIR, write("p", HALF), end("c")), (write("p"),)),
        Case("stuck_collapse", "M where half of the THP is dead",
             (*HUGE_PAIR, write("p", HALF), end("c")), (collapse("p"),)),
        *(
            Case(f"slot_write_{who}", f"three share a pte-mapped THP, only {who} is left and writes",
                 (*three, *gone[who]), (write(who, range(5)),))
            for who in "pcg"
        ),
        *(
            Case(f"slot_scan_{who}", f"three share a pte-mapped THP, only {who} is left, K",
                 (*three, *gone[who]), (scan([who]),))
            for who in "pcg"
        ),
        Case("slot_pmd", "the third sharer is left while PMD-mapped, and writes",
             (*HUGE_PAIR, fork("p", "g"), end("p"), end("c")), (write("g", range(5)),)),
        Case("fork_small", "a fork of small pages", (start("p"), write("p", range(8 * NR))), (fork("p", "c"),), n_regions=8),
        Case("fork_compound", "a fork of pte-mapped THPs",
             (start("p"), *(huge("p", r) for r in range(8)), *(split("p", r) for r in range(8))), (fork("p", "c"),),
             n_regions=8),
        Case("fork_pmd", "a fork of PMD-mapped THPs",
             (start("p"), *(huge("p", r) for r in range(32))), (fork("p", "c"),), n_regions=32),
    ]  # fmt: skip


def shmem() -> list[Case]:
    """The one place where mainline changes all sharers."""
    return [
        Case(f"shmem_{n}", f"M on shmem of {n} sharers, then each touches it again",
             family(n), (collapse("p"),), shmem=True)
        for n in SHARERS
    ]  # fmt: skip


def migration() -> list[Case]:
    """Shared pages that compaction moves: every sharer has to find them in the new frame."""
    holes = (start("p"), write("p", range(MIGRATED * NR)), punch("p"))
    shared = (fork("p", "c"), fork("p", "g"))
    once: dict[str, Any] = {"low": True, "max_rounds": 3}
    return [
        Case("migrate_3", "compaction of what 3 share", (*holes, *shared), (migrate("p"),), MIGRATED, **once),
        Case("migrate_8", "compaction of what 8 share",
             (*holes, *(fork("p", f"c{i}") for i in range(1, 8))), (migrate("p"),), MIGRATED, **once),
        Case("migrate_held", "compaction where pages are held by vmsplice",
             (*holes, *shared, hold("p", range(NR // 16))), (migrate("p"),), MIGRATED, **once),
    ]  # fmt: skip


def cases() -> list[Case]:
    """List all scenarios."""
    groups = (after_fork, holes, limits, swapped, references, cgroups, huge_pages, shmem, migration)
    return [case for group in groups for case in group()]
