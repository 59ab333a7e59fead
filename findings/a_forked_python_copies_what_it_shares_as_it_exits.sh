#!/usr/bin/env bash
# A forked Python that ends by sys.exit() copies the memory that it shares with its parent, page by page, as it exits.
#
# Version:   CPython 3.11.7, Linux 6.18.44.
# Behaviour: a parent holds 300,000 strings, 20 MiB. A child that does nothing and ends by os._exit() takes about 220 page
#            faults; one that ends by sys.exit(), as a worker that was told to stop does, 7,200: the interpreter frees each
#            object, which writes to it, and each first write copies the page. gc.freeze() before the fork leaves a fifth
#            of that. The workers of multiprocessing end by os._exit(), those of gunicorn raise SystemExit.
# Expected:  leaving gives memory back; a child that only reads costs no copies.
# Source:    Python/pylifecycle.c Py_FinalizeEx() clears all modules; Objects/obmalloc.c keeps its free lists in the
#            freed blocks; kernel: mm/memory.c do_wp_page().
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - >"$work/seen" <<'EOF'
import gc
import os
import sys
from multiprocessing import get_context

DATA = [str(i) * 3 for i in range(300_000)]


def faults(end):
    """Fork a child that ends so; count its page faults."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        end(0)
    return size(os.wait4(child, 0)[2].ru_minflt)


def size(n):
    return "under 1,000" if n < 1_000 else "over 5,000" if n > 5_000 else "between"


def by_multiprocessing():
    worker = get_context("fork").Process(target=len, args=(DATA,))
    worker.start()
    return size(os.wait4(worker.pid, 0)[2].ru_minflt)


print("page faults of the child:")
print("os._exit", faults(os._exit))
print("sys.exit", faults(sys.exit))
gc.freeze()
print("after gc.freeze(), sys.exit", faults(sys.exit))
print("multiprocessing", by_multiprocessing(), flush=True)
os._exit(0)
EOF
diff - "$work/seen" <<'EOF' || { echo "the behaviour has changed" >&2; exit 1; }
page faults of the child:
os._exit under 1,000
sys.exit over 5,000
after gc.freeze(), sys.exit between
multiprocessing under 1,000
EOF
echo "as described"
