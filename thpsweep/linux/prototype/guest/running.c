/* A sharer that runs on, without entering the kernel, must not read an old page when that is somebody else's. */
#include "guest.h"

struct look { volatile int begun, stop; volatile long wrong, loops; };

static void reader(struct look *look)
{
	on_cpu(1);
	do {
		for (int i = 0; i < NR; i++)
			if (*(volatile uint64_t *)(base + i * 4096) != word(0, i, 0))
				look->wrong++;
		look->loops++;
		look->begun = 1;
	} while (!look->stop);
	_exit(0);
}

/* Write over 16 MiB: it takes the frames of the old pages. */
static char *take_frames(void)
{
	char *m = mmap(NULL, 8 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(m, 0x5a, 8 * HUGE);
	return m;
}

static void round_of(const char *op)
{
	struct look *look = (void *)sh->pfn;
	long loops;
	char *m;
	pid_t p;

	base = region(1);
	memset((void *)look, 0, sizeof(*look));
	p = fork();
	if (!p)
		reader(look);
	on_cpu(0);
	while (!look->begun)
		usleep(1000);
	CHECK(!collapse(op, base, NR), "running: %s", answer);
	m = take_frames();
	loops = look->loops;
	while (look->loops < loops + 3)
		usleep(1000);
	look->stop = 1;
	waitpid(p, NULL, 0);
	CHECK(!look->wrong, "a running sharer read %ld wrong words", look->wrong);
	munmap(m, 8 * HUGE);
	munmap(base, HUGE);
}

void running(const char *op)
{
	for (int r = 0; r < 5; r++)
		round_of(op);
	on_cpu(1);
	check_ends("running %s", op);
}
