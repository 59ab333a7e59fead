/* What a child does when it is asked. It answers in shared memory: sh->ans, sh->pfn. */
#include "guest.h"

static int me;
static int wrote[NR];		/* pages that this child wrote after the fork */
static int held[2], stay[2];	/* pipes: with a reference on a page; that a grandchild waits at */
static pid_t late;

static long differing(void)	/* pages that are not as this process should see them */
{
	long n = 0;

	for (int i = 0; i < NR; i++)
		n += page_bad(base, wrote[i] ? 100 + me : 0, i);
	return n;
}

static void write_page(int i)
{
	fill_page(base, 100 + me, i);
	wrote[i] = 1;
}

/* The grandchild checks everything, writes a page and leaves. */
static long fork_and_check(void)
{
	int status;
	pid_t p = fork();

	if (!p) {
		long n = differing();

		fill_page(base, 99, 3);
		_exit(n != 0 || page_bad(base, 99, 3));
	}
	waitpid(p, &status, 0);
	return status;
}

static long refer(int i)	/* FOLL_GET, until it is released */
{
	struct iovec v = { base + i * 4096, 4096 };

	return pipe(held) ? -1 : vmsplice(held[1], &v, 1, 0);
}

static long release(int i)	/* whether the pipe holds something else than page i did */
{
	static char page[4096];
	long wrong = read(held[0], page, 4096) != 4096 || page_bad(page - i * 4096, 0, i);

	close(held[0]);
	close(held[1]);
	return wrong;
}

/* A grandchild that stays until it is let go, then checks. */
static void fork_and_stay(void)
{
	char c;

	if (pipe(stay))
		_exit(1);
	late = fork();
	if (!late) {
		close(stay[1]);
		if (read(stay[0], &c, 1) < 0)
			_exit(2);
		pfns(base, sh->pfn);
		_exit(differing() != 0);
	}
	close(stay[0]);
}

static long let_go(void)
{
	int status;

	close(stay[1]);
	waitpid(late, &status, 0);
	return status;
}

static void tell_memory(void)
{
	sh->ans[0] = field("/proc/self/smaps_rollup", "Anonymous");
	sh->ans[1] = field("/proc/self/smaps_rollup", "AnonHugePages");
	sh->ans[2] = field("/proc/self/status", "RssAnon");
	sh->ans[3] = field("/proc/self/status", "VmPTE");
}

static void drop(int i) { madvise(base + i * 4096, 4096, MADV_DONTNEED); }
static long first_word(int i) { return *(volatile long *)(base + i * 4096); }

void begin_child(int id) { me = id; }

void answer_request(char what, int i)
{
	sh->ans[0] = 0;
	switch (what) {
	case 'c': sh->ans[0] = differing(); break;
	case 'p': pfns(base, sh->pfn); break;
	case 'w': write_page(i); break;
	case 'f': sh->ans[0] = fork_and_check(); break;
	case 'v': sh->ans[0] = refer(i); break;
	case 'u': sh->ans[0] = release(i); break;
	case 'k': fork_and_stay(); break;
	case 'l': sh->ans[0] = let_go(); break;
	case 'd': drop(i); break;
	case 'n': sh->ans[0] = first_word(i); break;
	case 'z': drop(i); sh->ans[0] = first_word(i); write_page(i); break;
	case 'm': sh->ans[0] = syscall(SYS_mlock2, base, HUGE, 1 /* MLOCK_ONFAULT */); break;
	case 'r': tell_memory(); break;
	case 'x': _exit(0);
	}
}
