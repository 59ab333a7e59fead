#!/usr/bin/env bash
# subprocess.run(user=...) makes the parent fault again on every page that it writes afterwards; without `user` it does not.
#
# Version:   Python 3.11 (seen on 3.11.7), Linux 6.18.44.
# Behaviour: a process writes each of 16,384 pages, runs `true`, and writes them all again. The second round takes no
#            page fault after subprocess.run() with no options, cwd, umask, start_new_session or process_group, and one
#            for each page after user, group, extra_groups (even the user's own) or preexec_fn.
# Expected:  the options differ in what the child does; what the parent pays does not depend on them.
# Source:    Modules/_posixsubprocess.c: the child is made by vfork(), which copies no page tables, unless preexec_fn or
#            an ID is set; then by fork(), whose copy_page_range() (mm/memory.c) write-protects every page of the parent.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import mmap
import os
import resource
import subprocess
import sys

if sys.platform != "linux" or sys.version_info < (3, 11):
    print("skipped: needs Python 3.11 on Linux", file=sys.stderr)
    sys.exit(77)
if os.getuid():
    print("skipped: needs root, which may set the groups of a child", file=sys.stderr)
    sys.exit(77)

PAGES = 16384
memory = mmap.mmap(-1, PAGES * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(15)  # MADV_NOHUGEPAGE


def faults_of_writing():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for at in range(0, len(memory), 4096):
        memory[at] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults_of_writing()
for title, options in {
    "no options": {},
    "cwd": {"cwd": "/"},
    "umask": {"umask": 0o22},
    "start_new_session": {"start_new_session": True},
    "process_group": {"process_group": 0},
    "user": {"user": os.getuid()},
    "group": {"group": os.getgid()},
    "extra_groups": {"extra_groups": [os.getgid()]},
    "preexec_fn": {"preexec_fn": lambda: None},
}.items():
    subprocess.run(["true"], check=True, **options)
    faults = faults_of_writing()
    print(f"{title}: {'a fault a page' if faults >= PAGES else 'none' if faults < 100 else faults}")
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
no options: none
cwd: none
umask: none
start_new_session: none
process_group: none
user: a fault a page
group: a fault a page
extra_groups: a fault a page
preexec_fn: a fault a page
EOF
echo "as described"
