/* Reading and writing files of /proc and /sys. */
#include "guest.h"

int write_file(const char *p, const char *s)
{
	int fd = open(p, O_WRONLY), rc;
	if (fd < 0) return -errno;
	rc = write(fd, s, strlen(s)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}
long field(const char *path, const char *key)
{
	static char buf[65536];
	int fd = open(path, O_RDONLY), n, len = 0;
	char *p = buf;
	if (fd < 0) return -1;
	while (len < (int)sizeof(buf) - 1 && (n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0) len += n;
	buf[len] = 0;
	close(fd);
	if (!*key) return atol(buf);
	for (; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, key, strlen(key)) && (p[strlen(key)] == ' ' || p[strlen(key)] == ':'))
			return atol(p + strlen(key) + 1);
	return -1;
}
uint64_t at(const char *path, uint64_t i)
{
	uint64_t v = ~0ull;
	int fd = open(path, O_RDONLY);
	if (pread(fd, &v, 8, i * 8) != 8) v = ~0ull;
	close(fd);
	return v;
}
void pfns(void *p, uint64_t *out)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	if (pread(fd, out, NR * 8, (uintptr_t)p / 4096 * 8) != NR * 8) memset(out, 0, NR * 8);
	close(fd);
}

long nr_anon_huge(void) { return field("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/nr_anon", ""); }
long anon_pages(void) { usleep(20000); return field("/proc/vmstat", "nr_anon_pages"); }

long free_kb(void)	/* MemFree leaves out what waits on the per-CPU lists of the allocator */
{
	static char b[65536];
	int fd = open("/proc/zoneinfo", O_RDONLY), n, len = 0;
	long pages = 0;
	while (len < (int)sizeof(b) - 1 && (n = read(fd, b + len, sizeof(b) - 1 - len)) > 0) len += n;
	b[len] = 0;
	close(fd);
	for (char *p = b; (p = strstr(p, "count:")); p++) pages += atol(p + 6);
	return field("/proc/meminfo", "MemFree") + pages * 4;
}
