// SPDX-License-Identifier: GPL-2.0
/* The new folio: allocated, charged, filled while the sources cannot be written, and put on the LRU. */
#include "shcollapse.h"

int alloc_new(struct job *j)
{
	gfp_t gfp = GFP_TRANSHUGE;

	j->new = folio_alloc(gfp, HPAGE_PMD_ORDER);
	if (!j->new)
		FAIL(-ENOMEM, "ALLOC_HUGE_PAGE_FAIL", "no free 2 MiB block");
	if (!mem_cgroup_disabled() && k___mem_cgroup_charge(j->new, j->mm, gfp)) {
		folio_put(j->new);
		j->new = NULL;
		FAIL(-ENOMEM, "CGROUP_CHARGE_FAIL", "memory cgroup limit");
	}
	return 0;
}

void copy_all(struct job *j)
{
	int i;

	for (i = 0; i < NR; i++) {
		if (j->old[i]) {
			copy_highpage(folio_page(j->new, i), j->old[i]);
			res.copied++;
		} else {
			clear_highpage(folio_page(j->new, i));
			res.cleared++;
		}
		cond_resched();
	}
	__folio_mark_uptodate(j->new);
	__folio_set_locked(j->new);
	__folio_set_swapbacked(j->new);
	folio_set_dirty(j->new);
	/* Not exclusive to one VMA: the oldest anon_vma, whose tree holds every relative. */
	WRITE_ONCE(j->new->mapping, (void *)j->root + MAPPING_ANON);
	j->new->index = j->pgoff;
	/* The page allocator takes this off again when an anonymous folio is freed. */
	this_cpu_add(k_mthp_stats->stats[HPAGE_PMD_ORDER][MTHP_STAT_NR_ANON], 1);
	res.pfn = folio_pfn(j->new);
	folio_add_lru(j->new);
}
