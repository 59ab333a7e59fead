/*
 * /init of the test machine: load shcollapse.ko, run what the kernel command line names, power off. A check makes a
 * fork family, collapses for all sharers and compares everything that a process or /proc can see.
 * Lines: "ok NAME", "NOT-OK NAME", "FAIL what", "cost ..." (prices), "state ..." (plays), "done failures=N".
 */
#include "guest.h"
#include <sys/reboot.h>
#include <sys/stat.h>

static char cmdline[4096];

static void set_up(void)
{
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/proc", 0755); mkdir("/sys", 0755); mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/proc/cmdline", O_RDONLY);
	if (read(fd, cmdline, sizeof(cmdline) - 1) < 0)
		fail("cmdline");
	close(fd);
	write_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	write_file("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "100000000");
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check_kernel_log();
}

static int load(void)
{
	int fd = open("/shcollapse.ko", O_RDONLY), rc = syscall(SYS_finit_module, fd, "", 0);

	if (rc)
		fail("the module does not load: %s", strerror(errno));
	close(fd);
	check_kernel_log();
	return rc;
}

/* The least that finds a mistake in the module. */
static void check(void)
{
	refusals();
	holes();
	writable("switch");
	writable("inplace");
	slices();
	deferred();
	one("switch", 1, 512, 0);
	one("switch", 4, 512, 0);
	one("switch", 4, 512, 1);
	one("inplace", 4, 512, 0);
	one("switch_page", 2, 512, 0);
	one("switch_over", 3, 64, 0);
	window("switch");
	window("inplace");
	native("switch", 0);
	running("switch");
	running("switch_over");
	cgroups();
	leak("", 2, 12);
	leak("switch", 2, 12);
	stress("switch", 8, 10, 0);
}

static void many(void)
{
	static const int ns[] = { 1, 4, 16, 64, 195 };

	for (int i = 0; i < 5; i++)
		one("switch", ns[i], 512, 0);
	for (int i = 0; i < 5; i++)
		one("switch", ns[i], 512, 1);
	for (int i = 0; i < 4; i++)
		one("inplace", ns[i], 512, 0);
	one("inplace", 4, 512, 1);
	one("switch_page", 16, 512, 0);
	one("switch", 16, 64, 0);
	one("switch", 16, 1, 1);
	window("switch_page");
	native("switch", 1);
	native("inplace", 0);
	running("switch_page");
	running("inplace");
}

static void stresses(void)
{
	stress("switch", 8, 200, 0);
	stress("switch", 8, 150, 1);
	stress("switch_page", 8, 100, 0);
	stress("switch_over", 8, 100, 0);
	stress("inplace", 8, 100, 1);
	stress("begin", 8, 50, 0);
	stress("defer", 8, 50, 0);
	leak("", 4, 40);
	leak("switch", 4, 40);
	leak("inplace", 4, 40);
}

static void prices(void)
{
	price(16);
	price(195);	/* the slope between the two is the price of a pte */
}

static void plays(void) { play("/plays"); }

int main(void)
{
	static const struct { const char *name; void (*run)(void); } tests[] = {
		{ "check", check }, { "many", many }, { "stress", stresses }, { "price", prices }, { "play", plays },
	};
	static char version[512];
	const char *wanted;
	int fd;

	set_up();
	wanted = strstr(cmdline, "shtest=");
	fd = open("/proc/version", O_RDONLY);
	if (read(fd, version, sizeof(version) - 1) > 0)
		printf("\nversion %s", version);	/* the line has what the firmware left */
	for (size_t i = 0; wanted && i < sizeof(tests) / sizeof(*tests); i++)
		if (!strncmp(wanted + 7, tests[i].name, strlen(tests[i].name)) && !load())
			tests[i].run();
	printf("done failures=%d\n", failures);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 0;
}
