"""Run a module under resource limits: the engine's command line for one short request, or the reader of one CSV file.

Started as `python -I bounded_child.py SECONDS MEMORY_BYTES FILE_BYTES MODULE WORDS...` with an environment built from
nothing. Standard library only, no Django. It ends by itself whatever happens to its parent: the kernel's alarm kills
it.
"""

import ctypes
import os
import resource
import runpy
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[3]  # where the engine is, installed or not


def bind(seconds: int, memory: int, written: int) -> None:
    """Set limits that the module cannot raise again."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.alarm(seconds)  # of the wall clock
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_NOFILE, 4096),  # keys that must be unique lie in 64 files each, beyond two million
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]  # which may be lower already
        # A second more of the processor, or the limit would kill as the kernel does where memory runs out.
        bound = most + (kind == resource.RLIMIT_CPU)
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (min(most, bound), bound))
    with suppress(OSError):  # where memory runs out, this process goes, and not the one that answers requests
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.nice(10)  # a page that is asked for goes before one that is looked ahead for


if __name__ == "__main__":
    bind(*map(int, sys.argv[1:4]))
    module = sys.argv[4]
    sys.argv = [module, *sys.argv[5:]]
    sys.path.insert(0, str(ROOT))
    runpy.run_module(module, run_name="__main__")
