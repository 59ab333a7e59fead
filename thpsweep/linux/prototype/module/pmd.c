// SPDX-License-Identifier: GPL-2.0
/*
 * The PMD step: a PMD for every sharer whose 512 slots are the folio's subpages. The lock order (mmap lock, folio lock,
 * rmap lock) forbids it inside the rmap walk: the mms are collected first, then each is changed under its own lock.
 */
#include "shcollapse.h"

#define MAX_MMS 1024
struct sharer { struct mm_struct *mm; unsigned long addr; };

/*
 * Each slot is that subpage, or empty where the folio has no source. An empty slot over a subpage with a source must stay
 * empty: it reads zeroes, the subpage does not. All are exclusive to this process, or none is: a PMD has one mark for all.
 * Returns how many are present, 0 where one does not fit.
 */
static int fits(pte_t *ptep, struct folio *folio, const bool *has_source, bool *exclusive)
{
	unsigned long pfn = folio_pfn(folio);
	int i, present = 0, own = 0;

	for (i = 0; i < NR; i++) {
		pte_t pte = ptep_get(ptep + i);

		if (pte_present(pte) && pte_pfn(pte) == pfn + i) {
			present++;
			own += PageAnonExclusive(pfn_to_page(pfn + i));
		} else if (has_source[i] || !(pte_none(pte) || (pte_present(pte) && is_zero_pfn(pte_pfn(pte))))) {
			return 0;
		}
	}
	*exclusive = own;
	return !own || own == present ? present : 0;
}

/* Take the ptes of a table that nobody sees any more out of the folio's mappings, in runs; whether one was young. */
static bool empty_table(struct vm_area_struct *vma, unsigned long addr, pte_t *ptep, struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio);
	int i, from = 0;
	bool young = false;

	for (i = 0; i < NR; i++) {
		bool ours = pte_present(ptep[i]) && pte_pfn(ptep[i]) == pfn + i;

		young |= ours && pte_young(ptep[i]);
		pte_clear(vma->vm_mm, addr + i * PAGE_SIZE, ptep + i);
		if (ours)
			continue;
		if (i > from)
			k_folio_remove_rmap_ptes(folio, folio_page(folio, from), i - from, vma);
		from = i + 1;
	}
	if (NR > from)
		k_folio_remove_rmap_ptes(folio, folio_page(folio, from), NR - from, vma);
	return young;
}

/* The mark is the first page's where a PMD maps the folio. */
static void move_exclusive_mark(struct folio *folio)
{
	int i;

	for (i = 0; i < NR; i++)
		if (PageAnonExclusive(folio_page(folio, i)))
			ClearPageAnonExclusive(folio_page(folio, i));
}

/* Under the mmap lock, the folio lock and the rmap lock, all for writing. */
static void replace_table(struct vm_area_struct *vma, unsigned long addr, struct folio *folio, const bool *has_source)
{
	struct mm_struct *mm = vma->vm_mm;
	pmd_t *pmd = find_pmd(mm, addr), old, huge;
	spinlock_t *pml, *ptl;
	bool young, exclusive;
	int present = 0;
	pte_t *ptep;

	ptep = pmd ? CALLABLE(map_lock)(mm, pmd, addr, &ptl) : NULL;
	if (ptep) {
		present = fits(ptep, folio, has_source, &exclusive);
		pte_unmap_unlock(ptep, ptl);
	}
	if (!present) {
		res.skipped++;
		return;
	}
	pml = pmd_lock(mm, pmd);
	old = k_pmdp_collapse_flush(vma, addr, pmd);
	spin_unlock(pml);
	res.flushes++;
	k_tlb_remove_table_sync_one();
	pml = pmd_lock(mm, pmd);
	if (exclusive)
		move_exclusive_mark(folio);
	k_folio_add_anon_rmap_pmd(folio, &folio->page, vma, addr, exclusive ? RMAP_EXCLUSIVE : RMAP_NONE);
	young = empty_table(vma, addr, (pte_t *)pmd_page_vaddr(old), folio);
	folio_ref_sub(folio, present - 1);
	percpu_counter_add(&mm->rss_stat[MM_ANONPAGES], NR - present);
	k_pgtable_trans_huge_deposit(mm, pmd, pmd_pgtable(old));
	huge = pmd_mkhuge(pfn_pmd(folio_pfn(folio), vma->vm_page_prot));
	huge = pmd_wrprotect(pmd_mkdirty(huge));
	huge = young ? pmd_mkyoung(huge) : pmd_mkold(huge);
	set_pmd(pmd, huge);
	spin_unlock(pml);
	res.replaced += present;
	res.filled += NR - present;
	res.mms++;
}

