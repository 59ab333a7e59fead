// SPDX-License-Identifier: GPL-2.0
/*
 * The sources: what the caller maps in the region. Each gets a reference (the link), then its lock; then every
 * reference must be accounted for. The link is why a write to a source always copies, even by its last mapper:
 * do_wp_page() reuses only a folio whose references are its mappings. So an old page never changes while linked.
 */
#include "shcollapse.h"

static struct anon_vma *anon_vma_of(struct folio *folio)
{
	return (void *)((unsigned long)folio->mapping & ~MAPPING_FLAGS);
}

/* Link what one pte maps; 1 where it is a source, 0 where the slot is empty. Under the pte lock. */
static int link_one(struct job *j, int i, pte_t pte)
{
	struct folio *folio;

	if (pte_none(pte) || (pte_present(pte) && is_zero_pfn(pte_pfn(pte))))
		return 0;
	if (!pte_present(pte) || pte_special(pte))
		FAIL(-EINVAL, "PTE_NON_PRESENT", "a pte that is not present");
	if (pte_uffd_wp(pte))
		FAIL(-EINVAL, "PTE_UFFD_WP", "userfaultfd write-protection");
	folio = page_folio(pte_page(pte));
	if (folio_test_large(folio))
		FAIL(-EINVAL, "PTE_MAPPED_HUGEPAGE", "a large folio");
	if (!folio_test_anon(folio) || folio_test_ksm(folio))
		FAIL(-EINVAL, "PAGE_ANON", "not anonymous, or of KSM");
	if (!folio_test_swapbacked(folio))
		FAIL(-EINVAL, "PAGE_LAZYFREE", "MADV_FREE");
	if (folio_test_swapcache(folio))
		FAIL(-EAGAIN, "PAGE_COUNT", "swap cache");
	if (anon_vma_of(folio)->root != j->root || folio->index != j->pgoff + i)
		FAIL(-EINVAL, "FAIL", "of another family, or moved");
	folio_get(folio);
	j->old[i] = &folio->page;
	j->linked[i] = true;
	return 1;
}

/* The caller's page table, mapped and locked, and its VMA; NULL with the reason told. Under the mmap lock. */
static pte_t *lock_table(struct job *j, struct vm_area_struct **vma, spinlock_t **ptl)
{
	pmd_t *pmd;
	pte_t *ptep;

	*vma = find_vma(j->mm, j->addr);
	res.code = "VMA_CHECK";
	res.why = "no anonymous VMA over the whole region, or one of a kind that is refused";
	if (!*vma || (*vma)->vm_start > j->addr || (*vma)->vm_end < j->addr + HPAGE_PMD_SIZE || !vma_ok(*vma) ||
	    mm_has_notifiers(j->mm))
		return NULL;
	res.code = "NO_PTE_TABLE";
	res.why = "no page table, or a PMD maps it";
	pmd = find_pmd(j->mm, j->addr);
	ptep = pmd ? CALLABLE(map_lock)(j->mm, pmd, j->addr, ptl) : NULL;
	if (ptep)
		res.code = res.why = "-";
	return ptep;
}

static int link_all(struct job *j)
{
	struct vm_area_struct *vma;
	spinlock_t *ptl;
	int i, rc = 0;
	pte_t *ptep;

	mmap_read_lock(j->mm);
	ptep = lock_table(j, &vma, &ptl);
	if (!ptep) {
		mmap_read_unlock(j->mm);
		return -EINVAL;
	}
	j->root = vma->anon_vma->root;
	j->pgoff = anon_index(vma, j->addr);
	for (i = 0; i < NR && rc >= 0; i++) {
		rc = link_one(j, i, ptep_get(ptep + i));
		j->n_sources += rc > 0;
	}
	pte_unmap_unlock(ptep, ptl);
	if (rc >= 0)
		atomic_inc(&j->root->refcount);
	else
		j->root = NULL;
	mmap_read_unlock(j->mm);
	if (rc < 0)
		return rc;
	if (!j->n_sources)
		FAIL(-EINVAL, "PAGE_NULL", "nothing but empty ptes and zero pages");
	return 0;
}

