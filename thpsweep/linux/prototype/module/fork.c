// SPDX-License-Identifier: GPL-2.0
/*
 * deferred, at a fork: the child is given the new folio. A kernel would do it in copy_present_ptes(); here a kretprobe
 * switches the child's ptes as soon as copy_page_range() has copied them, while both mmap locks are still held.
 */
#include "shcollapse.h"
#include <linux/kprobes.h>

static DEFINE_SPINLOCK(fork_lock);	/* watched, its old[], and the scratch */
static struct job *watched;
static pte_t scratch[NR];
unsigned long forked_ptes;	/* switched at forks since the job began */

/* A page that is given back may come again as another's: nobody may take it for a source. */
void forget_source(struct job *j, int i)
{
	spin_lock(&fork_lock);
	j->old[i] = NULL;
	j->linked[i] = false;
	spin_unlock(&fork_lock);
}

static int enter(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct vm_area_struct **)instance->data = (void *)regs_get_kernel_argument(regs, 0);
	return 0;
}

static int leave(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct vm_area_struct *vma = *(struct vm_area_struct **)instance->data;
	struct result before;

	if (regs_return_value(regs))
		return 0;
	spin_lock(&fork_lock);
	if (watched && vma->anon_vma && vma->anon_vma->root == watched->root && vma_ok(vma)) {
		before = res;	/* the fork's work is not the last command's */
		forked_ptes += switch_vma(watched, scratch, vma, NR);
		res = before;
	}
	spin_unlock(&fork_lock);
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "copy_page_range", .entry_handler = enter, .handler = leave,
	.data_size = sizeof(void *), .maxactive = 64,
};

int watch_forks(void)
{
	int rc;

	probe.kp.addr = NULL;
	probe.kp.flags = 0;
	rc = register_kretprobe(&probe);
	if (rc)
		FAIL(rc, "FAIL", "no kretprobe on copy_page_range()");
	forked_ptes = 0;
	return 0;
}

/* From now on: the folio must have its content and its mapping. */
void forward_children(struct job *j)
{
	spin_lock(&fork_lock);
	watched = j;
	spin_unlock(&fork_lock);
}

void forget_forks(void)
{
	if (!watched)
		return;
	spin_lock(&fork_lock);
	watched = NULL;
	spin_unlock(&fork_lock);
	unregister_kretprobe(&probe);
}
