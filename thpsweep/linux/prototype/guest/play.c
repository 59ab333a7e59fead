/*
 * Plays: the steps of families that the host drew, each done as it did them in the model. Lines of /plays:
 *   family K       begin              w P A B    P writes pages [A, B)       d P A B   P drops them
 *   f P Q          P forks Q          n P A B    P reads them                x P       P exits
 *   v P A          P takes a reference on page A by vmsplice                 u P       and drops it
 *   c P OP N       a command to the module in P's name, N ptes a slice       s         print the state of all
 *   end
 */
#include "guest.h"

#define MAXP 128
struct order { char op; int a, b; };
struct table { pid_t pid[MAXP]; uint64_t pfn[MAXP][NR]; long huge[MAXP], rss[MAXP], bad[MAXP]; };
static struct table *t;
static int orders[MAXP][2], done[2], alive[MAXP];

/* ---- a process ---- */

static int tags[NR], tag;	/* what this process finds in each page: copied by a fork, as the pages are */

static void look(int me)
{
	t->bad[me] = 0;
	for (int i = 0; i < NR; i++)
		if (t->pfn[me][i] >> 63)
			t->bad[me] += tags[i] ? page_bad(base, tags[i], i) : *(volatile uint64_t *)(base + i * 4096) != 0;
}

static void state(int me)
{
	int fd = open("/proc/self/smaps", O_RDONLY), n, len = 0;
	static char b[1 << 16];
	char *mine, key[32];

	pfns(base, t->pfn[me]);
	look(me);
	while (len < (int)sizeof(b) - 1 && (n = read(fd, b + len, sizeof(b) - 1 - len)) > 0)
		len += n;
	b[len] = 0;
	close(fd);
	snprintf(key, sizeof(key), "%lx-", (unsigned long)base);
	mine = strstr(b, key);
	t->rss[me] = t->huge[me] = -1;
	if (mine) {
		t->rss[me] = atol(strstr(mine, "\nRss:") + 5);
		t->huge[me] = atol(strstr(mine, "\nAnonHugePages:") + 15);
	}
}

static void drop_reference(int *held)
{
	close(held[0]);
	close(held[1]);
	held[0] = held[1] = -1;
}

static void touch(int me, const struct order *o)
{
	for (int i = o->a; i < o->b; i++)
		if (o->op == 'w')
			fill_page(base, tags[i] = me << 16 | ++tag, i);
		else if (o->op == 'n')
			(void)*(volatile uint64_t *)(base + i * 4096);
		else
			madvise(base + i * 4096, 4096, MADV_DONTNEED), tags[i] = 0;
}

static void refer(int page, int *held)
{
	struct iovec v = { base + page * 4096, 4096 };

	if (pipe(held) || vmsplice(held[1], &v, 1, 0) != 4096)
		fail("vmsplice");
}

static void process(int me)
{
	int held[2] = { -1, -1 }, answers = 1;
	struct order o;

	t->pid[me] = getpid();
	while ((!answers || write(done[1], "", 1) == 1) && read(orders[me][0], &o, sizeof(o)) == sizeof(o)) {
		answers = 1;
		if (strchr("wnd", o.op))
			touch(me, &o);
		else if (o.op == 'v')
			refer(o.a, held);
		else if (o.op == 'u')
			drop_reference(held);
		else if (o.op == 's')
			state(me);
		else if (o.op == 'x')
			break;
		else if (o.op == 'f' && fork())
			answers = 0;	/* the child does, once it is there */
		else {
			drop_reference(held);
			t->pid[me = o.a] = getpid();
		}
	}
	_exit(0);
}

/* ---- the director ---- */

static void wait_done(void)
{
	char c;

	if (read(done[0], &c, 1) != 1)
		fail("a process of the play is gone");
}

static void order(int p, char op, int a, int b)
{
	struct order o = { op, a, b };

	if (p >= MAXP || !alive[p])
		fail("no process %d", p);
	else if (write(orders[p][1], &o, sizeof(o)) != sizeof(o))
		fail("order");
	else if (op != 'x')
		wait_done();
	if (op == 'f')
		alive[a] = 1;
	if (op == 'x') {
		while (!kill(t->pid[p], 0))
			usleep(200);
		alive[p] = 0;
	}
}

