/* incremental: writes, forks, exits between the slices. */
#include "guest.h"

static long run_slices(int ptes, long *sum)	/* to the end; returns how many */
{
	long n = 0;

	do {
		CHECK(!collapse("slice", base, ptes), "slice: %s", answer);
		*sum += got("ptes");
		n++;
	} while (got("left") > 0 && n < 10000);
	return n;
}

/* Without events: as many ptes, flushes and slices as the formula says, and the end of switch. */
static void undisturbed(void)
{
	long sum = 0, n;
	uint64_t mine[NR];

	base = region(1);
	family(3);
	CHECK(!collapse("begin", base, 512), "begin: %s", answer);
	CHECK(collapse("begin", base, 512) == -EBUSY, "a second begin: %s", answer);
	n = run_slices(200, &sum);
	CHECK(sum == 4 * 512 && n == 11, "slices: %ld ptes in %ld slices", sum, n);
	CHECK(!wrong_pages(mine, 3) && PFN(mine[0]) % NR == 0, "slices: content or frames");
	leave(3);
	munmap(base, HUGE);
}

static void disturbed(void)
{
	long sum = 0;
	uint64_t mine[NR];

	base = region(1);
	family(5);
	CHECK(!collapse("begin", base, 512), "begin: %s", answer);
	CHECK(!collapse("slice", base, 700), "slice: %s", answer);
	sum = got("ptes");
	ask(0, 'w', 7);		/* may be switched already, or not */
	ask(4, 'w', 8);
	fill_page(base, 0, 9);
	ask(2, 'k', 0);		/* a sharer more, with old pages */
	leave_one(3);
	CHECK(!collapse("slice", base, 700), "slice: %s", answer);
	sum += got("ptes");
	ask(1, 'v', 11);		/* a late reference */
	run_slices(700, &sum);
	/* the parent, 0, 1, 2, 4 and the grandchild, less what was written or dropped before it was switched */
	CHECK(sum >= 6 * 512 - 4 && sum <= 6 * 512 + 512, "disturbed: %ld ptes", sum);
	pfns(base, mine);
	for (int k = 0; k < 5; k++)
		if (kid[k]) {
			ask(k, 'c', 0);
			CHECK(!sh->ans[0], "disturbed child %d: %ld pages differ", k, sh->ans[0]);
		}
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, 0, i), "disturbed parent: page %d", i);
	CHECK(PFN(mine[0]) % NR == 0 && PFN(mine[511]) == PFN(mine[0]) + 511, "disturbed: not contiguous");
	ask(1, 'u', 11);
	CHECK(!sh->ans[0], "the pipe holds something else");
	ask(2, 'l', 0);
	CHECK(!sh->ans[0], "grandchild %lx", sh->ans[0]);
	for (int i = 0; i < NR; i++)
		CHECK(PFN(sh->pfn[i]) == PFN(mine[i]) || i == 9, "grandchild: page %d on another frame", i);
	leave(5);
	munmap(base, HUGE);
}

/* Half done and given up: two valid sets of pages. */
static void abandoned(void)
{
	base = region(1);
	family(3);
	CHECK(!collapse("begin", base, 512) && !collapse("slice", base, 1000) && got("ptes") == 1000, "half: %s", answer);
	CHECK(!collapse("abandon", base, 512) && got("left") == 512, "abandon: %s", answer);
	for (int k = 0; k < 3; k++) {
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "abandoned child %d: %ld pages differ", k, sh->ans[0]);
		ask(k, 'w', 5);
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "abandoned child %d after a write", k);
	}
	leave(3);
	munmap(base, HUGE);
}

void slices(void)
{
	long huge = nr_anon_huge();

	undisturbed();
	disturbed();
	abandoned();
	usleep(50000);
	CHECK(nr_anon_huge() == huge, "nr_anon 2M left: %ld -> %ld", huge, nr_anon_huge());
	check_ends("slices");
}
