"""Work that is killed by SIGKILL in the middle, in a fork of the test's process: nothing of it is cleaned up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from django.db import connection


def kill_at(place: Any, name: str, work: Callable[[], Any]) -> bool:
    """Whether `work` got to the call of `place.name`, where its process was killed. Wants a database that commits
    (`django_db(transaction=True)`): a fork sees nothing of the test's transaction.
    """
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()  # or both processes speak over its sockets
    child = os.fork()
    if not child:
        try:
            setattr(place, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            work()
        finally:
            os._exit(1)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
