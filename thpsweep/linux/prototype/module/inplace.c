// SPDX-License-Identifier: GPL-2.0
/* inplace: the kernel's migration entries in every sharer, the copy, then an own restore to the subpages. */
#include "shcollapse.h"

void set_entries(struct job *j)
{
	int i;

	for (i = 0; i < NR; i++)
		if (j->old[i]) {
			k_try_to_migrate(page_folio(j->old[i]), TTU_BATCH_FLUSH);
			res.walks++;
		}
	k_try_to_unmap_flush();
	res.flushes++;
}

/* Let the entries point to the old pages again. */
void put_back(struct job *j)
{
	int i;

	for (i = 0; i < NR; i++)
		if (j->old[i])
			k_remove_migration_ptes(page_folio(j->old[i]), page_folio(j->old[i]), 0);
}

int freeze_pages(struct job *j)
{
	int i;

	set_entries(j);
	for (i = 0; i < NR; i++) {
		struct folio *folio;

		if (!j->old[i])
			continue;
		folio = page_folio(j->old[i]);
		if (folio_mapped(folio) || folio_ref_count(folio) != 1) {
			put_back(j);
			FAIL(-EAGAIN, "PAGE_COUNT", "a reference came during the freeze");
		}
	}
	return 0;
}

/* A page that only one process had stays exclusive to it, and writable if it was. */
static void restore_pte(struct job *j, struct page_vma_mapped_walk *pvmw, struct vm_area_struct *vma, int i)
{
	pte_t was = ptep_get(pvmw->pte), pte;
	leaf_t entry = leaf_of(was);
	bool exclusive = !leaf_shared(entry);

	folio_get(j->new);
	k_folio_add_anon_rmap_ptes(j->new, folio_page(j->new, i), 1, vma, pvmw->address,
				   exclusive ? RMAP_EXCLUSIVE : RMAP_NONE);
	pte = make_pte(j, vma, i, leaf_young(entry), leaf_dirty(entry), pte_swp_soft_dirty(was));
	if (leaf_write(entry))
		pte = pte_mkwrite_novma(pte);
	set_pte(pvmw->pte, pte);
	res.ptes++;
}

/* remove_migration_ptes() knows no subpages where the source is of order 0. */
static bool restore_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr, void *arg)
{
	struct job *j = arg;
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, addr, PVMW_SYNC | PVMW_MIGRATION);

	res.visits++;
	while (k_page_vma_mapped_walk(&pvmw))
		restore_pte(j, &pvmw, vma, folio->index - j->pgoff);
	return true;
}

void restore_pages(struct job *j)
{
	struct rmap_walk_control rwc = { .rmap_one = restore_one, .arg = j };
	int i;

	for (i = 0; i < NR; i++)
		if (j->old[i]) {
			k_rmap_walk(page_folio(j->old[i]), &rwc);
			res.walks++;
		}
}
