"""Who may look into a process. Imports nothing of the plane: it is called before anything secret is read."""

import ctypes

PR_SET_DUMPABLE = 4


def forbid_inspection() -> None:
    """Processes of the same user may no longer read this one's memory, environment or open files through /proc, nor
    trace it. An exec undoes it, so every program of the plane calls it at its own start.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
