/* What may happen between the check and the first changed pte: the module sleeps there. */
#include "guest.h"

static uint64_t old[NR], mine[NR];
static pthread_t thread;
static int rc;

static void *collapsing(void *op)
{
	rc = collapse(op, base, NR);
	return NULL;
}

static void open_window(const char *op, int children)
{
	base = region(1);
	family(children);
	pfns(base, old);
	pause_ms = 1500;
	pthread_create(&thread, NULL, collapsing, (void *)op);
	usleep(500000);
}

static void close_window(const char *op)
{
	pthread_join(thread, NULL);
	pause_ms = 0;
	pfns(base, mine);
	printf("window %s %s\n", op, answer);
}

/* Writes, a drop, a fork and an exit; page 7 is written by every child, so that one mapper and the link are left. */
static void events(int reference)
{
	ask(0, 'w', 7);
	ask(0, 'p', 0);
	CHECK(PFN(sh->pfn[7]) != PFN(old[7]), "window: a write reused a linked page");
	if (reference) {
		ask(1, 'v', 9);
		CHECK(sh->ans[0] == 4096, "vmsplice %ld", sh->ans[0]);
	}
	ask(2, 'k', 0);
	leave_one(3);
	ask(4, 'z', 33);
	CHECK(sh->ans[0] == 0, "dropped page reads %lx", sh->ans[0]);
	for (int k = 1; k < 5; k++)
		if (kid[k])
			ask(k, 'w', 7);
}

static void result(const char *op, int reference)
{
	if (reference && !strcmp(op, "inplace")) {
		CHECK(rc == -EAGAIN && refused("PAGE_COUNT"), "inplace with a late reference: %s", answer);
		CHECK(!memcmp(mine, old, sizeof(mine)), "inplace: not put back");
		return;
	}
	CHECK(!rc, "window %s: %s", op, answer);
	/* the parent and the grandchild 512, children 0, 1 and 2 without page 7, child 4 without 7 and 33; 3 is gone */
	CHECK(got("ptes") == 2 * 512 + 3 * 511 + 510, "window ptes %ld", got("ptes"));
	CHECK(got("left") == 0 && got("orphans") == reference, "window left %ld orphans %ld", got("left"), got("orphans"));
	CHECK(PFN(mine[0]) % NR == 0 && PFN(mine[511]) == PFN(mine[0]) + 511, "window: not contiguous");
}

static void with_events(const char *op, int reference)
{
	int d = 0;

	open_window(op, 5);
	events(reference);
	close_window(op);
	result(op, reference);
	check_children(5, "window");
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, 0, i), "window: parent: page %d", i);
	if (reference) {
		ask(1, 'u', 9);
		CHECK(!sh->ans[0], "the pipe holds something else");
	}
	ask(2, 'l', 0);
	CHECK(!sh->ans[0], "grandchild %lx", sh->ans[0]);
	for (int i = 0; i < NR; i++)
		d += PFN(sh->pfn[i]) != PFN(mine[i]);
	CHECK(d == 0, "grandchild born in the window: %d other frames", d);
	leave(5);
	munmap(base, HUGE);
}

/* Both of two sharers write the same page: the second is its last mapper and must not reuse it, it has a link. */
static void last_mapper(const char *op)
{
	open_window(op, 1);
	ask(0, 'w', 5);
	fill_page(base, 50, 5);
	pfns(base, mine);
	CHECK(PFN(mine[5]) != PFN(old[5]), "the last mapper reused a linked page");
	close_window(op);
	CHECK(!rc && got("ptes") == 2 * 511 && got("orphans") == 0, "last: %s", answer);
	check_children(1, "last mapper");
	CHECK(!page_bad(base, 50, 5), "last mapper: the parent's page differs");
	leave(1);
	munmap(base, HUGE);
}

void window(const char *op)
{
	with_events(op, 0);
	with_events(op, 1);
	last_mapper(op);
	check_ends("window %s", op);
}
