/* One family: collapse, look at everything. */
#include "guest.h"

void one(const char *op, int n, int slice, int pmd)
{
	uint64_t mine[NR], was[NR];
	int w = 7, old = 0;
	long anon0 = anon_pages(), huge0 = nr_anon_huge(), thp0 = field("/proc/vmstat", "nr_anon_transparent_hugepages");

	base = region(1);
	pfns(base, was);
	family(n);
	for (int k = 0; k < n; k++) { ask(k, 'p', 0, 0); ask(k, 'c', 0, 0); ask(k, 'r', 0, 0); }	/* touch what the checks touch */
	long anon1 = anon_pages();
	CHECK(!collapse(op, base, slice), "%s n=%d: %s", op, n, answer);
	printf("cost %s n=%d slice=%d %s\n", op, n, slice, answer);
	CHECK(got("ptes") == 512L * (n + 1), "ptes %ld", got("ptes"));
	CHECK(got("left") == 0 && got("orphans") == 0, "left %ld orphans %ld", got("left"), got("orphans"));
	if (pmd) {
		CHECK(!collapse("pmd", base, 512), "pmd n=%d: %s", n, answer);
		printf("cost pmd n=%d %s\n", n, answer);
		CHECK(got("mms") == n + 1, "pmds %ld", got("mms"));
	}
	pfns(base, mine);
	CHECK(PFN(mine[0]) % NR == 0 && PFN(mine[0]), "not aligned: %llx", (long long)PFN(mine[0]));
	for (int i = 0; i < NR; i++) {
		CHECK(PFN(mine[i]) == PFN(mine[0]) + i, "page %d not contiguous", i);
		CHECK(!(mine[i] >> 56 & 1), "page %d exclusive", i);
		CHECK(at("/proc/kpagecount", PFN(mine[i])) == (uint64_t)n + 1, "page %d mapcount %lld", i, (long long)at("/proc/kpagecount", PFN(mine[i])));
		uint64_t fl = at("/proc/kpageflags", PFN(mine[i]));
		CHECK(fl >> 22 & 1 && fl >> 12 & 1 && (i ? fl >> 16 & 1 : fl >> 15 & 1), "page %d flags %llx", i, (long long)fl);
		old += at("/proc/kpagecount", PFN(was[i])) != 0;	/* a freed frame may serve somebody else by now */
	}
	CHECK(old < 32, "%d old pages still mapped", old);
	CHECK(at("/proc/kpageflags", PFN(mine[0])) >> 5 & 1, "not on the LRU");
	for (int i = 0; i < NR; i++) CHECK(!page_bad(base, 0, i), "parent: page %d differs", i);
	long rollup[3] = { field("/proc/self/smaps_rollup", "Anonymous"), field("/proc/self/smaps_rollup", "AnonHugePages"), field("/proc/self/status", "RssAnon") };
	CHECK(rollup[2] >= 2048 && rollup[2] < 2048 + 1024, "parent RssAnon %ld", rollup[2]);
	for (int k = 0; k < n; k++) {
		ask(k, 'p', 0, 0);
		CHECK(!memcmp(sh->pfn, mine, sizeof(mine)), "child %d: other frames", k);
		ask(k, 'c', 0, 0);
		CHECK(sh->ans[0] == 0, "child %d: %ld pages differ", k, sh->ans[0]);
		ask(k, 'r', 0, 0);
		CHECK(sh->ans[1] == (pmd ? 2048 : 0), "child %d AnonHugePages %ld", k, sh->ans[1]);
		CHECK(sh->ans[2] >= 2048 && sh->ans[2] < 2048 + 1024, "child %d RssAnon %ld", k, sh->ans[2]);
	}
	CHECK(rollup[1] == (pmd ? 2048 : 0), "parent AnonHugePages %ld", rollup[1]);
	CHECK(labs(anon_pages() - anon1) < 40, "nr_anon_pages %ld -> %ld", anon1, anon_pages());
	CHECK(nr_anon_huge() == huge0 + 1, "nr_anon 2M %ld -> %ld", huge0, nr_anon_huge());
	CHECK(field("/proc/vmstat", "nr_anon_transparent_hugepages") == thp0 + (pmd ? 1 : 0), "nr_anon_thp");

	/* a write in one child: 4 KiB copied, nobody else sees it */
	ask(0, 'w', w, 0);
	ask(0, 'p', 0, 0);
	int moved = 0;
	for (int i = 0; i < NR; i++) moved += PFN(sh->pfn[i]) != PFN(mine[i]);
	CHECK(moved == 1 && PFN(sh->pfn[w]) != PFN(mine[w]), "write moved %d pages", moved);
	CHECK(at("/proc/kpagecount", PFN(mine[w])) == (uint64_t)n && at("/proc/kpagecount", PFN(mine[w + 1])) == (uint64_t)n + 1, "mapcount after write");
	for (int k = 0; k < n; k++) { ask(k, 'c', 0, 0); CHECK(sh->ans[0] == 0, "child %d after write: %ld", k, sh->ans[0]); }
	CHECK(!page_bad(base, 0, w), "parent sees the child's write");
	/* fork afterwards, in a child that wrote and in one that did not */
	ask(0, 'f', 0, 0); CHECK(sh->ans[0] == 0, "grandchild of 0: %lx", sh->ans[0]);
	ask(n - 1, 'f', 0, 0); CHECK(sh->ans[0] == 0, "grandchild of %d: %lx", n - 1, sh->ans[0]);
	/* half leave, then the parent writes, then the rest leave */
	for (int k = 0; k < n / 2; k++) { ask(k, 'x', 0, 0); waitpid(kid[k], NULL, 0); kid[k] = 0; }
	CHECK(at("/proc/kpagecount", PFN(mine[100])) == (uint64_t)n + 1 - n / 2, "mapcount after exits");
	fill_page(base, 50, 11);
	for (int k = n / 2; k < n; k++) { ask(k, 'c', 0, 0); CHECK(sh->ans[0] == 0, "child %d after exits: %ld", k, sh->ans[0]); }
	CHECK(!page_bad(base, 50, 11) && !page_bad(base, 0, 12), "parent content");
	leave(n);
	/* sole owner: split, reuse, content */
	for (int i = 0; i < NR; i++) CHECK(!page_bad(base, i == 11 ? 50 : 0, i), "alone: page %d differs", i);
	for (int i = 0; i < NR; i += 3) fill_page(base, 60, i);
	for (int i = 0; i < NR; i++) CHECK(!page_bad(base, i % 3 ? i == 11 ? 50 : 0 : 60, i), "alone, written: page %d differs", i);
	munmap(base, HUGE);
	usleep(50000);
	uint64_t fl = at("/proc/kpageflags", PFN(mine[0]));
	CHECK(at("/proc/kpagecount", PFN(mine[0])) == 0 && !(fl >> 22 & 1), "folio not freed: flags %llx", (long long)fl);
	CHECK(nr_anon_huge() == huge0, "nr_anon 2M left: %ld -> %ld", huge0, nr_anon_huge());
	CHECK(labs(anon_pages() - anon0) < 40, "nr_anon_pages left: %ld -> %ld", anon0, anon_pages());
	check_ends("%s n=%d slice=%d pmd=%d", op, n, slice, pmd);
}
