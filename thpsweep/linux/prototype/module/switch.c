// SPDX-License-Identifier: GPL-2.0
/*
 * switch: old -> new without a freeze. Both pages have the same content and neither can be written, so it does not
 * matter which of them a process reads meanwhile. Under one pte lock: clear, flush, set; or (`over`), where the
 * architecture lets a present pte be given another page (x86 does, arm64 does not), overwrite, and flush once at the end.
 */
#include "shcollapse.h"

/* Find what still maps an old page, at most `budget` ptes, and clear it; returns how many, and in *n where it ended. */
static __always_inline int take_old(pte_t *was, struct mm_struct *mm, unsigned long addr, pte_t *ptep,
				    struct page **old, int *n, int budget, const bool over)
{
	int i, done = 0;

	for (i = 0; i < *n && done < budget; i++) {
		pte_t pte = ptep_get(ptep + i);

		was[i] = __pte(0);
		if (!old[i] || !pte_present(pte) || pte_pfn(pte) != page_to_pfn(old[i]))
			continue;
		was[i] = over ? pte : ptep_get_and_clear(mm, addr + i * PAGE_SIZE, ptep + i);
		done++;
	}
	*n = i;
	return done;
}

/* Add the new mappings in runs: one update of the folio's counters a run. */
static void add_rmap(struct job *j, const pte_t *was, struct vm_area_struct *vma, unsigned long addr, int first, int n)
{
	int i, from = -1;

	for (i = 0; i <= n; i++) {
		bool set = i < n && !pte_none(was[i]);

		if (set && from < 0)
			from = i;
		if (!set && from >= 0) {
			folio_ref_add(j->new, i - from);
			k_folio_add_anon_rmap_ptes(j->new, folio_page(j->new, first + from), i - from, vma,
						   addr + from * PAGE_SIZE, RMAP_NONE);
			from = -1;
		}
	}
}

/* Old to new in one step: all that changes meanwhile is the accessed bit, which the CPU sets. */
static void overwrite(struct job *j, struct vm_area_struct *vma, pte_t *ptep, int i, pte_t was)
{
	pte_t pte;

	do {
		pte = make_pte(j, vma, i, pte_young(was), pte_dirty(was), pte_soft_dirty(was));
	} while (!try_cmpxchg(&ptep->pte, &was.pte, pte.pte));
}

static __always_inline void set_new(struct job *j, const pte_t *was, struct vm_area_struct *vma, pte_t *ptep, int first,
				    int n, const bool over)
{
	int i;

	for (i = 0; i < n; i++) {
		pte_t pte = was[i];
		struct folio *folio;

		if (pte_none(pte))
			continue;
		if (over)
			overwrite(j, vma, ptep + i, first + i, pte);
		else
			set_pte(ptep + i, make_pte(j, vma, first + i, pte_young(pte), pte_dirty(pte), pte_soft_dirty(pte)));
		folio = page_folio(j->old[first + i]);
		k_folio_remove_rmap_ptes(folio, &folio->page, 1, vma);
		folio_put(folio);	/* never the last one: the link remains */
	}
}

static void flush(struct vm_area_struct *vma, unsigned long addr, int n)
{
	k_flush_tlb_mm_range(vma->vm_mm, addr, addr + n * PAGE_SIZE, PAGE_SHIFT, false);
	res.flushes++;
}

static __always_inline int switch_locked(struct job *j, pte_t *was, struct vm_area_struct *vma, unsigned long addr,
					 pte_t *ptep, int first, int n, int budget, const bool over)
{
	int done = take_old(was, vma->vm_mm, addr, ptep, j->old + first, &n, budget, over);

	if (!done)
		return 0;
	if (!over)
		flush(vma, addr, n);
	add_rmap(j, was, vma, addr, first, n);
	set_new(j, was, vma, ptep, first, n, over);
	res.ptes += done;
	return done;
}

/* Slots [first, first + n) of one VMA, all in one page table, at most `budget` ptes of them; returns how many. */
static int switch_ptes(struct job *j, pte_t *was, struct vm_area_struct *vma, unsigned long addr, int first, int n,
		       int budget)
{
	pmd_t *pmd = find_pmd(vma->vm_mm, addr);
	spinlock_t *ptl;
	pte_t *ptep;
	int done;

	if (!pmd)
		return 0;
	ptep = CALLABLE(map_lock)(vma->vm_mm, pmd, addr, &ptl);
	if (!ptep)
		return 0;
	if (j->over)
		done = switch_locked(j, was, vma, addr, ptep, first, n, budget, true);
	else
		done = switch_locked(j, was, vma, addr, ptep, first, n, budget, false);
	pte_unmap_unlock(ptep, ptl);
	return done;
}

/*
 * The region in one VMA, slice by slice, at most `budget` ptes; returns how many. The VMA must stay: under the root's rmap
 * lock or the mmap lock. `was` is scratch for a slice.
 */
int switch_vma(struct job *j, pte_t *was, struct vm_area_struct *vma, int budget)
{
	int i, n, done = 0;

	for (i = 0; i < NR && done < budget; i += n) {
		unsigned long addr = addr_in_vma(vma, j->pgoff + i);

		n = 1;
		if (!addr)	/* the VMA covers a part of the region */
			continue;
		n = min_t(int, NR - i, (pmd_addr_end(addr, vma->vm_end) - addr) >> PAGE_SHIFT);
		n = min_t(int, n, j->slice);
		done += switch_ptes(j, was, vma, addr, i, n, budget - done);
	}
	if (done && j->over)	/* no old page is freed before: the links hold them */
		flush(vma, vma->vm_start + ((max(j->pgoff, anon_start(vma)) - anon_start(vma)) << PAGE_SHIFT), NR);
	return done;
}

/* One walk over the region: every VMA under the root once. */
void switch_region(struct job *j)
{
	struct anon_vma_chain *avc;
	pgoff_t last = j->pgoff + NR - 1;

	down_read(&j->root->rwsem);
	res.walks++;
	for (avc = CALLABLE(tree_first)(tree_of(j->root), j->pgoff, last); avc;
	     avc = CALLABLE(tree_next)(avc, j->pgoff, last)) {
		cond_resched();
		res.visits++;
		if (!skip_vma(avc->vma))
			switch_vma(j, j->was, avc->vma, NR);
	}
	up_read(&j->root->rwsem);
}

static bool switch_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr, void *arg)
{
	struct job *j = arg;

	res.visits++;
	if (!skip_vma(vma))
		switch_ptes(j, j->was, vma, addr, folio->index - j->pgoff, 1, 1);
	return true;
}

/* One rmap walk a page and one flush a pte, as KSM does. */
void switch_pages(struct job *j)
{
	struct rmap_walk_control rwc = { .rmap_one = switch_one, .arg = j };
	int i;

	for (i = 0; i < NR; i++)
		if (j->old[i]) {
			k_rmap_walk(page_folio(j->old[i]), &rwc);
			res.walks++;
		}
}
