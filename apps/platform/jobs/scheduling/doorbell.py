"""Ringing: a message without a job says only "look at this queue". It may be lost or doubled without harm.

Publishing while Redis is down blocks for seconds, so a thread of its own rings, outside the request; what it
cannot deliver, the dispatcher rings again.
"""

from __future__ import annotations

import logging
import os
import queue as queues
import threading
import time

from celery import current_app

log = logging.getLogger(__name__)

TASK = "workers.tasks.run_next"
PAUSE_SECONDS = 0.01
MAX_UNHEARD = 64
"""Each is heard by one thread, which then loops. Without a limit the dispatcher's would pile up, one a second, for as
long as all threads of the workers are taken."""
_lock = threading.Lock()
_pending: dict[int, queues.SimpleQueue[str]] = {}  # by process: a thread does not survive a fork


def get_celery_queue(queue: str) -> str:
    return f"jobs-{queue}"


def ring_now(queue: str) -> None:
    """Publish one doorbell, unless enough wait unheard already; raises what the broker raises."""
    if count_unheard(queue) >= MAX_UNHEARD:
        return
    current_app.send_task(TASK, args=[queue], queue=get_celery_queue(queue), ignore_result=True, retry=False)


def count_unheard(queue: str) -> int:
    """Doorbells that no worker has taken yet."""
    with current_app.pool.acquire(block=True) as connection:
        try:
            declared = connection.default_channel.queue_declare(get_celery_queue(queue), passive=True)
        except connection.channel_errors:  # on Redis an empty queue does not exist
            return 0
        return int(declared.message_count)


def ring(queue: str) -> None:
    """Publish one doorbell soon, from the ringing thread; never raises, never blocks."""
    _get_pending_queue().put(queue)


def _get_pending_queue() -> queues.SimpleQueue[str]:
    with _lock:
        pid = os.getpid()
        if pid not in _pending:
            _pending.clear()
            _pending[pid] = queues.SimpleQueue()
            threading.Thread(target=_ring_forever, args=(_pending[pid],), name="doorbell", daemon=True).start()
        return _pending[pid]


def _ring_forever(pending: queues.SimpleQueue[str]) -> None:
    while True:
        queue_names = {pending.get()}
        while not pending.empty():
            queue_names.add(pending.get())
        for queue in queue_names:
            try:
                ring_now(queue)
            except Exception as failure:  # noqa: BLE001 - any broker, any fault: the dispatcher makes up for it
                log.warning("doorbell for %s not delivered: %s", queue, failure)
        # A worker loops until nothing is claimable, so thousands of submissions need no thousands of messages.
        time.sleep(PAUSE_SECONDS)
