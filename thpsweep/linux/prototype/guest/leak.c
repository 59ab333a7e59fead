/* Free memory after many collapses, against the same processes without one. */
#include "guest.h"

static long floor_kb;	/* what the same processes lose without a collapse is no loss of ours */

static long settled_kb(void)
{
	write_file("/proc/sys/vm/drop_caches", "3");
	usleep(500000);
	return free_kb();
}

void leak(const char *op, int n, int rounds)
{
	long first = 0, lost;

	for (int r = 0; r < rounds; r++) {
		base = region(1);
		family(n);
		if (*op)
			CHECK(!collapse(op, base, NR), "%s", answer);
		leave(n);
		munmap(base, HUGE);
		if (r == rounds / 4)
			first = settled_kb();
	}
	lost = first - settled_kb();
	if (!*op)
		floor_kb = lost > 0 ? lost : 0;
	CHECK(lost - floor_kb < 512, "%ld kB lost, without a collapse %ld", lost, floor_kb);
	check_ends("leak %s: %ld kB over %d collapses", *op ? op : "none", lost, rounds - 1 - rounds / 4);
}
