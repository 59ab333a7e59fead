/*
 * One process of a live family. It connects to the driver's socket, does what each line asks, and answers with one line:
 *   RESULT ERRNO N  cpu_ns * N  wall_ns * N
 * N is how many pieces the work was done and timed in. It ends when the socket is closed; a forked child connects anew.
 * CPU time is the thread's own (steadier than the wall on a busy machine); reading that clock costs under a microsecond.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define REGION (2UL << 20)
#define MAX_PIECES 32768
#define MAX_HELD 256
#define MAX_WORDS 16

static int driver = -1;
static const char *driver_path;
static long pieces, begun_cpu, begun_wall;
static long cpu_ns[MAX_PIECES], wall_ns[MAX_PIECES];
static int held[MAX_HELD][2], n_held; /* an io_uring and -1, or the two ends of a pipe; -1 where given back */
static volatile uint64_t sink;
static volatile int spinning;
static volatile long turns; /* of the spinner's loop */
static pthread_t spinner;

static long now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void begin(void)
{
	begun_wall = now_ns(CLOCK_MONOTONIC);
	begun_cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void end(void)
{
	if (pieces == MAX_PIECES)
		return;
	cpu_ns[pieces] = now_ns(CLOCK_THREAD_CPUTIME_ID) - begun_cpu;
	wall_ns[pieces++] = now_ns(CLOCK_MONOTONIC) - begun_wall;
}

static void enlist(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	strncpy(to.sun_path, driver_path, sizeof(to.sun_path) - 1);
	driver = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (driver < 0 || connect(driver, (struct sockaddr *)&to, sizeof(to)))
		_exit(3);
	dprintf(driver, "%d\n", getpid());
}

/* map REGIONS SHARED: regions of 2 MiB that are a VMA of their own, with a gap around it */
static long map(long regions, long shared)
{
	size_t bytes = regions * REGION;
	uintptr_t room = (uintptr_t)mmap(NULL, bytes + 2 * REGION, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	if (room == (uintptr_t)MAP_FAILED)
		return -1;
	room = (room + REGION) & ~(REGION - 1);
	if (shared) {
		fd = memfd_create("thpsweep", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, bytes))
			return -1;
		flags = MAP_SHARED;
	}
	void *at = mmap((void *)room, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE, fd, 0);
	if (fd >= 0)
		close(fd);
	return at == MAP_FAILED ? -1 : (long)at;
}

/* touch WRITES ADDRESS PAGES STEP PER_PIECE VALUE */
static long touch(long writes, long address, long n, long step, long per_piece, long value)
{
	for (long i = 0; i < n;) {
		long until = per_piece && i + per_piece < n ? i + per_piece : n;
		volatile uint64_t *at = (volatile uint64_t *)(address + i * step * PAGE);
		begin();
		for (; i < until; i++, at += step * PAGE / sizeof(*at)) {
			if (writes)
				*at = value + i;
			else
				sink = *at;
		}
		end();
	}
	return 0;
}

/* advise ADDRESS BYTES ADVICE PER_PIECE, protect ADDRESS BYTES PROT PER_PIECE, unmap ADDRESS BYTES 0 PER_PIECE */
static long over(const char *what, long address, long bytes, long how, long per_piece)
{
	for (long done = 0; done < bytes;) {
		long n = per_piece && done + per_piece < bytes ? per_piece : bytes - done;
		void *at = (void *)(address + done);
		long result;
		begin();
		if (!strcmp(what, "advise"))
			result = madvise(at, n, how);
		else if (!strcmp(what, "protect"))
			result = mprotect(at, n, how);
		else
			result = munmap(at, n);
		end();
		if (result)
			return -1;
		done += n;
	}
	return 0;
}

/* drop ADDRESS PAGES FILE: MADV_DONTNEED on each page whose byte in the file is not 0 */
static long drop(long address, long n, const char *file)
{
	char chosen[4096];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (long i = 0; i < n;) {
		long got = read(fd, chosen, sizeof(chosen));
		if (got <= 0)
			break;
		for (long j = 0; j < got && i < n; i++, j++)
			if (chosen[j] && madvise((void *)(address + i * PAGE), PAGE, MADV_DONTNEED)) {
				close(fd);
				return -1;
			}
	}
	close(fd);
	return 0;
}

/* lock ADDRESS BYTES: mlock() them, and let go again: it faults in all of them for writing */
static long lock(long address, long bytes)
{
	return mlock((void *)address, bytes) || munlock((void *)address, bytes) ? -1 : 0;
}

/* move ADDRESS BYTES: mremap() them elsewhere, to a place that lies alike in its region, and back */
static long move(long address, long bytes)
{
	size_t n = bytes + 2 * REGION;
	char *room = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return -1;
	char *at = (char *)((((uintptr_t)room + REGION) & ~(REGION - 1)) + (address & (REGION - 1)));
	if (mremap((void *)address, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED ||
	    mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)address) == MAP_FAILED)
		return -1;
	return munmap(room, n);
}