int link_sources(struct job *j)
{
	struct mem_cgroup *memcg = NULL;
	int i, rc;

	k_lru_add_drain_all();	/* a folio that waits in a batch has a reference of the batch */
	rc = link_all(j);
	if (rc)
		return rc;
	for (i = 0; i < NR; i++) {
		struct folio *folio;

		if (!j->old[i])
			continue;
		folio = page_folio(j->old[i]);
		if (!folio_trylock(folio))
			FAIL(-EAGAIN, "PAGE_LOCK", "locked by another");
		j->locked[i] = true;
		if (folio_test_ksm(folio) || folio_test_swapcache(folio) || !folio_test_anon(folio))
			FAIL(-EAGAIN, "PAGE_COUNT", "changed meanwhile");
		if (folio_ref_count(folio) != folio_mapcount(folio) + 1)
			FAIL(-EAGAIN, "PAGE_COUNT", "extra reference");
		if (memcg && folio_memcg(folio) != memcg)
			FAIL(-EINVAL, "FAIL", "sources of several memory cgroups");
		memcg = folio_memcg(folio);
	}
	return 0;
}

/*
 * The caller's exclusive pages are writable: write-protect them, as fork would. GUP-fast takes no lock, so the pte is
 * cleared and flushed before the exclusive mark is taken off; who pinned the page before that keeps it exclusive.
 */
int protect_sources(struct job *j)
{
	struct vm_area_struct *vma;
	int i, rc = 0, n = 0;
	spinlock_t *ptl;
	pte_t *ptep;

	mmap_read_lock(j->mm);
	ptep = lock_table(j, &vma, &ptl);
	if (!ptep) {
		mmap_read_unlock(j->mm);
		return -EAGAIN;
	}
	for (i = 0; i < NR; i++) {
		pte_t pte = ptep_get(ptep + i);

		j->was[i] = __pte(0);
		if (!j->old[i] || !pte_present(pte) || pte_pfn(pte) != page_to_pfn(j->old[i]))
			continue;
		if (!PageAnonExclusive(j->old[i]) && !pte_write(pte))
			continue;
		j->was[i] = ptep_get_and_clear(j->mm, j->addr + i * PAGE_SIZE, ptep + i);
		n++;
	}
	if (n) {
		k_flush_tlb_mm_range(j->mm, j->addr, j->addr + HPAGE_PMD_SIZE, PAGE_SHIFT, false);
		res.flushes++;
	}
	for (i = 0; i < NR && n; i++) {
		pte_t pte = j->was[i];

		if (pte_none(pte))
			continue;
		if (PageAnonExclusive(j->old[i]) &&
		    folio_try_share_anon_rmap_pte(page_folio(j->old[i]), j->old[i]))
			rc = -EAGAIN;	/* pinned meanwhile: stays as it was */
		else
			pte = pte_wrprotect(pte);
		set_pte(ptep + i, pte);
		res.protected += !rc;
	}
	pte_unmap_unlock(ptep, ptl);
	mmap_read_unlock(j->mm);
	if (rc)
		FAIL(rc, "PAGE_COUNT", "pinned meanwhile");
	return 0;
}

/* Once the links are taken and the pages protected, nothing can change a source; the locks can go. */
void unlock_sources(struct job *j)
{
	int i;

	for (i = 0; i < NR; i++)
		if (j->locked[i]) {
			folio_unlock(page_folio(j->old[i]));
			j->locked[i] = false;
		}
}

/* Drop the links of pages that nobody maps any more; returns how many links are left. */
int drop_unmapped(struct job *j)
{
	int i, left = 0;

	for (i = 0; i < NR; i++) {
		struct folio *folio;

		if (!j->linked[i])
			continue;
		folio = page_folio(j->old[i]);
		if (folio_mapped(folio)) {
			left++;
			continue;
		}
		res.orphans += folio_ref_count(folio) != 1;
		forget_source(j, i);
		folio_put(folio);
	}
	return left;
}

void unlink_sources(struct job *j)
{
	struct folio_batch fbatch;
	int i;

	folio_batch_init(&fbatch);
	for (i = 0; i < NR; i++) {
		struct folio *folio;

		if (!j->linked[i])
			continue;
		folio = page_folio(j->old[i]);
		if (folio_mapped(folio))
			res.left++;
		else if (j->new && folio_ref_count(folio) != 1)
			res.orphans++;
		if (j->locked[i])
			folio_unlock(folio);
		if (!folio_batch_add(&fbatch, folio))
			folios_put(&fbatch);
	}
	if (folio_batch_count(&fbatch))
		folios_put(&fbatch);
	if (j->root && atomic_dec_and_test(&j->root->refcount))
		k___put_anon_vma(j->root);
}
