/* One family from its birth to its end: a collapse, and after each event all that /proc shows of it. */
#include "guest.h"

#define HUGE_KIB 2048
#define SLACK_KIB 1024	/* of RssAnon: what else a process of ours has */

static uint64_t mine[NR];	/* the caller's frames after the collapse */
static int n;			/* children */

static int mapped(int i) { return at("/proc/kpagecount", PFN(mine[i])); }
static uint64_t flags(int i) { return at("/proc/kpageflags", PFN(mine[i])); }
static long thps(void) { return field("/proc/vmstat", "nr_anon_transparent_hugepages"); }

static void check_parent(const char *when, int written, int tag)
{
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, i == written ? tag : 0, i), "%s: parent: page %d differs", when, i);
}

static void do_collapse(const char *op, int slice, int pmd)
{
	CHECK(!collapse(op, base, slice), "%s n=%d: %s", op, n, answer);
	CHECK(got("ptes") == 512L * (n + 1), "ptes %ld", got("ptes"));
	CHECK(got("left") == 0 && got("orphans") == 0, "left %ld orphans %ld", got("left"), got("orphans"));
	if (!pmd)
		return;
	CHECK(!collapse("pmd", base, NR), "pmd n=%d: %s", n, answer);
	CHECK(got("mms") == n + 1, "pmds %ld", got("mms"));
}

/* Aligned, contiguous, one folio on the LRU that everyone maps and nobody has for itself; the old pages are free. */
static void check_frames(const uint64_t *was)
{
	int old = 0;

	CHECK(PFN(mine[0]) % NR == 0 && PFN(mine[0]), "not aligned: %lx", PFN(mine[0]));
	for (int i = 0; i < NR; i++) {
		uint64_t fl = flags(i);

		CHECK(PFN(mine[i]) == PFN(mine[0]) + i, "page %d not contiguous", i);
		CHECK(!(mine[i] >> 56 & 1), "page %d exclusive", i);
		CHECK(mapped(i) == n + 1, "page %d mapcount %d", i, mapped(i));
		CHECK(fl >> 22 & 1 && fl >> 12 & 1 && (i ? fl >> 16 & 1 : fl >> 15 & 1), "page %d flags %lx", i, fl);
		old += at("/proc/kpagecount", PFN(was[i])) != 0;	/* a freed frame may serve somebody else by now */
	}
	CHECK(old < 32, "%d old pages still mapped", old);
	CHECK(flags(0) >> 5 & 1, "not on the LRU");
}

static void check_processes(int pmd)
{
	long huge = field("/proc/self/smaps_rollup", "AnonHugePages"), rss = field("/proc/self/status", "RssAnon");

	CHECK(huge == (pmd ? HUGE_KIB : 0), "parent AnonHugePages %ld", huge);
	CHECK(rss >= HUGE_KIB && rss < HUGE_KIB + SLACK_KIB, "parent RssAnon %ld", rss);
	check_parent("after the collapse", -1, 0);
	check_children(n, "after the collapse");
	for (int k = 0; k < n; k++) {
		CHECK(!other_frames(k, mine), "child %d: other frames", k);
		ask(k, 'r', 0);
		CHECK(sh->ans[1] == (pmd ? HUGE_KIB : 0), "child %d AnonHugePages %ld", k, sh->ans[1]);
		CHECK(sh->ans[2] >= HUGE_KIB && sh->ans[2] < HUGE_KIB + SLACK_KIB, "child %d RssAnon %ld", k, sh->ans[2]);
	}
}

/* A write in one child copies 4 KiB, and nobody else sees it. */
static void write_in_a_child(int i)
{
	ask(0, 'w', i);
	CHECK(other_frames(0, mine) == 1 && PFN(sh->pfn[i]) != PFN(mine[i]), "a write moved other pages");
	CHECK(mapped(i) == n && mapped(i + 1) == n + 1, "mapcounts after a write: %d %d", mapped(i), mapped(i + 1));
	check_children(n, "after a write");
	check_parent("after a child's write", -1, 0);
}

/* Fork in a child that wrote and in one that did not; half leave; the parent writes; the rest leave. */
static void forks_and_exits(void)
{
	for (int k = 0; k < n; k += n > 1 ? n - 1 : 1) {
		ask(k, 'f', 0);
		CHECK(sh->ans[0] == 0, "grandchild of %d: %lx", k, sh->ans[0]);
	}
	for (int k = 0; k < n / 2; k++)
		leave_one(k);
	CHECK(mapped(100) == n + 1 - n / 2, "mapcount after exits %d", mapped(100));
	fill_page(base, 50, 11);
	check_children(n, "after exits");
	check_parent("after exits", 11, 50);
	leave(n);
}

static void alone(void)
{
	check_parent("alone", 11, 50);
	for (int i = 0; i < NR; i += 3)
		fill_page(base, 60, i);
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, i % 3 ? i == 11 ? 50 : 0 : 60, i), "alone, written: page %d differs", i);
	munmap(base, HUGE);
	usleep(50000);
	CHECK(mapped(0) == 0 && !(flags(0) >> 22 & 1), "folio not freed: flags %lx", flags(0));
}

void one(const char *op, int children, int slice, int pmd)
{
	long anon_before = anon_pages(), anon, huge = nr_anon_huge(), thp = thps();
	uint64_t was[NR];

	n = children;
	base = region(1);
	pfns(base, was);
	family(n);
	for (int k = 0; k < n; k++) {	/* touch what the checks touch */
		ask(k, 'p', 0);
		ask(k, 'c', 0);
		ask(k, 'r', 0);
	}
	anon = anon_pages();
	do_collapse(op, slice, pmd);
	pfns(base, mine);
	check_frames(was);
	check_processes(pmd);
	CHECK(labs(anon_pages() - anon) < 40, "nr_anon_pages %ld -> %ld", anon, anon_pages());
	CHECK(nr_anon_huge() == huge + 1, "nr_anon 2M %ld -> %ld", huge, nr_anon_huge());
	CHECK(thps() == thp + !!pmd, "nr_anon_transparent_hugepages %ld -> %ld", thp, thps());
	write_in_a_child(7);
	forks_and_exits();
	alone();
	CHECK(nr_anon_huge() == huge, "nr_anon 2M left: %ld -> %ld", huge, nr_anon_huge());
	CHECK(labs(anon_pages() - anon_before) < 40, "nr_anon_pages left: %ld -> %ld", anon_before, anon_pages());
	check_ends("%s n=%d slice=%d pmd=%d", op, n, slice, pmd);
}
