// SPDX-License-Identifier: GPL-2.0
/* Look up what is not exported: a kprobe gives the address of kallsyms_lookup_name(), which gives the others. */
#include "symbols.h"
#include <linux/kprobes.h>

#define X(ret, name, args) ret (*CALLABLE(name)) args;
SYMS(X)
#undef X
struct mthp_stat __percpu *k_mthp_stats;
bool *k_swap_migration_ad_supported;

#define TEXT(name) __stringify(name)

static unsigned long (*find)(const char *name);

static bool found(void *where, const char *name)
{
	unsigned long address = find(name);

	if (!address)
		pr_err("this kernel has no symbol %s\n", name);
	memcpy(where, &address, sizeof(address));
	return address;
}

int find_symbols(void)
{
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };

	if (register_kprobe(&kp))
		return -ENOENT;
	find = (void *)kp.addr;
	unregister_kprobe(&kp);
#define X(ret, name, args) if (!found(&CALLABLE(name), TEXT(name))) return -ENOENT;
	SYMS(X)
#undef X
	if (!found(&k_mthp_stats, "mthp_stats") ||
	    !found(&k_swap_migration_ad_supported, "swap_migration_ad_supported"))
		return -ENOENT;
	return 0;
}
