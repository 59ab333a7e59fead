/* What ksmd spends on a merged pte. It never merges a page with itself, so each child first writes its own copies. */
#include "guest.h"

#define KSM "/sys/kernel/mm/ksm/"

static pid_t ksmd(void)
{
	char path[64], name[64];

	for (int i = 2; i < 400; i++) {
		int fd, n;

		snprintf(path, sizeof(path), "/proc/%d/comm", i);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
		if (n > 4 && !strncmp(name, "ksmd\n", 5))
			return i;
	}
	return 0;
}

/* Print what four scans cost; `same`: whether all pages merge, else what scanning costs. */
static void scans(int n, int same)
{
	long first = field(KSM "full_scans", ""), seen = first, merged = 0, instr;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", ksmd());
	instr = field(path, "");
	write_file(KSM "run", "1");
	for (int k = 0; k < 8000 && seen < first + 4; k++) {
		long scan, spent, sharing;

		usleep(1000);
		scan = field(KSM "full_scans", "");
		if (scan == seen)
			continue;
		spent = field(path, "");
		sharing = field(KSM "pages_sharing", "");
		printf("cost ksm n=%d same=%d scan=%ld merged=%ld instr=%ld\n", n, same, scan - first, sharing - merged, spent - instr);
		seen = scan;
		instr = spent;
		merged = sharing;
	}
	write_file(KSM "run", "2");
}

void price_of_ksm(int n)
{
	write_file(KSM "smart_scan", "0");
	write_file(KSM "use_zero_pages", "0");
	write_file(KSM "pages_to_scan", "1000000");
	write_file(KSM "sleep_millisecs", "1");
	for (int same = 0; same < 2; same++) {
		base = region(1);
		madvise(base, HUGE, MADV_MERGEABLE);
		for (int k = 0; k < n; k++)
			if (!(kid[k] = fork())) {
				for (int i = 0; i < NR; i++)
					fill_page(base, same ? 0 : 200 + k, i);
				pause();
				_exit(0);
			}
		usleep(2000000);
		scans(n, same);
		for (int k = 0; k < n; k++) {
			kill(kid[k], SIGKILL);
			waitpid(kid[k], NULL, 0);
		}
		munmap(base, HUGE);
		write_file(KSM "run", "0");
	}
	memset(kid, 0, sizeof(kid));
}
