// SPDX-License-Identifier: GPL-2.0
/* Where a page of the family lies in one process, and which VMAs are left alone. */
#include "shcollapse.h"

/* The PMD that points to a page table, or NULL. */
pmd_t *find_pmd(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (!pud_present(*pud) || pud_leaf(*pud))
		return NULL;
	pmd = pmd_offset(pud, addr);
	if (!pmd_present(*pmd) || pmd_leaf(*pmd))
		return NULL;
	return pmd;
}

/* The address of page `pgoff` in this VMA, or 0. */
unsigned long addr_in_vma(struct vm_area_struct *vma, pgoff_t pgoff)
{
	pgoff_t first = anon_start(vma);

	if (pgoff < first || pgoff >= first + vma_pages(vma))
		return 0;
	return vma->vm_start + ((pgoff - first) << PAGE_SHIFT);
}

bool vma_ok(struct vm_area_struct *vma)
{
	return vma->anon_vma && vma_is_anonymous(vma) && !userfaultfd_wp(vma) &&
	       !(vma->vm_flags & (VM_LOCKED | VM_HUGETLB | VM_PFNMAP | VM_MIXEDMAP | VM_SHADOW_STACK));
}

/* A sharer that must not be changed keeps its old pages: nothing breaks, only memory is not saved. */
bool skip_vma(struct vm_area_struct *vma)
{
	if (vma_ok(vma) && !mm_has_notifiers(vma->vm_mm))
		return false;
	res.skipped++;
	return true;
}

/* Read-only: a shared page always is. */
pte_t make_pte(struct job *j, struct vm_area_struct *vma, int i, bool young, bool dirty, bool soft)
{
	pte_t pte = mk_pte(folio_page(j->new, i), vma->vm_page_prot);

	pte = pte_wrprotect(pte);
	pte = young ? pte_mkyoung(pte) : pte_mkold(pte);
	if (dirty)
		pte = pte_mkdirty(pte);
	return soft ? pte_mksoft_dirty(pte) : pte_clear_soft_dirty(pte);
}
