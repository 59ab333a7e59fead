/* Does the rest of the kernel take the folio for one of its own? */
#include "guest.h"

void native(const char *op, int pmd)
{
	int n = 6;
	uint64_t was[NR], mine[NR];
	char s[64];
	void *pg[1]; int node[1], st[1], d;

	for (int what = 0; what < 4; what++) {
		long huge0 = nr_anon_huge();
		base = region(1);
		family(n);
		as = kid[2];
		CHECK(!collapse(op, base, 512), "native %s", answer);
		as = 0;
		if (pmd) CHECK(!collapse("pmd", base, 512), "native %s", answer);
		pfns(base, was);
		if (what == 0) {	/* split */
			mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
			snprintf(s, sizeof(s), "%d,0x%lx,0x%lx", getpid(), (unsigned long)base, (unsigned long)base + HUGE);
			int rc = write_file("/sys/kernel/debug/split_huge_pages", s);
			d = wrong_pages(mine, n);
			uint64_t fl = at("/proc/kpageflags", PFN(mine[5]));
			printf("native split rc=%d: other frames %d, same frames as before %d, compound %d, nr_anon %ld -> %ld\n", rc, d, !memcmp(was, mine, sizeof(was)), (int)(fl >> 16 & 1), huge0, nr_anon_huge());
			CHECK(!d && !memcmp(was, mine, sizeof(was)) && !(fl >> 16 & 1), "split");
			CHECK(!collapse(op, base, 512), "collapse after split %s", answer);
			CHECK(!wrong_pages(mine, n), "after split");
		} else if (what == 1) {	/* migrate to the other node */
			pg[0] = base;
			syscall(SYS_move_pages, 0, 1, pg, NULL, st, 0);
			node[0] = !st[0];
			long rc = syscall(SYS_move_pages, 0, 1, pg, node, st, 4);
			d = wrong_pages(mine, n);
			printf("native migrate rc=%ld status=%d: other frames %d, moved %d, contiguous %d\n", rc, st[0], d, PFN(mine[0]) != PFN(was[0]), PFN(mine[511]) == PFN(mine[0]) + 511);
			CHECK(!d, "migrate");
		} else if (what == 2) {	/* MADV_COLLAPSE by the parent: mainline copies its own product again? */
			int rc = madvise(base, HUGE, MADV_COLLAPSE), e = rc ? errno : 0;
			ask(0, 'p', 0, 0);
			pfns(base, mine);
			printf("native madv_collapse rc=%d errno=%d: parent left the family's folio: %d, child still on it: %d\n", rc, e, PFN(mine[5]) != PFN(was[5]), PFN(sh->pfn[5]) == PFN(was[5]));
		} else {	/* drop half of the region in every sharer: partially mapped, queued for a split */
			long dfr = field("/proc/vmstat", "thp_deferred_split_page");
			for (int k = 0; k < n; k++) for (int i = 0; i < 256; i++) ask(k, 'w', i, 0);
			for (int i = 0; i < 256; i++) fill_page(base, 0, i);
			printf("native partial: deferred splits %ld, partially mapped %ld\n", field("/proc/vmstat", "thp_deferred_split_page") - dfr, field("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/nr_anon_partially_mapped", ""));
			for (int k = 0; k < n; k++) { ask(k, 'c', 0, 0); CHECK(!sh->ans[0], "partial %d", k); }
		}
		leave(n);
		munmap(base, HUGE);
		usleep(30000);
		CHECK(nr_anon_huge() == huge0, "native %d: nr_anon %ld -> %ld", what, huge0, nr_anon_huge());
	}
	check_ends("native %s pmd=%d", op, pmd);
}
