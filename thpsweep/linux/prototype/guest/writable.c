/* Pages that only the caller has: writable, so they are write-protected before they are copied. */
#include "guest.h"

/* Write to a page that is mapped read-only: who has it alone keeps the frame, anyone else gets a copy. */
static int keeps_frame(int i)
{
	uint64_t before[NR], after[NR];

	mprotect(base + i * 4096, 4096, PROT_READ);
	mprotect(base + i * 4096, 4096, PROT_READ | PROT_WRITE);
	pfns(base, before);
	fill_page(base, 50, i);
	pfns(base, after);
	return PFN(before[i]) == PFN(after[i]);
}

static void some_own(const char *op)
{
	int switches = !strcmp(op, "switch");

	base = region(1);
	family(3);
	for (int i = 40; i < 50; i++)
		fill_page(base, 0, i);
	CHECK(!collapse(op, base, 512), "own pages: %s", answer);
	CHECK(got("ptes") == 502 * 4 + 10, "own pages: %s", answer);
	CHECK(got("protected") == (switches ? 10 : 0), "own pages: %s", answer);
	check_children(3, "own pages");
	CHECK(keeps_frame(45) == !switches, "own pages: the page is%s exclusive any more", switches ? "" : " not");
	CHECK(!keeps_frame(100), "a shared page is exclusive");
	for (int i = 0; i < NR; i++)
		CHECK(!page_bad(base, i == 45 || i == 100 ? 50 : 0, i), "own pages: page %d of the caller", i);
	check_children(3, "own pages, after a write");
	leave(3);
	munmap(base, HUGE);
}

static int writing, stop;
static void *writer(void *unused)	/* counts in page 12, as fast as it can */
{
	volatile uint64_t *p = (uint64_t *)(base + 12 * 4096);
	uint64_t n = *p;

	(void)unused;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (*p != n) {
			fail("a thread of the caller lost its write %lu: reads %lu", n, *p);
			break;
		}
		*p = ++n;
		__atomic_store_n(&writing, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* All of it the caller's own, and a thread of the caller that writes while the module sleeps: no write may get lost. */
static void all_own(const char *op)
{
	pthread_t t;

	pause_ms = 100;
	for (int round = 0; round < 2; round++) {
		base = region(1);
		stop = writing = 0;
		pthread_create(&t, NULL, writer, NULL);
		while (!__atomic_load_n(&writing, __ATOMIC_RELAXED))
			usleep(1000);
		CHECK(!collapse(op, base, 512), "sole owner: %s", answer);
		CHECK(got("ptes") >= 511 && got("ptes") <= 512, "sole owner: %s", answer);
		usleep(20000);
		stop = 1;
		pthread_join(t, NULL);
		for (int i = 0; i < NR; i++)
			CHECK(i == 12 || !page_bad(base, 0, i), "sole owner: page %d differs", i);
		munmap(base, HUGE);
	}
	pause_ms = 0;
}

void writable(const char *op)
{
	some_own(op);
	all_own(op);
	check_ends("writable %s", op);
}
