/* SPDX-License-Identifier: GPL-2.0 */
/* Functions and variables that the kernel does not export to modules; looked up when the module is loaded. */
#ifndef SHCOLLAPSE_SYMBOLS_H
#define SHCOLLAPSE_SYMBOLS_H
#include "compat.h"

#define JOIN(a, b) a##b
#define CALLABLE(name) JOIN(k_, name)	/* expands `name` first: map_lock, tree_first and tree_next are macros */

#define SYMS(X) \
	X(void, lru_add_drain_all, (void)) \
	X(pte_t *, map_lock, (struct mm_struct *, pmd_t *, unsigned long, spinlock_t **)) \
	X(void, flush_tlb_mm_range, (struct mm_struct *, unsigned long, unsigned long, unsigned int, bool)) \
	X(void, folio_add_anon_rmap_ptes, (struct folio *, struct page *, int, struct vm_area_struct *, unsigned long, rmap_t)) \
	X(void, folio_add_anon_rmap_pmd, (struct folio *, struct page *, struct vm_area_struct *, unsigned long, rmap_t)) \
	X(void, folio_remove_rmap_ptes, (struct folio *, struct page *, int, struct vm_area_struct *)) \
	X(struct anon_vma_chain *, tree_first, (tree_t *, unsigned long, unsigned long)) \
	X(struct anon_vma_chain *, tree_next, (struct anon_vma_chain *, unsigned long, unsigned long)) \
	X(void, __put_anon_vma, (struct anon_vma *)) \
	X(int, __mem_cgroup_charge, (struct folio *, struct mm_struct *, gfp_t)) \
	X(void, rmap_walk, (struct folio *, struct rmap_walk_control *)) \
	X(bool, page_vma_mapped_walk, (struct page_vma_mapped_walk *)) \
	X(void, try_to_migrate, (struct folio *, enum ttu_flags)) \
	X(void, try_to_unmap_flush, (void)) \
	X(void, remove_migration_ptes, (struct folio *, struct folio *, rmp_flags)) \
	X(pmd_t, pmdp_collapse_flush, (struct vm_area_struct *, unsigned long, pmd_t *)) \
	X(void, pgtable_trans_huge_deposit, (struct mm_struct *, pmd_t *, pgtable_t)) \
	X(void, tlb_remove_table_sync_one, (void))
#define X(ret, name, args) extern ret (*CALLABLE(name)) args;
SYMS(X)
#undef X
extern struct mthp_stat __percpu *k_mthp_stats;

int find_symbols(void);
#endif
