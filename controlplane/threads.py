"""gunicorn's threads, which stay with a connection whose next request comes at once.

gthread gives a kept connection back to its main thread, which waits for it and hands the next request to some thread:
a pipe, a queue, five calls of the system and two changes of the thread, for a loop that asks again within a
millisecond. Here the thread that answered waits for that moment itself.
"""

from __future__ import annotations

import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

STAY_MS = 10  # a thread that waits costs nothing, but others may need it


class StayingThreads(ThreadWorker):  # type: ignore[misc]
    def handle(self, conn: Any) -> Any:
        kept = super().handle(conn)
        while kept is True and self.alive and self.asks_again(conn):
            kept = super().handle(conn)
        return kept

    def asks_again(self, conn: Any) -> bool:
        """Whether the next request is there, or comes while this thread has nothing else to do.

        Where requests wait for a thread, it goes to them: a loop must not hold it. Bytes that were read already no
        poll would tell of; gthread looks for them when it has the connection back.
        """
        if not self.tpool._work_queue.empty() or conn.parser.unreader.buf.getvalue():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(STAY_MS))
