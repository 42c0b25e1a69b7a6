"""What this node can give an attempt: every way of a sandbox is entered once, by a process of its own.

Run as `python -I sandbox_trial.py` when a worker starts, with the plan as JSON on stdin. Standard library only.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent  # of the packages, which `-I` leaves out of the search path
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from workers.images.root import start_launcher  # noqa: E402
from workers.sandbox import CannotIsolate, can_keep_signals_inside, enter, grant_folder  # noqa: E402

CAP_SYS_PTRACE = 19
TRY_SECONDS = 60.0  # for one way of a sandbox
TIMED_OUT = "does not end within"  # in the reason of a way that was tried for too long


def try_all(plan: dict[str, Any], user: int) -> dict[str, Any]:
    """The first sandbox that this machine lets a process enter and in which its interpreter starts.

    `why_not`: what was tried before it, each with its reason. `no_processes`: why it has no process namespace;
    `no_images`: why no process in it can have another root, if that was asked for.
    """
    image = plan.pop("image", None)
    ways = [("root", user), ("root", None)] if user else [("root", None)]
    why_not = []
    for way, uid in [*(ways if os.geteuid() == 0 else ()), ("user", None)]:
        if uid is not None and not can_read_other_processes():
            failure: str | None = "CAP_SYS_PTRACE is missing: the worker could not find what an attempt leaves running"
        else:
            failure = try_one({**plan, "way": way, "user": uid})
        if failure is None:
            trial = {**plan, "way": way, "user": uid, "own_processes": True}
            no_processes = try_one(trial) or ""
            no_images = try_one({**trial, "image": image}) or "" if image and not no_processes else no_processes
            return {
                "way": way,
                "user": uid,
                "why_not": why_not,
                "signals": can_keep_signals_inside(),
                "no_processes": no_processes,
                "no_images": no_images,
            }
        why_not.append({"way": way, "user": uid, "reason": failure})
        if uid is not None:
            grant_folder(Path(plan["scratch"]), os.geteuid())  # back, for whoever tries next
    return {"way": "none", "user": None, "why_not": why_not}


def can_read_other_processes() -> bool:
    """Whether this process may read the environments of other users' processes, by which an attempt's are found."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> CAP_SYS_PTRACE & 1)


def try_one(plan: dict[str, Any]) -> str | None:
    """None if a process can enter the sandbox and import the engine there, else why not."""
    import subprocess

    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        failure = "it ended"
        try:
            os.setsid()  # a group of its own, which is ended together
            enter(plan, launch=start_launcher)
            command = [sys.executable, "-I", "-c", IMPORT, plan["code"]]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            failure = "" if ended.returncode == 0 else f"the interpreter does not start: {ended.stderr.strip()[-200:]}"
        except PermissionError:
            failure = f"{sys.executable} cannot be read by this user"
        except (OSError, CannotIsolate) as reason:
            failure = str(reason)
        finally:
            os.write(writing, failure.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], TRY_SECONDS)[0]:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            return f"it {TIMED_OUT} {TRY_SECONDS:g} s"  # not waited for: a file system may hold it
        failure = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return failure or ("it was ended before it could tell" if status else None)


IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); import workers.child, workers.sandbox"


if __name__ == "__main__":
    request = json.load(sys.stdin)
    json.dump(try_all(request["plan"], request["user"]), sys.stdout)
