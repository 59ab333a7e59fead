/* A parent and n children of it. Each child reads a command (a byte, two ints) and answers in shared memory. */
#include "guest.h"

struct shared *sh;
pid_t kid[MAXN];
char *base;
static int cmdfd[MAXN][2], ackfd[2];
struct msg { char op; int i, j; };

static void child(int id)
{
	int held[2], stay[2];
	pid_t late = 0;
	struct msg m;
	int wrote[NR] = {0};

	while (read(cmdfd[id][0], &m, sizeof(m)) == sizeof(m)) {
		sh->ans[0] = 0;
		if (m.op == 'c') {	/* all content as this process should see it */
			for (int i = 0; i < NR; i++) sh->ans[0] += page_bad(base, wrote[i] ? 100 + id : 0, i);
		} else if (m.op == 'p')
			pfns(base, sh->pfn);
		else if (m.op == 'w') {
			fill_page(base, 100 + id, m.i);
			wrote[m.i] = 1;
		} else if (m.op == 'f') {	/* fork: the grandchild checks everything, writes a page and leaves */
			pid_t p = fork();
			int st;
			if (!p) {
				int n = 0;
				for (int i = 0; i < NR; i++) n += page_bad(base, wrote[i] ? 100 + id : 0, i);
				fill_page(base, 99, 3);
				_exit(n != 0 || page_bad(base, 99, 3));
			}
			waitpid(p, &st, 0);
			sh->ans[0] = st;
		} else if (m.op == 'x')
			_exit(0);
		else if (m.op == 'v') {	/* a reference on page i that stays: FOLL_GET by vmsplice */
			struct iovec v = { base + m.i * 4096, 4096 };
			if (pipe(held)) _exit(1);
			sh->ans[0] = vmsplice(held[1], &v, 1, 0);
		} else if (m.op == 'u') {	/* what the pipe holds, and let it go */
			static char page[4096];
			sh->ans[0] = read(held[0], page, 4096) != 4096 || page_bad(page - m.i * 4096, 0, m.i);
			close(held[0]); close(held[1]);
		} else if (m.op == 'k') {	/* a grandchild that stays until the pipe closes, then checks */
			if (pipe(stay)) _exit(1);
			late = fork();
			if (!late) {
				char c;
				close(stay[1]);
				if (read(stay[0], &c, 1) < 0) _exit(2);
				int n = 0;
				for (int i = 0; i < NR; i++) n += page_bad(base, wrote[i] ? 100 + id : 0, i);
				pfns(base, sh->pfn);
				_exit(n != 0);
			}
			close(stay[0]);
		} else if (m.op == 'l') {
			int st;
			close(stay[1]);
			waitpid(late, &st, 0);
			sh->ans[0] = st;
		} else if (m.op == 'z') {	/* drop page i: reads zero from now on */
			madvise(base + m.i * 4096, 4096, MADV_DONTNEED);
			sh->ans[0] = *(uint64_t *)(base + m.i * 4096);
			fill_page(base, 100 + id, m.i); wrote[m.i] = 1;
		} else if (m.op == 'd')		/* drop page i and leave it empty */
			madvise(base + m.i * 4096, 4096, MADV_DONTNEED);
		else if (m.op == 'm')		/* lock what is there, and copy nothing for it */
			sh->ans[0] = syscall(SYS_mlock2, base, HUGE, 1 /* MLOCK_ONFAULT */);
		else if (m.op == 'n')		/* the first word of page i */
			sh->ans[0] = *(volatile uint64_t *)(base + m.i * 4096);
		else if (m.op == 'r') {
			sh->ans[0] = field("/proc/self/smaps_rollup", "Anonymous");
			sh->ans[1] = field("/proc/self/smaps_rollup", "AnonHugePages");
			sh->ans[2] = field("/proc/self/status", "RssAnon");
			sh->ans[3] = field("/proc/self/status", "VmPTE");
		}
		if (write(ackfd[1], &m, 1) != 1) _exit(1);
	}
	_exit(0);
}
void ask(int id, char op, int i, int j)
{
	struct msg m = { op, i, j };
	char c;
	if (write(cmdfd[id][1], &m, sizeof(m)) != sizeof(m)) fail("pipe");
	if (op != 'x' && read(ackfd[0], &c, 1) != 1) fail("ack");
}
void family(int n)
{
	if (pipe(ackfd)) fail("pipe");
	for (int i = 0; i < n; i++) {
		if (pipe(cmdfd[i])) fail("pipe");
		kid[i] = fork();
		if (!kid[i]) child(i);
		close(cmdfd[i][0]);
	}
}
void leave(int n)
{
	for (int i = 0; i < n; i++) {
		if (kid[i]) { ask(i, 'x', 0, 0); waitpid(kid[i], NULL, 0); }
		close(cmdfd[i][1]);
	}
	close(ackfd[0]); close(ackfd[1]);
}

long wrong_pages(uint64_t *mine, int n)	/* pages of children that lie on other frames than the parent's, or differ */
{
	int d = 0;
	pfns(base, mine);
	for (int k = 0; k < n; k++) {
		ask(k, 'p', 0, 0);
		for (int i = 0; i < NR; i++) d += PFN(sh->pfn[i]) != PFN(mine[i]);
		ask(k, 'c', 0, 0);
		d += sh->ans[0];
	}
	for (int i = 0; i < NR; i++) d += page_bad(base, 0, i);
	return d;
}
