/* Regions of small pages, and what stands in them: every seventh word of a page depends on tag, page and word. */
#include "guest.h"

uint64_t word(int tag, int i, int j)
{
	uint64_t x = (uint64_t)tag << 40 ^ (uint64_t)i << 20 ^ j;

	x *= 0x9E3779B97F4A7C15ull;
	return x ^ x >> 29;
}

void fill_page(char *p, int tag, int i)
{
	uint64_t *w = (void *)(p + i * 4096);

	for (int j = 0; j < 512; j += 7)
		w[j] = word(tag, i, j);
}

int page_bad(char *p, int tag, int i)
{
	uint64_t *w = (void *)(p + i * 4096);

	for (int j = 0; j < 512; j += 7)
		if (w[j] != word(tag, i, j))
			return 1;
	return 0;
}

/* n regions, touched in a scrambled order so that the frames do not line up. */
char *region(size_t n)
{
	char *p = mmap(NULL, (n + 1) * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *q = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));

	if (q > p)
		munmap(p, q - p);
	munmap(q + n * HUGE, p + HUGE - q);
	for (size_t r = 0; r < n; r++)
		for (int k = 0; k < NR; k++)
			fill_page(q + r * HUGE, r, k * 197 % NR);
	return q;
}
