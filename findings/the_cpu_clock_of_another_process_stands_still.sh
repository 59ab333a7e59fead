#!/usr/bin/env bash
# The CPU-time clock of another process that runs all the time moves once a tick: between two ticks it stands still.
#
# Version:   Linux 6.18.44, CONFIG_HZ=250.
# Behaviour: clock_gettime() of the clock that clock_getcpuclockid(3) gives for a busy process, read every 0.5 ms: most
#            readings equal the one before, and a step is a tick. perf's task clock of the same process, read in turn with
#            it, moves with every reading. A process's own clock does, too.
# Expected:  clock_getres() of it says 1 ns, and an interval of 1 ms can be timed with it.
# Source:    kernel/time/posix-cpu-timers.c cpu_clock_sample_group() -> kernel/sched/cputime.c thread_group_cputime():
#            task_sched_runtime(current) for the caller's own threads alone; sum_exec_runtime of others is that of their last
#            tick or switch. kernel/events/core.c cpu_clock_event_read() and task_clock_event_read() ask the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import ctypes
import os
import platform
import statistics
import struct
import subprocess
import sys
import time

if platform.machine() != "x86_64":
    print("skipped: the number of perf_event_open() below is that of x86_64", file=sys.stderr)
    sys.exit(77)
if len(os.sched_getaffinity(0)) < 2:
    print("skipped: needs two CPUs, one for the process that is timed", file=sys.stderr)
    sys.exit(77)

mine, other = sorted(os.sched_getaffinity(0))[:2]
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
os.sched_setaffinity(busy.pid, {other})
os.sched_setaffinity(0, {mine})
libc = ctypes.CDLL(None, use_errno=True)
attributes = struct.pack("=IIQQQQQ2IQ", 1, 64, 1, 0, 0, 0, 0, 0, 0, 0)  # software, task clock
perf = libc.syscall(298, attributes, busy.pid, -1, -1, 0)
try:
    if perf < 0:
        print("skipped: perf_event_open() is refused", file=sys.stderr)
        sys.exit(77)
    clock = ~busy.pid << 3 | 2
    print(f"resolution of the clock: {time.clock_getres(clock) * 1e9:.0f} ns")
    time.sleep(0.3)
    of_clock, of_perf = [], []
    for _ in range(400):
        of_clock.append(time.clock_gettime_ns(clock))
        of_perf.append(struct.unpack("=Q", os.read(perf, 8))[0])
        until = time.perf_counter() + 5e-4
        while time.perf_counter() < until:
            pass
finally:
    busy.kill()
    busy.wait()
for name, readings in (("CPU-time clock", of_clock), ("perf's task clock", of_perf)):
    steps = [after - before for before, after in zip(readings, readings[1:])]
    still = sum(step == 0 for step in steps) / len(steps)
    moved = statistics.median(step for step in steps if step) / 1e6
    told = "stands still at most readings" if still > 0.5 else "moves at most readings"
    print(f"{name}: {told}, a step is {'a millisecond or more' if moved >= 0.9 else 'below a millisecond'}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
resolution of the clock: 1 ns
CPU-time clock: stands still at most readings, a step is a millisecond or more
perf's task clock: moves at most readings, a step is below a millisecond
EOF
echo "as described"
