#!/usr/bin/env bash
# A program started from a large process reports the large process's peak as its own ru_maxrss.
#
# Version:   Linux 6.18.44, CPython 3.11 subprocess (vfork).
# Behaviour: a process of about 300 MiB runs "true". RUSAGE_CHILDREN.ru_maxrss is about 300 MiB, and a fresh
#            interpreter that is started from it reads about 300 MiB as its own RUSAGE_SELF.ru_maxrss, while its VmHWM
#            in /proc/self/status is a few MiB.
# Expected:  exec starts a new address space, so a new peak.
# Source:    fs/exec.c exec_mmap(): setmax_mm_hiwater_rss(&tsk->signal->maxrss, old_mm): with vfork the old mm is the
#            parent's.
# Effect:    "peak memory per point", measured around subprocesses of a large driver, is the driver's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import resource
import subprocess
import sys

ballast = bytearray(300 << 20)
for at in range(0, len(ballast), 4096):
    ballast[at] = 1
code = (
    "import resource; own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024;"
    "peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024;"
    "print('its own ru_maxrss is', '300 MiB or more' if own >= 300 else own, '- its VmHWM is', 'less than 100 MiB' if peak < 100 else peak)"
)
subprocess.run(["true"], check=True)
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
print("RUSAGE_CHILDREN after running true:", "300 MiB or more" if children >= 300 else children)
print("a fresh interpreter:", subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout, end="")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
RUSAGE_CHILDREN after running true: 300 MiB or more
a fresh interpreter: its own ru_maxrss is 300 MiB or more - its VmHWM is less than 100 MiB
EOF
echo "as described"
