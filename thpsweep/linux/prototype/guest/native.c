/* Does the rest of the kernel take the folio for one of its own? It splits, migrates, collapses and unmaps it. */
#include "guest.h"

#define STATS "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/"
#define CHILDREN 6

static uint64_t was[NR], mine[NR];

static void split(const char *op)
{
	char range[64];

	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	snprintf(range, sizeof(range), "%d,0x%lx,0x%lx", getpid(), (unsigned long)base, (unsigned long)base + HUGE);
	write_file("/sys/kernel/debug/split_huge_pages", range);
	CHECK(!wrong_pages(mine, CHILDREN), "split: content or frames");
	CHECK(!memcmp(was, mine, sizeof(was)), "split: pages moved");
	CHECK(!(at("/proc/kpageflags", PFN(mine[5])) >> 16 & 1), "split: still compound");
	CHECK(!collapse(op, base, NR), "collapse after a split: %s", answer);
	CHECK(!wrong_pages(mine, CHILDREN), "collapse after a split: content or frames");
}

static void migrate(void)	/* to the other NUMA node, where there is one */
{
	void *page[1] = { base };
	int node[1], status[1];

	syscall(SYS_move_pages, 0, 1, page, NULL, status, 0);
	node[0] = !status[0];
	syscall(SYS_move_pages, 0, 1, page, node, status, 4 /* MPOL_MF_MOVE_ALL */);
	CHECK(!wrong_pages(mine, CHILDREN), "migration: content or frames");
	printf("native migrate status=%d moved=%d\n", status[0], PFN(mine[0]) != PFN(was[0]));
}

static void collapse_again(void)	/* mainline may copy the caller off the folio; nobody may lose content */
{
	int rc = madvise(base, HUGE, MADV_COLLAPSE), error = rc ? errno : 0;

	pfns(base, mine);
	check_children(CHILDREN, "MADV_COLLAPSE");
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, 0, i), "MADV_COLLAPSE: page %d differs", i);
	printf("native madv_collapse rc=%d errno=%d left=%d\n", rc, error, PFN(mine[5]) != PFN(was[5]));
}

static void half(void)	/* every sharer leaves half of it: partially mapped, and queued for a split */
{
	for (int k = 0; k < CHILDREN; k++)
		for (int i = 0; i < NR / 2; i++)
			ask(k, 'w', i);
	for (int i = 0; i < NR / 2; i++)
		fill_page(base, 0, i);
	CHECK(field(STATS "nr_anon_partially_mapped", "") > 0, "not taken for partially mapped");
	check_children(CHILDREN, "partially mapped");
}

void native(const char *op, int pmd)
{
	for (int what = 0; what < 4; what++) {
		long huge = nr_anon_huge();

		base = region(1);
		family(CHILDREN);
		as = kid[2];	/* any sharer will do */
		CHECK(!collapse(op, base, NR), "native: %s", answer);
		as = 0;
		if (pmd)
			CHECK(!collapse("pmd", base, NR), "native: %s", answer);
		pfns(base, was);
		switch (what) {
		case 0: split(op); break;
		case 1: migrate(); break;
		case 2: collapse_again(); break;
		case 3: half(); break;
		}
		leave(CHILDREN);
		munmap(base, HUGE);
		usleep(30000);
		CHECK(nr_anon_huge() == huge, "native %d: nr_anon 2M %ld -> %ld", what, huge, nr_anon_huge());
	}
	check_ends("native %s pmd=%d", op, pmd);
}
