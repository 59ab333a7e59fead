/* Prices of what the kernel does itself: migration, MADV_COLLAPSE of private memory and of shmem. */
#include "guest.h"

/* move_pages() of every sharer's pages to the other node. */
static void move_pages(int n)
{
	int node[NR], status[NR], moved = 0;
	void *pages[NR];
	uint64_t t;
	long rc;

	base = region(1);
	family(n);
	for (int i = 0; i < NR; i++)
		pages[i] = base + i * 4096;
	syscall(SYS_move_pages, 0, NR, pages, NULL, status, 0);
	for (int i = 0; i < NR; i++)
		node[i] = !status[0];
	t = cpu_ns();
	rc = syscall(SYS_move_pages, 0, NR, pages, node, status, 4 /* MPOL_MF_MOVE_ALL */);
	t = cpu_ns() - t;
	for (int i = 0; i < NR; i++)
		moved += status[i] == node[i];
	printf("cost move_pages n=%d rc=%ld moved=%d instr=%lu\n", n, rc, moved, t);
	leave(n);
	munmap(base, HUGE);
}

/* The parent's private collapse: fully shared (which 6.12 refuses), and with one page of its own. */
static void private_collapse(int n, int own)
{
	uint64_t t;
	long rc;

	base = region(1);
	family(n);
	if (own)
		fill_page(base, 0, 0);
	t = cpu_ns();
	rc = madvise(base, HUGE, MADV_COLLAPSE);
	t = cpu_ns() - t;
	printf("cost madv_collapse n=%d own=%d rc=%ld errno=%d instr=%lu\n", n, own, rc, rc ? errno : 0, t);
	leave(n);
	munmap(base, HUGE);
}

static void shmem_collapse(int n)
{
	int fd = memfd_create("x", 0);
	uint64_t t;
	long rc;

	if (ftruncate(fd, HUGE))
		fail("ftruncate");
	base = mmap((void *)0x600000000000, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	for (int k = 0; k < NR; k++)
		fill_page(base, 0, k * 197 % NR);
	family(n);
	for (int k = 0; k < n; k++)
		ask(k, 'c', 0);
	t = cpu_ns();
	rc = madvise(base, HUGE, MADV_COLLAPSE);
	t = cpu_ns() - t;
	printf("cost shmem_collapse n=%d rc=%ld errno=%d instr=%lu\n", n, rc, rc ? errno : 0, t);
	leave(n);
	munmap(base, HUGE);
	close(fd);
}

void price_of_kernel(int n)
{
	move_pages(n);
	private_collapse(n, 0);
	private_collapse(n, 1);
	shmem_collapse(n);
}
