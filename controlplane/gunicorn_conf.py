"""gunicorn's settings and hooks. Event streams sleep in threads of their own, and a stop wakes them."""

import gc
import os
import signal
import sys

from controlplane.env import load_env
from workers.inspection import forbid_inspection

# Inherited by the workers: the child that looks ahead at a table (docs/adr/0008) is of the same user, and what it
# parses may be made to take it over. Here, for the exec of gunicorn has undone it.
forbid_inspection()
ENV = load_env()
SWITCH_SECONDS = 0.001
"""For how long a thread may keep the interpreter while others want it. Each statement of SQLite gives it up: with
Python's 5 ms, a call of ten statements beside fifteen pages that are being drawn waits ten times for each of them."""
COLLECTED_AFTER = (20_000, 10, 10)
"""New objects that are looked through at once: at Python's 700 a page begins hundreds of them, 7 % of its time."""

SLOTS: set[int] = set()
"""Taken by living workers; kept by the arbiter (controlplane/request_metrics.py)."""

bind = f"[{ENV.bind}]:{ENV.port}" if ":" in ENV.bind else f"{ENV.bind}:{ENV.port}"  # under `up`: the launcher's socket
wsgi_app = "controlplane.wsgi:application"
worker_class = "controlplane.keepalive_worker.BoundedThreads"
workers = ENV.web_workers
threads = ENV.web_threads
worker_connections = 4096  # all but some 200 of them wait in the main loop, without a thread
timeout = 120
graceful_timeout = 3
keepalive = 65
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - heartbeat files: a disk may stall
accesslog = None
errorlog = "-"
loglevel = ENV.log_level.lower()
limit_request_line = 0  # the main loop bounds it with the headers: MAX_HEAD_BYTES (controlplane/slow_clients.py)
forwarded_allow_ips = ",".join(ENV.proxy_addresses) if ENV.behind_tls else ""
max_requests = 50_000  # a leak, ours or a library's, does not grow for ever
max_requests_jitter = 5_000


def refuse_unsound(worker):
    """Stop the server if the audit trail could be edited. If the database is down, start anyway and answer 503."""
    from django.db import DatabaseError, connection

    from apps.platform.audit.checks import list_missing_triggers

    try:
        faults = list_missing_triggers()
    except DatabaseError:
        return
    finally:
        connection.close()
    if faults:
        worker.halt_server(" ".join(faults))


def on_starting(server):
    """Reset the request counters as the arbiter starts; they outlive its workers (controlplane/request_metrics.py)."""
    from controlplane.request_metrics import reset_counters

    reset_counters(ENV.home)


def pre_fork(server, worker):
    from controlplane.request_metrics import find_free_slot

    worker.slot = find_free_slot(SLOTS)
    SLOTS.add(worker.slot)


def post_fork(server, worker):
    from controlplane.request_metrics import take_slot

    take_slot(worker.slot)


def child_exit(server, worker):
    from controlplane.request_metrics import release_slot

    release_slot(worker.slot)
    SLOTS.discard(worker.slot)


def post_worker_init(worker):
    """Set STOPPING on SIGTERM: open event streams would delay a stop for the whole grace period."""
    refuse_unsound(worker)
    # What is loaded stays: a collection of garbage that walks it all halts every request for a tenth of a second.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    sys.setswitchinterval(SWITCH_SECONDS)
    from apps.platform.jobs.streams import STOPPING

    stop = signal.getsignal(signal.SIGTERM)

    def stop_streams(number, frame):
        STOPPING.set()
        stop(number, frame)

    signal.signal(signal.SIGTERM, stop_streams)
