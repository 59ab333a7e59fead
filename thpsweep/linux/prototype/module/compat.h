/* SPDX-License-Identifier: GPL-2.0 */
/* The headers, and what Linux 6.12 and 7.3 call differently. Include this first. */
#ifndef SHCOLLAPSE_COMPAT_H
#define SHCOLLAPSE_COMPAT_H
/* An inline function of swapops.h reads this variable, which is not exported to modules. */
#define swap_migration_ad_supported (*k_swap_migration_ad_supported)
#include <linux/module.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/rmap.h>
#include <linux/ksm.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/hugetlb.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/memcontrol.h>
#include <linux/mmu_notifier.h>
#include <linux/userfaultfd_k.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#include <linux/pagevec.h>
#else
#include <linux/folio_batch.h>
#endif
#include <linux/sched/mm.h>
#include <asm/tlbflush.h>

extern bool *k_swap_migration_ad_supported;

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define map_lock __pte_offset_map_lock
#define MAPPING_ANON PAGE_MAPPING_ANON
#define MAPPING_FLAGS PAGE_MAPPING_FLAGS
typedef swp_entry_t leaf_t;
#define leaf_of(pte) pte_to_swp_entry(pte)
#define leaf_young(e) is_migration_entry_young(e)
#define leaf_dirty(e) is_migration_entry_dirty(e)
#define leaf_write(e) is_writable_migration_entry(e)
#define leaf_shared(e) is_readable_migration_entry(e)
typedef int rmp_flags;
#define tree_first anon_vma_interval_tree_iter_first
#define tree_next anon_vma_interval_tree_iter_next
typedef struct rb_root_cached tree_t;
#define tree_of(anon_vma) (&(anon_vma)->rb_root)
#define anon_start(vma) ((vma)->vm_pgoff)
#define anon_index(vma, addr) linear_page_index(vma, addr)
#else
#define map_lock pte_offset_map_lock
#define MAPPING_ANON FOLIO_MAPPING_ANON
#define MAPPING_FLAGS FOLIO_MAPPING_FLAGS
typedef softleaf_t leaf_t;
#define leaf_of(pte) softleaf_from_pte(pte)
#define leaf_young(e) softleaf_is_migration_young(e)
#define leaf_dirty(e) softleaf_is_migration_dirty(e)
#define leaf_write(e) softleaf_is_migration_write(e)
#define leaf_shared(e) softleaf_is_migration_read(e)
typedef enum ttu_flags rmp_flags;
#define tree_first anon_rmap_tree_iter_first
#define tree_next anon_rmap_tree_iter_next
typedef struct anon_vma tree_t;
#define tree_of(anon_vma) (anon_vma)
#define anon_start(vma) vma_start_anon_pgoff(vma)
#define anon_index(vma, addr) linear_anon_page_index(vma, addr)
#define pte_uffd_wp(pte) pte_uffd(pte)
#endif
#endif
