// SPDX-License-Identifier: GPL-2.0
/*
 * incremental and deferred: one job that outlives its command. Old pages and new folio are linked; any process may
 * write, fork or exit between two commands, and each of its ptes maps the old page, the new one, or a page of its own.
 */
#include "shcollapse.h"

static struct job *open_job;

static int prepare(struct job *j, bool deferred)
{
	int rc = link_sources(j);

	if (!rc)
		rc = protect_sources(j);
	if (!rc)
		rc = alloc_new(j);
	if (!rc && deferred) {
		rc = watch_forks();
		if (rc)
			folio_put(j->new);
	}
	if (rc)
		unlink_sources(j);
	return rc;
}

int begin(const struct job *caller, bool deferred)
{
	struct job *j;
	int rc;

	if (open_job)
		FAIL(-EBUSY, "FAIL", "another region is under way");
	j = kvmemdup(caller, sizeof(*caller), GFP_KERNEL);	/* outlives the command */
	if (!j)
		return -ENOMEM;
	rc = prepare(j, deferred);
	if (rc) {
		kvfree(j);
		return rc;
	}
	if (j->pause_ms)
		msleep(j->pause_ms);
	copy_all(j);
	folio_unlock(j->new);
	unlock_sources(j);
	if (deferred)
		forward_children(j);
	open_job = j;
	return 0;
}

/* Two valid sets of pages remain, where some are left. */
static void close_job(void)
{
	struct job *j = open_job;

	open_job = NULL;
	forget_forks();
	unlink_sources(j);
	folio_put(j->new);
	kvfree(j);
}

int abandon(void)
{
	if (!open_job)
		FAIL(-EINVAL, "FAIL", "nothing is under way");
	close_job();
	return 0;
}

/* Switch at most `budget` ptes of the VMAs after the cursor, or of all where it is NULL; returns what is left of it. */
static int walk(struct job *j, int budget)
{
	pgoff_t last = j->pgoff + NR - 1;
	const void *cursor = j->cursor;
	struct anon_vma_chain *avc;

	down_read(&j->root->rwsem);
	res.walks++;
	for (avc = CALLABLE(tree_first)(tree_of(j->root), j->pgoff, last); avc && budget > 0;
	     avc = CALLABLE(tree_next)(avc, j->pgoff, last)) {
		if (cursor && avc->vma->vm_mm != cursor)
			continue;
		cursor = NULL;	/* the one that the last slice ended in may have ptes left */
		res.visits++;
		if (skip_vma(avc->vma))
			continue;
		budget -= switch_vma(j, j->was, avc->vma, budget);
		j->cursor = avc->vma->vm_mm;
		cond_resched();
	}
	up_read(&j->root->rwsem);
	return budget;
}

/* One slice: from where the last one ended; from the start again where that mm is gone, or nothing is left behind it. */
int slice(unsigned int budget)
{
	struct job *j = open_job;

	if (!j) {
		res.why = "nothing is under way";
		return 0;
	}
	res.pfn = folio_pfn(j->new);
	budget = walk(j, budget);
	if (budget && j->cursor) {
		j->cursor = NULL;
		budget = walk(j, budget);
	}
	res.left = drop_unmapped(j);
	if (!res.left)
		close_job();
	return 0;
}

/* deferred: what khugepaged would do when it comes to this mm: begin where nothing is linked, and switch what this mm maps. */
int visit(const struct job *caller)
{
	struct mm_struct *mm = caller->mm;
	unsigned long addr = caller->addr;
	struct vm_area_struct *vma;
	struct job *j;
	int rc = 0;

	if (!open_job)
		rc = begin(caller, true);
	if (rc)
		return rc;
	j = open_job;
	res.pfn = folio_pfn(j->new);
	mmap_read_lock(mm);
	vma = find_vma(mm, addr);
	res.visits++;
	if (vma && vma->vm_start <= addr && vma->anon_vma && vma->anon_vma->root == j->root && !skip_vma(vma))
		switch_vma(j, j->was, vma, NR);
	mmap_read_unlock(mm);
	res.left = drop_unmapped(j);
	if (!res.left)
		close_job();
	if (!res.ptes)
		FAIL(-EINVAL, "PTE_MAPPED_HUGEPAGE", "this mm maps no old page");
	return 0;
}
