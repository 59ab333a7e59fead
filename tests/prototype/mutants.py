"""Mistakes that a kernel developer could make in the module, one at a time: file, the right text, the wrong one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One mistake."""

    file: str
    right: str
    wrong: str


MUTANTS = {
    "no flush": Mutant("switch.c", "		flush(vma, addr, n);", "		;"),
    "no flush after overwriting": Mutant("switch.c", "	if (done && j->over)", "	if (done && j->over && false)"),
    "one sharer missed": Mutant(
        "switch.c", "		if (!skip_vma(avc->vma))", "		if (!skip_vma(avc->vma) && res.visits != 2)"
    ),
    "wrong subpage": Mutant("page_tables.c", "folio_page(j->new, i), vma", "folio_page(j->new, i ^ (i == 300)), vma"),
    "no check of references": Mutant("sources.c", "folio_ref_count(folio) != folio_mapcount(folio) + 1", "false"),
    "an old reference is kept": Mutant(
        "switch.c", "		folio_put(folio);	/*", "		if (first + i != 77) folio_put(folio);	/*"
    ),
    "exclusive": Mutant("switch.c", "addr + from * PAGE_SIZE, RMAP_NONE)", "addr + from * PAGE_SIZE, RMAP_EXCLUSIVE)"),
    "writable": Mutant("page_tables.c", "	pte = pte_wrprotect(pte);", "	pte = pte_mkwrite_novma(pte);"),
    "own reference of the folio is kept": Mutant(
        "main.c", "		folio_put(j->new);	/* ours", "		;	/* ours"
    ),
    "the caller's anon_vma": Mutant("sources.c", "	j->root = vma->anon_vma->root;", "	j->root = vma->anon_vma;"),
    "a statistic is forgotten": Mutant("folio.c", "MTHP_STAT_NR_ANON], 1);", "MTHP_STAT_NR_ANON], 0);"),
    "not protected": Mutant("sources.c", "			pte = pte_wrprotect(pte);", "			;"),
    "protected but still exclusive": Mutant(
        "sources.c", "		    folio_try_share_anon_rmap_pte(", "		    false && folio_try_share_anon_rmap_pte("
    ),
    "a hole is not cleared": Mutant("folio.c", "			clear_highpage(folio_page(j->new, i));", "			;"),
    "a PMD over a page of others": Mutant("pmd.c", "if (has_source[i] || !(", "if (!("),
    "filled slots are not counted": Mutant("pmd.c", "MM_ANONPAGES], NR - present);", "MM_ANONPAGES], 0);"),
    "a link outlives its page": Mutant(
        "sources.c",
        "		if (folio_mapped(folio)) {\n			left++;",
        "		if (true) {\n			left++;",
    ),
    "an unlinked page is still taken for a source": Mutant("fork.c", "	j->old[i] = NULL;", "	;"),
    "a slice takes one pte too many": Mutant("switch.c", "i < *n && done < budget", "i < *n && done <= budget"),
    "a child is not given the folio": Mutant(
        "fork.c", "	if (watched && vma->anon_vma", "	if (false && watched && vma->anon_vma"
    ),
    "exclusive pages are shared again": Mutant("inplace.c", "exclusive ? RMAP_EXCLUSIVE : RMAP_NONE", "RMAP_NONE"),
    "a child is given the folio before it is copied": Mutant(
        "slices.c", "	if (j->pause_ms)\n", "	if (deferred)\n		forward_children(j);\n	if (j->pause_ms)\n"
    ),
}
