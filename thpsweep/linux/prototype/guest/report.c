/* What a check found, as lines that the host reads. */
#include "guest.h"
#include <stdarg.h>

int failures;
static int before;

void fail(const char *format, ...)
{
	va_list a;

	va_start(a, format);
	printf("FAIL ");
	vprintf(format, a);
	printf("\n");
	va_end(a);
	failures++;
}


/* A check reaches from the end of the one before; it is fine only if the kernel complained of nothing, either. */
void check_ends(const char *format, ...)
{
	va_list a;

	check_kernel_log();
	printf(failures == before ? "ok " : "NOT-OK ");
	va_start(a, format);
	vprintf(format, a);
	va_end(a);
	printf("\n");
	before = failures;
}

void check_kernel_log(void)
{
	static const char * const words[] = { "BUG", "Bad page", "WARNING", "Bad rss", "Oops" };
	static int fd = -1;
	char b[8192];
	int n;

	if (fd < 0)
		fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	while ((n = read(fd, b, sizeof(b) - 1)) > 0) {
		b[n] = 0;
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
			if (strstr(b, words[i])) {
				fail("kernel: %s", b);
				break;
			}
	}
}
