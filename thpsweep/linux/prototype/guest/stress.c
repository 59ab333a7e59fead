/* Everything at once: children write, fork, exit, while regions are collapsed again and again. */
#include "guest.h"

static void write_page(int id, int i, char *own)
{
	fill_page(base, 100 + id, i);
	own[i] = 1;
}

/* A grandchild looks at some pages, writes one, and leaves; its status says whether all was right. */
static int grandchild(int id, int i, const char *own, unsigned seed)
{
	int status;
	pid_t p = fork();

	if (!p) {
		for (int t = 0; t < 40; t++) {
			int u = rand_r(&seed) % NR;

			if (page_bad(base, own[u] ? 100 + id : 0, u))
				_exit(1);
		}
		fill_page(base, 7, i);
		_exit(page_bad(base, 7, i));
	}
	waitpid(p, &status, 0);
	return status;
}

static void busy_child(int id, unsigned seed, volatile int *go)
{
	char own[NR] = {0};

	while (!*go)
		sched_yield();
	for (int q = 0; q < 60; q++) {
		int i = rand_r(&seed) % NR, x = rand_r(&seed) % 20;

		if (x < 4)
			write_page(id, i, own);
		else if (x == 5 && grandchild(id, i, own, seed))
			_exit(2);
		else if (page_bad(base, own[i] ? 100 + id : 0, i))
			_exit(3);
	}
	for (int i = 0; i < NR; i++)
		if (page_bad(base, own[i] ? 100 + id : 0, i))
			_exit(4);
	_exit(0);
}

/* Go on with a job that takes several commands; what cannot be finished is given up. */
static void go_on(const char *op, int n)
{
	for (int k = 0; k < n && got("left"); k++) {
		as = !strcmp(op, "defer") ? kid[k] : 0;
		collapse(as ? "visit" : "slice", base, 600);
		as = 0;
	}
	collapse("abandon", base, 512);
}

static int attempt(const char *op, int n, int r, int pmd, long *left)
{
	if (collapse(op, base, r % 2 ? 512 : 16))
		return 0;
	if (!strcmp(op, "begin") || !strcmp(op, "defer")) {
		collapse(!strcmp(op, "begin") ? "slice" : "visit", base, 600);
		go_on(op, n);
	}
	*left += got("left");
	if (pmd)
		collapse("pmd", base, 512);
	return 1;
}

void stress(const char *op, int n, int rounds, int pmd)
{
	long done = 0, refused = 0, left = 0;

	for (int r = 0; r < rounds; r++) {
		volatile int *go = (void *)sh->ans;

		base = region(1);
		*go = 0;
		for (int k = 0; k < n; k++)
			if (!(kid[k] = fork()))
				busy_child(k, r * 1000 + k, go);
		*go = 1;
		for (int t = 0; t < 3; t++) {
			if (t)
				usleep(1000 * (r % 7));
			if (attempt(op, n, r, pmd, &left)) {
				done++;
				break;
			}
			refused++;
		}
		for (int k = 0; k < n; k++) {
			int status;

			waitpid(kid[k], &status, 0);
			CHECK(status == 0, "stress child %d: status %x", k, status);
		}
		for (int i = 0; i < NR; i++)
			CHECK(!page_bad(base, 0, i), "stress parent page %d", i);
		munmap(base, HUGE);
	}
	memset(kid, 0, sizeof(kid));
	CHECK(done, "stress %s: nothing was collapsed", op);
	check_ends("stress %s pmd=%d rounds=%d collapsed=%ld refused=%ld ptes-left=%ld", op, pmd, rounds, done, refused, left);
}
