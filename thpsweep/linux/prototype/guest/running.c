/* A sharer that runs on, without entering the kernel, must not read an old page when that is somebody else's. */
#include "guest.h"

void running(const char *op)
{
	cpu_set_t set;
	struct { volatile int go, stop; volatile long wrong, loops; } *s = (void *)sh->pfn;

	for (int r = 0; r < 5; r++) {
		base = region(1);
		memset((void *)s, 0, sizeof(*s));
		pid_t p = fork();
		CPU_ZERO(&set); CPU_SET(p ? 0 : 1, &set);
		sched_setaffinity(0, sizeof(set), &set);
		if (!p) {
			do {
				for (int i = 0; i < NR; i++) if (*(volatile uint64_t *)(base + i * 4096) != word(0, i, 0)) s->wrong++;
				s->loops++;
				s->go = 1;
			} while (!s->stop);
			_exit(0);
		}
		while (!s->go) usleep(1000);
		CHECK(!collapse(op, base, 512), "running: %s", answer);
		char *m = mmap(NULL, 8 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(m, 0x5a, 8 * HUGE);	/* takes the frames of the old pages */
		long l = s->loops;
		while (s->loops < l + 3) usleep(1000);
		s->stop = 1;
		waitpid(p, NULL, 0);
		CHECK(!s->wrong, "running sharer read %ld wrong words", s->wrong);
		munmap(m, 8 * HUGE);
		munmap(base, HUGE);
	}
	CPU_SET(1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	check_ends("running %s", op);
}
