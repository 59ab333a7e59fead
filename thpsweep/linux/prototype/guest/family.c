/* A parent and n children of it; a request is a letter (child.c) and a page. */
#include "guest.h"

struct shared *sh;
pid_t kid[MAXN];
char *base;
static int requests[MAXN][2], answers[2];
struct request { char what; int page; };

void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void child(int id)
{
	struct request r;

	begin_child(id);
	while (read(requests[id][0], &r, sizeof(r)) == sizeof(r)) {
		answer_request(r.what, r.page);
		if (write(answers[1], "", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

void ask(int id, char what, int page)
{
	struct request r = { what, page };
	char c;

	if (write(requests[id][1], &r, sizeof(r)) != sizeof(r))
		fail("child %d takes no request", id);
	if (what != 'x' && read(answers[0], &c, 1) != 1)
		fail("child %d gives no answer", id);
}

void family(int n)
{
	if (pipe(answers))
		fail("pipe");
	for (int i = 0; i < n; i++) {
		if (pipe(requests[i]))
			fail("pipe");
		kid[i] = fork();
		if (!kid[i])
			child(i);
		close(requests[i][0]);
	}
}

void leave_one(int k)
{
	ask(k, 'x', 0);
	waitpid(kid[k], NULL, 0);
	kid[k] = 0;
}

void leave(int n)
{
	for (int i = 0; i < n; i++) {
		if (kid[i])
			leave_one(i);
		close(requests[i][1]);
	}
	close(answers[0]);
	close(answers[1]);
}

/* Every child that still lives finds what it should. */
void check_children(int n, const char *when)
{
	for (int k = 0; k < n; k++) {
		if (!kid[k])
			continue;
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "%s: child %d: %ld pages differ", when, k, sh->ans[0]);
	}
}

int other_frames(int k, const uint64_t *mine)
{
	int d = 0;

	ask(k, 'p', 0);
	for (int i = 0; i < NR; i++)
		d += PFN(sh->pfn[i]) != PFN(mine[i]);
	return d;
}

long wrong_pages(uint64_t *mine, int n)
{
	long d = 0;

	pfns(base, mine);
	for (int k = 0; k < n; k++) {
		d += other_frames(k, mine);
		ask(k, 'c', 0);
		d += sh->ans[0];
	}
	for (int i = 0; i < NR; i++)
		d += page_bad(base, 0, i);
	return d;
}