static void install_pmd(struct sharer *s, struct folio *folio, const bool *has_source)
{
	struct vm_area_struct *vma;
	struct anon_vma *root;

	mmap_write_lock(s->mm);	/* a daemon would try once and come back (6.12 has no mmap_write_trylock) */
	vma = find_vma(s->mm, s->addr);
	if (vma && vma->vm_start <= s->addr && vma->vm_end >= s->addr + HPAGE_PMD_SIZE && vma_ok(vma) &&
	    !mm_has_notifiers(s->mm) && anon_index(vma, s->addr) == folio->index) {
		vma_start_write(vma);
		folio_lock(folio);
		root = vma->anon_vma->root;
		down_write(&root->rwsem);	/* no rmap walk may stand in the table */
		replace_table(vma, s->addr, folio, has_source);
		up_write(&root->rwsem);
		folio_unlock(folio);
	} else {
		res.skipped++;
	}
	mmap_write_unlock(s->mm);
}

/* The folio that the caller maps here, with a reference. Under the caller's mmap lock. */
static struct folio *mapped_folio(struct job *j, struct vm_area_struct *vma)
{
	pmd_t *pmd = find_pmd(j->mm, j->addr);
	struct folio *folio = NULL;
	spinlock_t *ptl;
	pte_t *ptep = pmd ? CALLABLE(map_lock)(j->mm, pmd, j->addr, &ptl) : NULL;
	int i;

	if (!ptep)
		return NULL;
	for (i = 0; i < NR && !folio; i++) {
		pte_t pte = ptep_get(ptep + i);

		if (!pte_present(pte) || is_zero_pfn(pte_pfn(pte)))
			continue;
		folio = page_folio(pte_page(pte));
		if (!folio_test_anon(folio) || !folio_test_pmd_mappable(folio) ||
		    folio->index != anon_index(vma, j->addr))
			folio = NULL;	/* a page of the caller's own: look at the next */
	}
	if (folio)
		folio_get(folio);
	pte_unmap_unlock(ptep, ptl);
	return folio;
}

static int collect(struct anon_vma *root, struct folio *folio, struct sharer *list)
{
	pgoff_t first = folio->index, last = first + NR - 1;
	struct anon_vma_chain *avc;
	int n = 0;

	down_read(&root->rwsem);
	for (avc = CALLABLE(tree_first)(tree_of(root), first, last); avc && n < MAX_MMS;
	     avc = CALLABLE(tree_next)(avc, first, last)) {
		unsigned long addr = addr_in_vma(avc->vma, first);

		if (addr && !(addr & ~HPAGE_PMD_MASK) && mmget_not_zero(avc->vma->vm_mm)) {
			list[n].mm = avc->vma->vm_mm;
			list[n++].addr = addr;
		}
	}
	up_read(&root->rwsem);
	return n;
}

int install_pmds(struct job *j, const bool *has_source)
{
	struct folio *folio = NULL;
	struct vm_area_struct *vma;
	struct sharer *list;
	int n = 0, i;
	u64 t0 = now();

	MARK(7);
	list = kvmalloc_array(MAX_MMS, sizeof(*list), GFP_KERNEL);
	if (!list)
		FAIL(-ENOMEM, "FAIL", "no memory for the list of mms");
	mmap_read_lock(j->mm);
	vma = find_vma(j->mm, j->addr);
	if (vma && vma->vm_start <= j->addr && vma_ok(vma))
		folio = mapped_folio(j, vma);
	if (folio)
		n = collect(vma->anon_vma->root, folio, list);
	mmap_read_unlock(j->mm);
	if (!folio) {
		kvfree(list);
		FAIL(-EINVAL, "FAIL", "no folio of this size is mapped here");
	}
	for (i = 0; i < n; i++)
		install_pmd(list + i, folio, has_source);
	res.pfn = folio_pfn(folio);
	folio_put(folio);
	for (i = 0; i < n; i++)
		mmput(list[i].mm);
	kvfree(list);
	MARK(8);
	res.pmd = now() - t0;
	return 0;
}
