/*
 * Prices of the module's operations, and of forks and exits around them. Under qemu -icount shift=0 a nanosecond is an
 * instruction, so the CPU time of a process is a count of its instructions, and so is rdtsc in the module.
 */
#include "guest.h"

uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void end(int n, int regions)
{
	leave(n);
	munmap(base, regions * HUGE);
}

#define ROUNDS 80
enum { FORK, UNMAP, WRITE1, WRITE2, PRICES };
static uint64_t seen[PRICES][ROUNDS];

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/*
 * The mean, without rounds that something else disturbed. In some rounds the CPU's own list of free pages is filled or
 * emptied, a batch at a time: that is a part of the price, so that neither the least nor the middle one would repeat.
 */
static uint64_t typical(uint64_t *rounds)
{
	uint64_t sum = 0;
	int n = 0;

	qsort(rounds, ROUNDS, sizeof(*rounds), ascending);
	while (n < ROUNDS && 2 * rounds[n] <= 3 * rounds[ROUNDS / 2])
		sum += rounds[n++];
	return sum / n;
}

/* A fork, and in the child two first writes and the unmap, each in instructions. */
static void one_life(int regions, int round)
{
	uint64_t t = cpu_ns();
	pid_t p = fork();

	if (!p) {
		for (int i = 0; i < 2; i++) {
			t = cpu_ns();
			*(volatile char *)(base + (5 + i) * 4096) = 1;
			sh->pfn[WRITE1 + i] = cpu_ns() - t;
		}
		t = cpu_ns();
		munmap(base, regions * HUGE);
		sh->pfn[UNMAP] = cpu_ns() - t;
		_exit(0);
	}
	sh->pfn[FORK] = cpu_ns() - t;
	waitpid(p, NULL, 0);
	for (int i = 0; i < PRICES; i++)
		seen[i][round] = sh->pfn[i];
}

/* Memory of so many regions in this form; the difference to fewer regions is free of the fixed part. */
static void life(const char *form, int n, int regions, const char *op, int pmd)
{
	base = region(regions);
	family(n);
	for (int i = 0; *op && i < regions; i++)
		if (collapse(op, base + i * HUGE, NR) || (pmd && collapse("pmd", base + i * HUGE, NR)))
			fail("life %s", answer);
	for (int round = 0; round < ROUNDS; round++)
		one_life(regions, round);
	printf("cost life form=%s n=%d regions=%d fork=%lu unmap=%lu write1=%lu write2=%lu\n", form, n, regions,
	       typical(seen[FORK]), typical(seen[UNMAP]), typical(seen[WRITE1]), typical(seen[WRITE2]));
	end(n, regions);
}

static void operation(const char *op, int n, int slice)
{
	base = region(1);
	family(n);
	if (collapse(op, base, slice))
		fail("price %s", answer);
	printf("cost %s n=%d slice=%d %s\n", op, n, slice, answer);
	if (!strcmp(op, "switch") && slice == NR && !collapse("pmd", base, NR))
		printf("cost pmd n=%d slice=512 %s\n", n, answer);
	end(n, 1);
}

/* All of it the caller's own: what write-protecting costs. */
static void protecting(void)
{
	base = region(1);
	if (collapse("switch", base, NR))
		fail("price %s", answer);
	printf("cost protect n=0 slice=512 %s\n", answer);
	munmap(base, HUGE);
}

/* Nothing else may run between two readings of the counter; children are ordinary processes. */
static void be_alone(void)
{
	struct sched_param first = { 1 };

	write_file("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		fail("SCHED_FIFO");
}

void price(int n)
{
	static const char * const ops[] = { "switch", "switch_over", "switch_page", "inplace", "roundtrip" };

	be_alone();
	for (int round = 0; round < 3; round++) {
		protecting();
		for (int o = 0; o < 5; o++)
			operation(ops[o], n, NR);
		for (int s = 1; s < NR; s *= 4)
			operation("switch", n, s);
	}
	/* The less a region costs, the more of them, beside what a fork costs anyway. */
	for (int more = 0; more < 2; more++) {
		life("small", n, more ? 9 : 1, "", 0);
		life("pte", n, more ? 33 : 1, "switch", 0);
		life("pmd", n, more ? 65 : 1, "switch", 1);
	}
	price_of_kernel(n);
	if (n == 16)
		price_of_ksm(n);
	check_ends("price n=%d", n);
}
