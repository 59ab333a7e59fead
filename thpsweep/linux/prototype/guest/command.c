/* Commands to the module, and its answers. */
#include "guest.h"

char answer[1024];
int pause_ms;
pid_t as;

int collapse(const char *op, void *p, int slice)
{
	char s[64];
	int rc, fd;
	snprintf(s, sizeof(s), "%s %d %lx %d %d", op, as ? as : getpid(), (unsigned long)p, slice, pause_ms);
	rc = write_file("/proc/shcollapse", s);
	fd = open("/proc/shcollapse", O_RDONLY);
	int n = read(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n - 1 : 0] = 0;
	close(fd);
	return rc;
}
long got(const char *key)
{
	char k[32];
	snprintf(k, sizeof(k), " %s=", key);
	char *p = strstr(answer, k);
	return p ? atol(p + strlen(k)) : -1;
}

/* Whether the last command was refused for this reason, in the kernel's words. */
int refused(const char *code)
{
	char k[64];
	snprintf(k, sizeof(k), " code=%s ", code);
	return strstr(answer, k) != NULL;
}
