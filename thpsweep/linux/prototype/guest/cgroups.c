/* Memory cgroups other than the root: who is charged, and what is refused. */
#include "guest.h"
#include <sys/stat.h>

#define TOP "/cgroup/"

static void enter(const char *group)
{
	char path[64];

	snprintf(path, sizeof(path), TOP "%s", group);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), TOP "%s/cgroup.procs", group);
	CHECK(!write_file(path, "0"), "no cgroup %s", group);
}

static void charged(void)
{
	long before, after;

	enter("one");
	base = region(1);
	family(2);
	before = field(TOP "one/memory.stat", "anon");
	CHECK(!collapse("switch", base, 512), "in a cgroup: %s", answer);
	after = field(TOP "one/memory.stat", "anon");
	CHECK(before >= 2 << 20 && labs(after - before) < 128 << 10, "anon of the cgroup: %ld -> %ld", before, after);
	leave(2);
	munmap(base, HUGE);
	usleep(50000);
	after = field(TOP "one/memory.stat", "anon");
	CHECK(after < before - (1 << 20), "the charge stays: anon %ld -> %ld", before, after);
}

/* A page that was written in another cgroup is charged there. */
static void several(void)
{
	base = region(1);
	family(1);
	enter("two");
	fill_page(base, 0, 9);
	CHECK(collapse("switch", base, 512) == -EINVAL && refused("FAIL"), "sources of two cgroups: %s", answer);
	CHECK(collapse("begin", base, 512) == -EINVAL, "sources of two cgroups: %s", answer);
	leave(1);
	munmap(base, HUGE);
}

static void limited(void)
{
	char limit[32];

	enter("three");
	base = region(1);
	family(1);
	snprintf(limit, sizeof(limit), "%ld", field(TOP "three/memory.current", "") + (1 << 20));
	CHECK(!write_file(TOP "three/memory.max", limit), "memory.max");
	CHECK(collapse("switch", base, 512) == -ENOMEM && refused("CGROUP_CHARGE_FAIL"), "a limit: %s", answer);
	ask(0, 'c', 0);
	CHECK(!sh->ans[0], "a limit: the child's pages differ");
	write_file(TOP "three/memory.max", "max");
	CHECK(!collapse("switch", base, 512), "without a limit: %s", answer);
	leave(1);
	munmap(base, HUGE);
}

void cgroups(void)
{
	mkdir(TOP, 0755);
	CHECK(!mount("cgroup", TOP, "cgroup2", 0, NULL), "no cgroup2");
	CHECK(!write_file(TOP "cgroup.subtree_control", "+memory"), "no memory controller");
	charged();
	several();
	limited();
	CHECK(!write_file(TOP "cgroup.procs", "0"), "back to the root");
	check_ends("cgroups");
}
