/* What may happen between the check and the first changed pte. */
#include "guest.h"

static int thread_rc;
static void *thread(void *op) { thread_rc = collapse(op, base, 512); return NULL; }
void window(const char *op)
{
	int inplace = !strcmp(op, "inplace");
	uint64_t old[NR], mine[NR];
	pthread_t t;

	for (int get = 0; get < 2; get++) {
		base = region(1);
		family(5);
		pfns(base, old);
		pause_ms = 1500;
		pthread_create(&t, NULL, thread, (void *)op);
		usleep(500000);
		ask(0, 'w', 7, 0);	/* a write copies, as nothing is exclusive */
		ask(0, 'p', 0, 0);
		CHECK(PFN(sh->pfn[7]) != PFN(old[7]), "window: a write reused a linked page");
		if (get) { ask(1, 'v', 9, 0); CHECK(sh->ans[0] == 4096, "vmsplice %ld", sh->ans[0]); }
		ask(2, 'k', 0, 0);	/* a sharer more */
		ask(3, 'x', 0, 0); waitpid(kid[3], NULL, 0); kid[3] = 0;
		ask(4, 'z', 33, 0);
		CHECK(sh->ans[0] == 0, "dropped page reads %lx", sh->ans[0]);
		/* page 7: every other sharer writes it, so that the old page has no mapper left but the link */
		for (int k = 1; k < 5; k++) if (kid[k]) ask(k, 'w', 7, 0);
		pthread_join(t, NULL);
		pause_ms = 0;
		printf("window %s get=%d %s\n", op, get, answer);
		pfns(base, mine);
		if (inplace && get) {
			CHECK(thread_rc == -EAGAIN, "inplace with a late reference: %s", answer);
			CHECK(!memcmp(mine, old, sizeof(mine)), "inplace: not restored");
		} else {
			CHECK(!thread_rc, "window %s: %s", op, answer);
			/* the parent and the grandchild all; 0: 511; 1, 2: 511; 4: 510; 3 is gone */
			CHECK(got("ptes") == 2 * 512 + 3 * 511 + 510, "window ptes %ld", got("ptes"));
			CHECK(got("left") == 0 && got("orphans") == get, "window left %ld orphans %ld", got("left"), got("orphans"));
			CHECK(PFN(mine[0]) % NR == 0 && PFN(mine[511]) == PFN(mine[0]) + 511, "window: not contiguous");
		}
		for (int k = 0; k < 5; k++) if (kid[k]) { ask(k, 'c', 0, 0); CHECK(!sh->ans[0], "window child %d: %ld pages differ", k, sh->ans[0]); }
		for (int i = 0; i < NR; i++) CHECK(!page_bad(base, 0, i), "window parent page %d", i);
		if (get) { ask(1, 'u', 9, 0); CHECK(!sh->ans[0], "the pipe holds something else"); }
		ask(2, 'l', 0, 0);
		CHECK(!sh->ans[0], "grandchild %lx", sh->ans[0]);
		int d = 0;
		for (int i = 0; i < NR; i++) d += PFN(sh->pfn[i]) != PFN(mine[i]);
		CHECK(d == 0, "grandchild born in the window: %d other frames", d);
		leave(5);
		munmap(base, HUGE);
	}
	/* a page that both sharers of two write meanwhile: the second must not reuse it, it has a link */
	base = region(1);
	family(1);
	pfns(base, old);
	pause_ms = 1500;
	pthread_create(&t, NULL, thread, (void *)op);
	usleep(500000);
	ask(0, 'w', 5, 0);
	fill_page(base, 50, 5);
	pfns(base, mine);
	CHECK(PFN(mine[5]) != PFN(old[5]), "the last mapper reused a linked page");
	pthread_join(t, NULL);
	pause_ms = 0;
	printf("window %s last %s\n", op, answer);
	CHECK(!thread_rc && got("ptes") == 2 * 511 && got("orphans") == 0, "last: %s", answer);
	ask(0, 'c', 0, 0);
	CHECK(!sh->ans[0] && !page_bad(base, 50, 5), "last: content");
	leave(1);
	munmap(base, HUGE);
	check_ends("window %s", op);
}
