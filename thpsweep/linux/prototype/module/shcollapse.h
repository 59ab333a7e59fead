/* SPDX-License-Identifier: GPL-2.0 */
/* One attempt to collapse a region, and what is shared between the files of this module. */
#ifndef SHCOLLAPSE_H
#define SHCOLLAPSE_H
#include "symbols.h"

#define NR HPAGE_PMD_NR

/* What an attempt did: the line that /proc/shcollapse shows. Times are rdtsc: instructions under qemu -icount. */
struct result {
	char op[16];
	int rc;
	const char *code;		/* as enum scan_result without SCAN_ */
	const char *why;
	u64 link, protect, alloc, copy, freeze, walk, release, pmd;
	u64 ptes, protected, visits, walks, flushes, left, orphans, mms, skipped, copied, cleared, replaced, filled;
	unsigned long pfn;
};
extern struct result res;	/* of the last command; commands come one at a time */

struct job {
	struct mm_struct *mm;		/* of the caller */
	unsigned long addr;		/* in the caller, 2 MiB aligned */
	unsigned int slice, pause_ms;
	struct page *old[NR];		/* NULL: the slot has no source */
	bool linked[NR], locked[NR];
	int n_sources;
	bool over;			/* overwrite ptes instead of clearing them first */
	struct folio *new;
	struct anon_vma *root;		/* with a reference */
	pgoff_t pgoff;
	const void *cursor;		/* the mm that the last slice ended in; only ever compared */
	pte_t was[NR];			/* scratch of one pte lock hold */
};

/* Refuse: the error, the kernel's name of the reason, and a word for a person. */
#define FAIL(err, scan_result, text) do { res.code = scan_result; res.why = text; return err; } while (0)

static inline u64 now(void) { return rdtsc_ordered(); }
/* A no-op that a TCG plugin can recognise. */
#define MARK(n) asm volatile(".byte 0x0f, 0x1f, 0x80; .long 0x51570000 + %c0" :: "i"(n))

/* page_tables.c */
pmd_t *find_pmd(struct mm_struct *mm, unsigned long addr);
unsigned long addr_in_vma(struct vm_area_struct *vma, pgoff_t pgoff);
bool vma_ok(struct vm_area_struct *vma);
bool skip_vma(struct vm_area_struct *vma);
pte_t make_pte(struct job *j, struct vm_area_struct *vma, int i, bool young, bool dirty, bool soft);

/* sources.c */
int link_sources(struct job *j);
int protect_sources(struct job *j);
void unlock_sources(struct job *j);
int drop_unmapped(struct job *j);
void unlink_sources(struct job *j);

/* folio.c */
int alloc_new(struct job *j);
void copy_all(struct job *j);

/* switch.c */
int switch_vma(struct job *j, pte_t *was, struct vm_area_struct *vma, int budget);
void switch_region(struct job *j);
void switch_pages(struct job *j);

/* inplace.c */
void set_entries(struct job *j);
void put_back(struct job *j);
int freeze_pages(struct job *j);
void restore_pages(struct job *j);

/* pmd.c */
int install_pmds(struct job *j, const bool *has_source);

/* slices.c, fork.c */
int begin(const struct job *caller, bool deferred);
int slice(unsigned int budget);
int visit(const struct job *caller);
int abandon(void);
extern unsigned long forked_ptes;
int watch_forks(void);
void forward_children(struct job *j);
void forget_forks(void);
void forget_source(struct job *j, int i);
#endif
