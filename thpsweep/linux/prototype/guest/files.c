/* Reading and writing files of /proc and /sys. */
#include "guest.h"

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), rc;

	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static char *whole(const char *path)	/* NULL where there is no such file; valid until the next call */
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY), n, len = 0;

	if (fd < 0)
		return NULL;
	while (len < (int)sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = 0;
	close(fd);
	return text;
}

long field(const char *path, const char *key)
{
	size_t length = strlen(key);
	char *p = whole(path);

	if (p && !*key)
		return atol(p);
	for (; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, key, length) && (p[length] == ' ' || p[length] == ':'))
			return atol(p + length + 1);
	return -1;
}

uint64_t at(const char *path, uint64_t i)
{
	int fd = open(path, O_RDONLY);
	uint64_t v;

	if (pread(fd, &v, 8, i * 8) != 8)
		v = ~0ull;
	close(fd);
	return v;
}

void pfns(void *p, uint64_t *out)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, out, NR * 8, (uintptr_t)p / 4096 * 8) != NR * 8)
		memset(out, 0, NR * 8);
	close(fd);
}

long nr_anon_huge(void) { return field("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/nr_anon", ""); }

long anon_pages(void)
{
	usleep(20000);	/* until per-CPU counters are folded */
	return field("/proc/vmstat", "nr_anon_pages");
}

/* MemFree leaves out what waits on the per-CPU lists of the allocator. */
long free_kb(void)
{
	long pages = 0;

	for (char *p = whole("/proc/zoneinfo"); p && (p = strstr(p, "count:")); p++)
		pages += atol(p + 6);
	return field("/proc/meminfo", "MemFree") + pages * 4;
}
