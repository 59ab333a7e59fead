/* Slots without a source: empty for all, empty for the caller alone, empty for one sharer over a page of the others. */
#include "guest.h"

static void empty(int from, int n) { madvise(base + from * 4096, (size_t)n * 4096, MADV_DONTNEED); }

/* Nobody has pages 100 to 199; a read of page 150 maps the zero page. The PMD step fills them. */
static void empty_for_all(void)
{
	uint64_t mine[NR];
	long rss;

	base = region(1);
	empty(100, 100);
	family(3);
	CHECK(*(volatile uint64_t *)(base + 150 * 4096) == 0, "zero page");
	CHECK(!collapse("switch", base, 512), "holes: %s", answer);
	CHECK(got("ptes") == 412 * 4 && got("copied") == 412 && got("cleared") == 100, "holes: %s", answer);
	pfns(base, mine);
	CHECK(!(mine[110] >> 63) && PFN(mine[200]) == PFN(mine[0]) + 200, "a hole was filled, or the frames do not line up");
	leave(3);
	munmap(base, HUGE);
	base = region(1);
	empty(100, 100);
	family(3);
	rss = field("/proc/self/status", "RssAnon");
	CHECK(!collapse("switch_pmd", base, 512) && got("mms") == 4 && got("filled") == 400, "holes, pmd: %s", answer);
	rss = field("/proc/self/status", "RssAnon") - rss;
	CHECK(rss >= 400 && rss < 420, "100 filled slots add %ld kB to RssAnon", rss);
	for (int i = 100; i < 200; i++)
		CHECK(*(volatile uint64_t *)(base + i * 4096) == 0, "hole %d reads %lx", i, *(long *)(base + i * 4096));
	for (int i = 0; i < NR; i++)
		CHECK(i / 100 == 1 || !page_bad(base, 0, i), "page %d differs", i);
	fill_page(base, 50, 150);
	CHECK(!page_bad(base, 50, 150) && *(uint64_t *)(base + 151 * 4096) == 0, "a write into a filled hole");
	leave(3);
	munmap(base, HUGE);
}

/* The caller lacks page 20, the children have it: no source, their page stays where it is, and nobody gets a PMD over it. */
static void empty_for_the_caller(void)
{
	uint64_t mine[NR], was[NR];
	int wrong = 0;

	base = region(1);
	family(2);
	empty(20, 1);
	ask(0, 'p', 0);
	memcpy(was, sh->pfn, sizeof(was));
	CHECK(!collapse("switch_pmd", base, 512), "the caller's hole: %s", answer);
	CHECK(got("ptes") == 511 * 3 && got("replaced") == 511 && got("mms") == 1 && got("filled") == 1, "the caller's hole: %s", answer);
	pfns(base, mine);
	for (int k = 0; k < 2; k++) {
		ask(k, 'p', 0);
		CHECK(PFN(sh->pfn[20]) == PFN(was[20]), "child %d lost the page that the caller lacks", k);
		for (int i = 0; i < NR; i++)
			wrong += i != 20 && PFN(sh->pfn[i]) != PFN(mine[i]);
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "child %d: %ld pages differ", k, sh->ans[0]);
	}
	CHECK(!wrong, "%d other frames", wrong);
	CHECK(*(uint64_t *)(base + 20 * 4096) == 0, "the caller reads somebody's page");
	leave(2);
	munmap(base, HUGE);
}

/* Child 1 dropped page 33 (and then wrote its own); child 0 dropped page 34 and must go on reading zeroes. */
static void empty_for_a_sharer(void)
{
	base = region(1);
	family(3);
	ask(1, 'z', 33);
	ask(0, 'd', 34);
	CHECK(!collapse("switch_pmd", base, 512), "a sharer's hole: %s", answer);
	CHECK(got("mms") == 2 && got("skipped") == 2, "a PMD over somebody's page: %s", answer);
	ask(0, 'n', 34);
	CHECK(!sh->ans[0], "a hole shows the page of others: %lx", sh->ans[0]);
	for (int k = 1; k < 3; k++) {
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "child %d: %ld pages differ", k, sh->ans[0]);
	}
	leave(3);
	munmap(base, HUGE);
}

void holes(void)
{
	long huge = nr_anon_huge();

	empty_for_all();
	empty_for_the_caller();
	empty_for_a_sharer();
	usleep(50000);
	CHECK(nr_anon_huge() == huge, "nr_anon 2M left: %ld -> %ld", huge, nr_anon_huge());
	check_ends("holes");
}