static void give_back(int i)
{
	for (int end = 0; end < 2; end++)
		if (held[i][end] >= 0)
			close(held[i][end]);
	held[i][0] = held[i][1] = -1;
}

static void *spin(void *cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((long)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	while (spinning)
		turns++;
	return NULL;
}

/* fork LIVES TIMES: a child that connects (gives its pid), or so many that end at once */
static long fork_child(long lives, long times)
{
	pid_t pid = -1;
	for (long i = 0; i < times; i++) {
		begin();
		pid = fork();
		if (pid == 0) {
			close(driver);
			if (!lives)
				_exit(0);
			for (int h = 0; h < n_held; h++)
				give_back(h);
			n_held = spinning = 0; /* only the thread that forks goes on in a child */
			enlist();
			pieces = -1; /* there is nobody who waits for an answer to `fork` here */
			return 0;
		}
		end();
		if (pid < 0)
			return -1;
		if (!lives)
			waitpid(pid, NULL, 0);
	}
	return pid;
}

/* pin ADDRESS BYTES: FOLL_PIN | FOLL_LONGTERM by a buffer registered with an io_uring of its own */
static long pin(long address, long bytes)
{
	char params[120] = {0};
	struct iovec range = {(void *)address, bytes};
	int ring = syscall(__NR_io_uring_setup, 1, params);
	if (ring < 0)
		return -1;
	if (n_held == MAX_HELD || syscall(__NR_io_uring_register, ring, 0, &range, 1)) {
		int error = errno;
		close(ring);
		errno = error;
		return -1;
	}
	held[n_held][0] = ring;
	held[n_held][1] = -1;
	return n_held++;
}

/* splice ADDRESS BYTES: FOLL_GET by the buffers of a pipe */
static long splice_pages(long address, long bytes)
{
	struct iovec range = {(void *)address, bytes};
	int ends[2];
	if (n_held == MAX_HELD || pipe2(ends, O_CLOEXEC))
		return -1;
	fcntl(ends[1], F_SETPIPE_SZ, bytes > 65536 ? bytes : 65536);
	if (vmsplice(ends[1], &range, 1, SPLICE_F_NONBLOCK) != bytes) {
		int error = errno;
		close(ends[0]);
		close(ends[1]);
		errno = error;
		return -1;
	}
	held[n_held][0] = ends[0];
	held[n_held][1] = ends[1];
	return n_held++;
}

static long release(long i)
{
	if (i < 0 || i >= n_held)
		return -1;
	if (held[i][1] < 0) /* a child may still have the ring open */
		syscall(__NR_io_uring_register, held[i][0], 1, NULL, 0);
	give_back(i);
	return 0;
}

/* spin CPU: keep another thread of this process running there; -1 ends it */
static long spin_on(long cpu)
{
	if (spinning) {
		spinning = 0;
		pthread_join(spinner, NULL);
	}
	if (cpu < 0)
		return 0;
	spinning = 1;
	return pthread_create(&spinner, NULL, spin, (void *)cpu) ? -1 : 0;
}

static long stay_on(long cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* barrier TIMES: an IPI to every CPU where a thread of this process runs; the first call only registers */
static long barrier(long times)
{
	if (syscall(__NR_membarrier, 1 << 4, 0, 0))
		return -1;
	for (long i = 0; i < times; i++) {
		begin();
		long result = syscall(__NR_membarrier, 1 << 3, 0, 0);
		end();
		if (result)
			return -1;
	}
	return 0;
}

/* bytes COPIES ADDRESS BYTES PER_PIECE: copy the second half of a range to the first, or clear the first, by pages */
static long bytes_of(long copies, long address, long bytes, long per_piece)
{
	for (long done = 0; done < bytes / 2;) {
		long until = done + per_piece;
		begin();
		for (; done < until; done += PAGE) {
			void *to = (void *)(address + done), *from = (void *)(address + bytes / 2 + done);
			size_t n = PAGE;
			if (copies)
				__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
			else
				__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
		}
		end();
	}
	return 0;
}

/* interrupt TIMES PIECES: so often nothing for a while, then as many IPIs as barrier sends; pieces are, by turns, of the one
 * and of the other, and have the turns that the spinner made in the place of CPU time */
static long interrupt(long times, long n)
{
	for (long i = 0; i < 2 * n; i++) {
		long before = turns, wall = now_ns(CLOCK_MONOTONIC), quiet = wall + 200000L;
		if (pieces == MAX_PIECES)
			return -1;
		if (i % 2)
			for (long k = 0; k < times; k++)
				if (syscall(__NR_membarrier, 1 << 3, 0, 0))
					return -1;
		while (!(i % 2) && now_ns(CLOCK_MONOTONIC) < quiet)
			;
		cpu_ns[pieces] = turns - before;
		wall_ns[pieces++] = now_ns(CLOCK_MONOTONIC) - wall;
	}
	return 0;
}

/* chase ADDRESS BYTES LOADS PER_PIECE: dependent loads, one line a page, in an order that covers the range once a round */
static long chase(long address, long bytes, long loads, long per_piece)
{
	uint64_t n = bytes / PAGE, *order = malloc(n * sizeof(*order)), random = 88172645463325252ULL;
	if (!order)
		return -1;
	for (uint64_t i = 0; i < n; i++)
		order[i] = i;
	for (uint64_t i = n - 1; i; i--) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		uint64_t j = random % (i + 1), swap = order[i];
		order[i] = order[j], order[j] = swap;
	}
	for (uint64_t i = 0; i < n; i++) /* another line in each page, or they would all fall into the same cache sets */
		*(uint64_t *)(address + order[i] * PAGE + order[i] % 64 * 64) =
			address + order[(i + 1) % n] * PAGE + order[(i + 1) % n] % 64 * 64;
	uint64_t at = address + order[0] * PAGE + order[0] % 64 * 64;
	free(order);
	for (uint64_t i = 0; i < n; i++)
		at = *(volatile uint64_t *)at;
	for (long done = 0; done < loads; done += per_piece) {
		begin();
		for (long i = 0; i < per_piece; i++)
			at = *(volatile uint64_t *)at;
		end();
	}
	sink = at;
	return 0;
}

static long obey(char *line)
{
	char *word[MAX_WORDS], *rest = NULL;
	long number[MAX_WORDS] = {0};
	int n = 0;
	for (char *w = strtok_r(line, " ", &rest); w && n < MAX_WORDS; w = strtok_r(NULL, " ", &rest), n++) {
		word[n] = w;
		number[n] = strtol(w, NULL, 0);
	}
	if (!n)
		return -1;
#define IS(name) (!strcmp(word[0], name))
	if (IS("map"))
		return map(number[1], number[2]);
	if (IS("touch"))
		return touch(number[1], number[2], number[3], number[4], number[5], number[6]);
	if (IS("advise") || IS("protect") || IS("unmap"))
		return over(word[0], number[1], number[2], number[3], number[4]);
	if (IS("drop"))
		return drop(number[1], number[2], word[3]);
	if (IS("fork"))
		return fork_child(number[1], number[2]);
	if (IS("lock"))
		return lock(number[1], number[2]);
	if (IS("move"))
		return move(number[1], number[2]);
	if (IS("pin"))
		return pin(number[1], number[2]);
	if (IS("splice"))
		return splice_pages(number[1], number[2]);
	if (IS("release"))
		return release(number[1]);
	if (IS("spin"))
		return spin_on(number[1]);
	if (IS("stay"))
		return stay_on(number[1]);
	if (IS("barrier"))
		return barrier(number[1]);
	if (IS("bytes"))
		return bytes_of(number[1], number[2], number[3], number[4]);
	if (IS("interrupt"))
		return interrupt(number[1], number[2]);
	if (IS("chase"))
		return chase(number[1], number[2], number[3], number[4]);
	errno = ENOSYS;
	return -1;
}

static void answer(long result, int error)
{
	FILE *out;
	char *text = NULL;
	size_t size = 0;
	if (pieces < 0)
		return;
	out = open_memstream(&text, &size);
	fprintf(out, "%ld %d %ld", result, result == -1 ? error : 0, pieces);
	for (long i = 0; i < pieces; i++)
		fprintf(out, " %ld", cpu_ns[i]);
	for (long i = 0; i < pieces; i++)
		fprintf(out, " %ld", wall_ns[i]);
	fputc('\n', out);
	fclose(out);
	for (size_t sent = 0; sent < size;) {
		ssize_t n = write(driver, text + sent, size - sent);
		if (n <= 0)
			_exit(0);
		sent += n;
	}
	free(text);
}

int main(int argc, char **argv)
{
	char line[512];
	if (argc != 2)
		return 2;
	driver_path = argv[1];
	enlist();
	for (;;) {
		size_t n = 0;
		while (n < sizeof(line) - 1 && read(driver, line + n, 1) == 1 && line[n] != '\n')
			n++;
		if (!n || line[n] != '\n')
			_exit(0);
		line[n] = 0;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		pieces = 0;
		errno = 0;
		long result = obey(line);
		answer(result, errno);
	}
}
