// SPDX-License-Identifier: GPL-2.0
/*
 * shcollapse: collapse the anonymous 4 KiB pages of a 2 MiB region that related processes share into one folio, for
 * all of them. A prototype for a throw-away virtual machine: x86-64, Linux 6.12 and 7.3. README.md tells the rest.
 *
 *   echo "<op> <pid> <hex address> [<ptes per slice> [<ms>]]" > /proc/shcollapse ; cat /proc/shcollapse
 *
 * ms: sleep so long once all sources are checked and before the first pte is changed, for tests of what may happen then.
 */
#include "shcollapse.h"
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

struct result res;
static DEFINE_MUTEX(lock);

#define LAP(field, n) do { u64 t = now(); MARK(n); res.field += t - *t0; *t0 = now(); } while (0)

static int roundtrip(struct job *j, u64 *t0)
{
	set_entries(j);
	LAP(freeze, 4);
	put_back(j);
	LAP(walk, 5);
	return 0;
}

static int collapse_inplace(struct job *j, u64 *t0)
{
	int rc;

	if (j->pause_ms)
		msleep(j->pause_ms);
	rc = freeze_pages(j);
	LAP(freeze, 4);
	if (rc)
		return rc;
	copy_all(j);
	LAP(copy, 3);
	restore_pages(j);
	LAP(walk, 5);
	return 0;
}

static int collapse_switch(struct job *j, u64 *t0, bool by_page)
{
	copy_all(j);
	LAP(copy, 3);
	if (j->pause_ms)
		msleep(j->pause_ms);
	if (by_page)
		switch_pages(j);
	else
		switch_region(j);
	LAP(walk, 5);
	return 0;
}

static int prepare(struct job *j, u64 *t0, bool inplace)
{
	int rc = link_sources(j);

	LAP(link, 1);
	if (rc)
		return rc;
	if (!inplace) {		/* a migration entry protects what it replaces */
		rc = protect_sources(j);
		LAP(protect, 9);
	}
	if (!rc && strcmp(res.op, "roundtrip"))
		rc = alloc_new(j);
	LAP(alloc, 2);
	return rc;
}

static int collapse(struct job *j, const char *op)
{
	bool inplace = !strncmp(op, "inplace", 7) || !strcmp(op, "roundtrip");
	bool has_source[NR];
	u64 start = now(), *t0 = &start;
	int i, rc;

	j->over = !strcmp(op, "switch_over");
	rc = prepare(j, t0, inplace);
	for (i = 0; i < NR; i++)
		has_source[i] = j->old[i];
	if (!rc && !strcmp(op, "roundtrip")) {
		rc = roundtrip(j, t0);
	} else if (!rc) {
		rc = inplace ? collapse_inplace(j, t0) : collapse_switch(j, t0, !strcmp(op, "switch_page"));
		if (!rc)
			folio_unlock(j->new);
	}
	unlink_sources(j);
	if (j->new)
		folio_put(j->new);	/* ours; from here on the mappings hold it */
	LAP(release, 6);
	if (!rc && strstr(op, "_pmd"))
		rc = install_pmds(j, has_source);
	return rc;
}

static int run(struct job *j, const char *op)
{
	static const char * const collapses[] = { "switch", "switch_over", "switch_page", "switch_pmd",
		"inplace", "inplace_pmd", "roundtrip" };
	static bool all[NR];

	if (match_string(collapses, ARRAY_SIZE(collapses), op) >= 0)
		return collapse(j, op);
	if (!strcmp(op, "pmd")) {
		memset(all, true, sizeof(all));
		return install_pmds(j, all);
	}
	if (!strcmp(op, "begin") || !strcmp(op, "defer"))
		return begin(j, !strcmp(op, "defer"));
	if (!strcmp(op, "slice"))
		return slice(j->slice);
	if (!strcmp(op, "visit"))
		return visit(j);
	if (!strcmp(op, "abandon"))
		return abandon();
	FAIL(-EINVAL, "FAIL", "no such operation");
}

static struct mm_struct *mm_of(int pid)
{
	struct mm_struct *mm = NULL;
	struct task_struct *task;

	rcu_read_lock();
	task = pid_task(find_vpid(pid), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (task) {
		mm = get_task_mm(task);
		put_task_struct(task);
	}
	return mm;
}

static ssize_t command(struct file *f, const char __user *buf, size_t len, loff_t *off)
{
	unsigned int slice = NR, ms = 0;
	char line[64] = "", op[16];
	struct mm_struct *mm;
	struct job *j;
	int pid, rc;

	if (len >= sizeof(line) || copy_from_user(line, buf, len))
		return -EINVAL;
	j = kvzalloc(sizeof(*j), GFP_KERNEL);
	if (!j)
		return -ENOMEM;
	rc = -EINVAL;
	if (sscanf(line, "%15s %d %lx %u %u", op, &pid, &j->addr, &slice, &ms) < 3 || j->addr & ~HPAGE_PMD_MASK)
		goto free;
	rc = -ESRCH;
	mm = j->mm = mm_of(pid);
	if (!mm)
		goto free;
	j->pause_ms = min(ms, 10000U);
	j->slice = clamp_t(unsigned int, slice, 1, strcmp(op, "slice") ? NR : INT_MAX);
	mutex_lock(&lock);
	memset(&res, 0, sizeof(res));
	strscpy(res.op, op);
	res.code = res.why = "-";
	rc = run(j, op);
	res.rc = rc;
	mutex_unlock(&lock);
	mmput(mm);
free:
	kvfree(j);
	return rc ? rc : len;
}

static int show(struct seq_file *m, void *v)
{
	struct result *r = &res;

	seq_printf(m, "op=%s rc=%d code=%s pfn=%lu ptes=%llu protected=%llu walks=%llu visits=%llu flushes=%llu left=%llu ",
		   r->op, r->rc, r->code, r->pfn, r->ptes, r->protected, r->walks, r->visits, r->flushes, r->left);
	seq_printf(m, "orphans=%llu mms=%llu skipped=%llu copied=%llu cleared=%llu replaced=%llu filled=%llu forked=%lu ",
		   r->orphans, r->mms, r->skipped, r->copied, r->cleared, r->replaced, r->filled, forked_ptes);
	seq_printf(m, "link=%llu protect=%llu alloc=%llu copy=%llu freeze=%llu walk=%llu release=%llu pmd=%llu why=%s\n",
		   r->link, r->protect, r->alloc, r->copy, r->freeze, r->walk, r->release, r->pmd, r->why);
	return 0;
}

static int opened(struct inode *i, struct file *f) { return single_open(f, show, NULL); }
static const struct proc_ops ops = {
	.proc_open = opened, .proc_read = seq_read, .proc_lseek = seq_lseek, .proc_release = single_release,
	.proc_write = command,
};

static int __init start(void)
{
	int rc = find_symbols();

	if (rc)
		return rc;
	return proc_create("shcollapse", 0600, NULL, &ops) ? 0 : -ENOMEM;
}

static void __exit stop(void)
{
	remove_proc_entry("shcollapse", NULL);
	abandon();
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Collapse of shared anonymous pages for all sharers (prototype)");
