/* deferred: old and new linked for long; each process is switched when it is visited; a child forked gets the folio. */
#include "guest.h"

static void begin(int n)
{
	base = region(1);
	family(n);
	CHECK(!collapse("defer", base, 512) && got("ptes") == 0, "defer: %s", answer);
	CHECK(!collapse("visit", base, 512) && got("ptes") == 512 && got("flushes") == 1, "visit of the caller: %s", answer);
}

static void visit(int k, long ptes)
{
	as = kid[k];
	CHECK(!collapse("visit", base, 512) == !!ptes && got("ptes") == ptes, "visit of child %d, %ld expected: %s", k, ptes, answer);
	as = 0;
}

static void to_the_end(void)
{
	uint64_t mine[NR];

	begin(4);
	CHECK(got("left") == 512, "left: %s", answer);
	visit(0, 512);
	visit(0, 0);
	ask(1, 'w', 30);		/* copies, whether old or new */
	ask(0, 'w', 31);
	ask(2, 'k', 0);		/* child 2 still maps the old pages; its child gets the folio at the fork */
	visit(2, 512);
	CHECK(got("forked") == 512, "the fork: %s", answer);
	leave_one(3);
	visit(1, 511);
	CHECK(got("left") == 0 && collapse("visit", base, 512) == -EINVAL && refused("PTE_MAPPED_HUGEPAGE"), "not at its end: %s", answer);
	pfns(base, mine);
	check_children(3, "deferred");
	ask(2, 'l', 0);
	CHECK(!sh->ans[0], "grandchild %lx", sh->ans[0]);
	CHECK(!memcmp(sh->pfn, mine, sizeof(mine)), "the grandchild is on other frames");
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, 0, i), "deferred parent: page %d", i);
	leave(4);
	munmap(base, HUGE);
}

/*
 * Page 60 loses its last mapper, and its link with it. The frame is free then; on the same CPU, child 1 gets it back at
 * once, in the same place: now it is child 1's own, and no source any more.
 */
static void broken_link(void)
{
	on_cpu(0);
	begin(2);
	ask(0, 'w', 60);
	ask(1, 'd', 60);
	visit(0, 511);
	CHECK(got("left") == 511, "a link of a page without a mapper remains: %s", answer);
	ask(1, 'w', 60);
	visit(1, 511);
	CHECK(got("left") == 0 && got("orphans") == 0, "not at its end: %s", answer);
	check_children(2, "broken link");
	leave(2);
	munmap(base, HUGE);
	on_cpu(1);
}

static void *starting(void *unused)
{
	(void)unused;
	CHECK(!collapse("defer", base, NR), "defer: %s", answer);
	return NULL;
}

/* A child that is forked before the pages are copied keeps the old ones: the folio has no content yet. */
static void fork_before_the_copy(void)
{
	pthread_t t;

	base = region(1);
	family(1);
	pause_ms = 1000;
	pthread_create(&t, NULL, starting, NULL);
	usleep(400000);
	ask(0, 'k', 0);
	pthread_join(t, NULL);
	pause_ms = 0;
	CHECK(got("forked") == 0, "a child got a folio without content: %s", answer);
	ask(0, 'l', 0);
	CHECK(!sh->ans[0], "grandchild %lx", sh->ans[0]);
	CHECK(!collapse("abandon", base, NR), "abandon: %s", answer);
	leave(1);
	munmap(base, HUGE);
}

void deferred(void)
{
	long huge = nr_anon_huge();

	fork_before_the_copy();
	to_the_end();
	broken_link();
	begin(2);
	CHECK(!collapse("abandon", base, 512) && got("left") == 512, "abandon: %s", answer);
	leave(2);
	munmap(base, HUGE);
	usleep(50000);
	CHECK(nr_anon_huge() == huge, "nr_anon 2M left: %ld -> %ld", huge, nr_anon_huge());
	check_ends("deferred");
}
