"""Run a sweep on a Ray cluster from elsewhere, as a Ray job: its driver runs on the head, where its journal is.

    python jobs/submit.py [--address http://HEAD:8265] [--detach] -- workload=prefork ... sweep.dir=/data/sweeps

What follows `--` is what `thpsweep sweep` takes; sweep.dir has to be an absolute path, on the head. Shows progress until the
sweep ends, and exits as it does (0 all done, 1 some points failed, ...). --detach only begins it; Ctrl-C leaves it running.
The same command again watches it while it runs, and afterwards resumes it: points that are done are not run again.

Needs `ray[default]`, the cluster's token (~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN), and port 8265 of the
head: `ssh -L 8265:HEAD:8265 HEAD` brings it to the default address, http://127.0.0.1:8265.
"""

import argparse
import asyncio
import hashlib
import os
import shlex
import sys
import time

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


def main() -> int:
    """Begin the job or find it running, and watch it."""
    parser = argparse.ArgumentParser("submit.py", usage=(__doc__ or "").splitlines()[2].strip())
    parser.add_argument("--address", default="http://127.0.0.1:8265")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("overrides", nargs="+")
    options = parser.parse_args()
    if not any(text.startswith("sweep.dir=/") for text in options.overrides):
        parser.error("sweep.dir: expected an absolute path on the head, where the journal outlives the job")
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray reads it when it is imported
    if mode != "token" and os.environ.get("THPSWEEP_INSECURE_RAY") != "1":
        parser.error(f"RAY_AUTH_MODE={mode!r}: expected token (THPSWEEP_INSECURE_RAY=1 if you mean it)")
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(options.address)
        job = submitted(client, options.overrides)
        return 0 if options.detach else asyncio.run(watched(client, job))
    except AuthenticationError as problem:
        where = "in ~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
        message = f"turned away: expected the cluster's token, {where} ({str(problem).splitlines()[0][:120]})"
    except (RuntimeError, ConnectionError) as problem:
        message = " ".join(str(problem).split())[:300]
    print(f"submit.py: {options.address}: {message}", file=sys.stderr)
    return 2


def submitted(client, overrides: list[str]) -> str:
    """Give the id of the job that runs this command, begun now if there is none."""
    command = shlex.join(["thpsweep", "sweep", *overrides, "hydra.launcher.address=auto"])
    name = f"thpsweep-{hashlib.sha256(command.encode()).hexdigest()[:12]}"
    mine = [job for job in client.list_jobs() if (job.submission_id or "").startswith(name)]
    running = [job.submission_id for job in mine if str(job.status) not in ENDED]
    job = running[0] if running else client.submit_job(entrypoint=command, submission_id=f"{name}-{time.time_ns()}")
    print(f"{'already running' if running else 'submitted'}: {job}; `ray job stop {job}` ends it", file=sys.stderr)
    return job


async def watched(client, job: str) -> int:
    """Show what the sweep says to its end; give its exit code."""
    try:
        async for text in client.tail_job_logs(job):
            print(text, end="", flush=True)
        while str(client.get_job_status(job)) not in ENDED:
            await asyncio.sleep(0.5)
    except asyncio.CancelledError:  # Ctrl-C
        print(f"\nsubmit.py: {job} goes on; the same command watches it again", file=sys.stderr)
        return 130
    info = client.get_job_info(job)
    print(f"{info.status}: {job}", file=sys.stderr)
    return 0 if str(info.status) == "SUCCEEDED" else info.driver_exit_code or 1


if __name__ == "__main__":
    sys.exit(main())
