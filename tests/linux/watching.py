"""A family that is watched while it acts."""

from concurrent.futures import ThreadPoolExecutor

from thpsweep.linux.activity.watch import WatchRequest, watch
from thpsweep.units import HPAGE_PMD_NR

REGIONS, SECONDS = 4, 1.0
N = REGIONS * HPAGE_PMD_NR
WRITTEN, LATE, CHILD_READS = 37, 21, 300
WORKER_COLD = "worker_cold_writes_per_page_hour"


def watched_while(root, act, *, aside=False, seconds=SECONDS, **options):
    """Watch a family that acts in the middle of it; while it does, the watcher looks who lives only if it acts aside."""
    with ThreadPoolExecutor(1) as executor:
        acts = []

        def progress(passed_s):
            if passed_s > seconds / 4 and not acts:
                acts.append(executor.submit(act))
                if not aside:
                    acts[0].result()

        seen = watch(WatchRequest(root.pid, True, seconds, progress=progress, **options))
        acts[0].result()
    return seen


def family_of_two(live):
    root = live.start()
    memory = root.map(REGIONS)
    root.write(memory, range(N))
    child, _ = live.fork(root)
    return root, child, memory