static void enter(void)
{
	base = (char *)0x500000000000;	/* no neighbour that the VMA could be merged with */
	if (pipe(done))
		fail("pipe");
	for (int p = 0; p < MAXP; p++)
		if (pipe(orders[p]))
			fail("pipe");
	memset(alive, 0, sizeof(alive));
	tag = 0;
	memset(tags, 0, sizeof(tags));
	alive[0] = 1;
	if (!fork()) {
		mmap(base, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		process(0);
	}
	wait_done();
}

static void clear_stage(void)
{
	for (int p = 0; p < MAXP; p++)
		if (alive[p])
			order(p, 'x', 0, 0);
	for (int p = 0; p < MAXP; p++) {
		close(orders[p][0]);
		close(orders[p][1]);
	}
	close(done[0]);
	close(done[1]);
}

/* What a page is: '.' nothing or zeroes, 's' small, 'c' a subpage in its place, '?' a large folio otherwise. */
static char form(int counts, int flags, uint64_t entry, int i, uint64_t *mapcount, long *folios)
{
	uint64_t pfn = PFN(entry), fl = 0;

	*mapcount = 0;
	if (!(entry >> 63) || pread(flags, &fl, 8, pfn * 8) != 8 || fl >> 24 & 1)
		return '.';
	pread(counts, mapcount, 8, pfn * 8);
	if (!(fl >> 22 & 1)) {
		*folios += fl >> 5 & 1;
		return 's';
	}
	return (int)(pfn % NR) == i ? 'c' : '?';
}

/* One line a process: runs of "length form first-process-on-the-frame mapcount". */
static void print_state(void)
{
	int counts = open("/proc/kpagecount", O_RDONLY), flags = open("/proc/kpageflags", O_RDONLY);
	static uint64_t mapcount[MAXP][NR];
	static char is[MAXP][NR];
	static int first[MAXP][NR];
	long small = 0;

	write_file("/proc/sys/vm/drop_caches", "1");	/* and with it the batches of folios that wait for the LRU */
	for (int p = 0; p < MAXP; p++) {
		if (!alive[p])
			continue;
		order(p, 's', 0, 0);
		for (int i = 0; i < NR; i++) {
			int q = 0;

			while (q < p && (!alive[q] || PFN(t->pfn[q][i]) != PFN(t->pfn[p][i])))
				q++;
			first[p][i] = q;
			if (q < p) {
				is[p][i] = is[q][i];
				mapcount[p][i] = mapcount[q][i];
			} else {
				is[p][i] = form(counts, flags, t->pfn[p][i], i, &mapcount[p][i], &small);
			}
			if (is[p][i] == '.')
				first[p][i] = 0;
		}
		printf("state %d huge=%ld rss=%ld bad=%ld", p, t->huge[p], t->rss[p], t->bad[p]);
		for (int i = 0, from = 0; i < NR; i++)
			if (i == NR - 1 || is[p][i + 1] != is[p][from] || first[p][i + 1] != first[p][from] || mapcount[p][i + 1] != mapcount[p][from]) {
				printf(" %d%c%d*%lu", i + 1 - from, is[p][from], first[p][from], mapcount[p][from]);
				from = i + 1;
			}
		printf("\n");
	}
	printf("small %ld\n", small);
	close(counts);
	close(flags);
}

static void command(int p, const char *op, int n)
{
	as = t->pid[p];
	collapse(op, base, n);
	as = 0;
	printf("did %s\n", answer);
}

void play(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[128], op[32];
	int p, a, b;

	if (!f)
		fail("no %s", path);
	signal(SIGCHLD, SIG_IGN);
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "family %d", &a) == 1) {
			printf("family %d\n", a);
			enter();
		} else if (!strncmp(line, "end", 3)) {
			clear_stage();
			collapse("abandon", base, NR);
		} else if (*line == 's') {
			print_state();
		} else if (sscanf(line, "c %d %31s %d", &p, op, &a) == 3) {
			command(p, op, a);
		} else {
			a = b = 0;
			if (sscanf(line + 1, "%d %d %d", &p, &a, &b) < 1)
				fail("not a step: %s", line);
			order(p, *line, a, b);
		}
	}
	check_ends("play");
}
