/* Free memory after many collapses, against the same processes without one. */
#include "guest.h"

static long floor_kb;
void leak(const char *op, int n, int rounds)
{
	long first = 0, last = 0;
	for (int r = 0; r < rounds; r++) {
		base = region(1);
		family(n);
		if (*op) CHECK(!collapse(op, base, 512), "%s", answer);
		leave(n);
		munmap(base, HUGE);
		if (r != rounds / 4 && r != rounds - 1) continue;
		write_file("/proc/sys/vm/drop_caches", "3");
		usleep(500000);
		last = free_kb();
		printf("mem %s r=%d", *op ? op : "none", r);
		static const char *keys[] = { "MemFree", "AnonPages", "Active(anon)", "Inactive(anon)", "Slab", "KernelStack", "PageTables", "Percpu", "AnonHugePages", "Unevictable" };
		for (int i = 0; i < 10; i++) printf(" %s=%ld", keys[i], field("/proc/meminfo", keys[i]));
		printf("\n");
		if (r == rounds / 4) first = last;
	}
	/* what the same processes lose without a collapse is no loss of ours */
	if (!*op) floor_kb = first > last ? first - last : 0;
	CHECK(first - last - floor_kb < 512, "free %ld -> %ld kB, without a collapse %ld less", first, last, floor_kb);
	check_ends("leak %s: free %ld -> %ld kB over %d collapses", *op ? op : "none", first, last, rounds - 1 - rounds / 4);
}
