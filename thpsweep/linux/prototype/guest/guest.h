/* What the parts of the test machine's /init share. */
#ifndef GUEST_H
#define GUEST_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HUGE (2UL << 20)
#define NR 512
#define MAXN 400
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* report.c: each check prints "ok NAME" or "NOT-OK NAME", and a line "FAIL ..." for what it found */
extern int failures;
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(c, ...) do { if (!(c)) fail(__VA_ARGS__); } while (0)
void check_ends(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_kernel_log(void);

/* files.c */
int write_file(const char *path, const char *text);
long field(const char *path, const char *key);	/* "" = the file is one number */
uint64_t at(const char *path, uint64_t i);	/* the i-th 8-byte word */
void pfns(void *p, uint64_t *out);		/* pagemap of a region of this process */
#define PFN(v) ((v) & ((1ul << 55) - 1))
long nr_anon_huge(void);
long anon_pages(void);
long free_kb(void);

/* pages.c: word j of page i has a content that depends on the tag, i and j */
uint64_t word(int tag, int i, int j);
void fill_page(char *p, int tag, int i);
int page_bad(char *p, int tag, int i);
char *region(size_t n);

/* family.c, child.c: children that do what they are asked */
struct shared { uint64_t pfn[NR]; long ans[8]; };
extern struct shared *sh;
extern pid_t kid[MAXN];
extern char *base;
void on_cpu(int cpu);				/* this process, and what it forks */
void begin_child(int id);
void answer_request(char what, int i);
void ask(int id, char what, int page);
void family(int n);
void leave_one(int k);
void leave(int n);
void check_children(int n, const char *when);
int other_frames(int k, const uint64_t *mine);	/* pages of child k on other frames than these */
long wrong_pages(uint64_t *mine, int n);	/* pages of anyone that differ, or lie on other frames than the parent's */

/* command.c: /proc/shcollapse */
extern int pause_ms;
extern pid_t as;	/* whom the command names instead of this process: any sharer will do */
extern char answer[1024];
int collapse(const char *op, void *p, int slice);
long got(const char *key);
int refused(const char *code);

/* the checks, one file each */
void one(const char *op, int n, int slice, int pmd);
void refusals(void);
void holes(void);
void writable(const char *op);
void slices(void);
void deferred(void);
void cgroups(void);
void window(const char *op);
void native(const char *op, int pmd);
void running(const char *op);
void stress(const char *op, int n, int rounds, int pmd);
void leak(const char *op, int n, int rounds);
uint64_t cpu_ns(void);			/* of this process */
void price(int n);
void price_of_kernel(int n);
void price_of_ksm(int n);
void play(const char *path);
#endif
