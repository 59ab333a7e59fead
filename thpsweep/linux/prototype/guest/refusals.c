/* What is refused, with the kernel's name of the reason and nothing changed; and who is left out of a collapse. */
#include "guest.h"

static void extra_reference(void)
{
	uint64_t a[NR], b[NR];
	struct iovec v;
	int pp[2];

	base = region(1);
	family(2);
	pfns(base, a);
	if (pipe(pp))
		fail("pipe");
	v.iov_base = base + 5 * 4096;
	v.iov_len = 4096;
	CHECK(vmsplice(pp[1], &v, 1, 0) == 4096, "vmsplice");
	CHECK(collapse("switch", base, 512) == -EAGAIN && refused("PAGE_COUNT"), "vmsplice: %s", answer);
	CHECK(collapse("inplace", base, 512) == -EAGAIN && refused("PAGE_COUNT"), "vmsplice inplace: %s", answer);
	CHECK(collapse("begin", base, 512) == -EAGAIN && refused("PAGE_COUNT"), "vmsplice begin: %s", answer);
	pfns(base, b);
	CHECK(!memcmp(a, b, sizeof(a)), "a refusal changed frames");
	close(pp[0]);
	close(pp[1]);
	CHECK(!collapse("switch", base, 512) && got("orphans") == 0, "after the reference is gone: %s", answer);
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("PTE_MAPPED_HUGEPAGE"), "once more: %s", answer);
	CHECK(!collapse("pmd", base, 512) && got("mms") == 3, "pmd: %s", answer);
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("NO_PTE_TABLE"), "a PMD: %s", answer);
	leave(2);
	munmap(base, HUGE);
}

static void kinds_of_memory(void)
{
	int fd = memfd_create("x", 0);

	base = region(1);
	CHECK(!mlock(base, HUGE), "mlock");
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("VMA_CHECK"), "mlock: %s", answer);
	munlock(base, HUGE);
	madvise(base + 7 * 4096, 4096, MADV_FREE);
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("PAGE_LAZYFREE"), "MADV_FREE: %s", answer);
	madvise(base, HUGE, MADV_DONTNEED);
	CHECK(*(volatile char *)(base + 4096) == 0, "zero page");
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("PAGE_NULL"), "zero pages: %s", answer);
	munmap(base, HUGE);
	if (ftruncate(fd, HUGE))
		fail("ftruncate");
	base = mmap((void *)0x600000000000, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	memset(base, 1, HUGE);
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("VMA_CHECK"), "shmem: %s", answer);
	munmap(base, HUGE);
	close(fd);
	CHECK(!collapse("slice", base, 512) && collapse("abandon", base, 512) == -EINVAL, "nothing is under way");
}

/* A private page in a child stays the child's: the others are collapsed around it. */
static void diverged(void)
{
	uint64_t mine[NR];

	base = region(1);
	family(3);
	ask(1, 'w', 9);
	CHECK(!collapse("switch", base, 512), "diverged child: %s", answer);
	CHECK(got("ptes") == 4 * 512 - 1, "diverged: %ld ptes", got("ptes"));
	pfns(base, mine);
	for (int k = 0; k < 3; k++) {
		int d = other_frames(k, mine);

		CHECK(d == (k == 1), "diverged child %d: %d other frames", k, d);
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "diverged child %d content", k);
	}
	CHECK(!collapse("pmd", base, 512) && got("mms") == 3 && got("skipped") == 1, "diverged pmd: %s", answer);
	check_children(3, "diverged");
	leave(3);
	munmap(base, HUGE);
}

/* A sharer that locked its memory is left on the old pages, and its content with it. */
static void locked_sharer(void)
{
	base = region(1);
	family(3);
	ask(1, 'm', 0);
	CHECK(sh->ans[0] == 0, "mlock2 %ld", sh->ans[0]);
	CHECK(!collapse("switch", base, 512), "a locked sharer: %s", answer);
	CHECK(got("skipped") == 1 && got("ptes") == 3 * 512 && got("left") == 512, "a locked sharer: %s", answer);
	for (int k = 0; k < 3; k++) {
		ask(k, 'w', k);
		ask(k, 'c', 0);
		CHECK(!sh->ans[0], "locked sharer: child %d: %ld pages differ", k, sh->ans[0]);
	}
	leave(3);
	munmap(base, HUGE);
}

void refusals(void)
{
	extra_reference();
	kinds_of_memory();
	diverged();
	locked_sharer();
	check_ends("refusals");
}
