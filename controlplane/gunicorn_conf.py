"""gunicorn, threads: event streams sleep in threads of their own, and a stop wakes them."""

import os
import signal

from controlplane.env import load_env

ENV = load_env()

wsgi_app = "controlplane.wsgi:application"
worker_class = "gthread"
workers = ENV.web_workers
threads = ENV.web_threads
timeout = 120
graceful_timeout = 3
keepalive = 65
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - heartbeat files: a disk may stall
accesslog = None
errorlog = "-"
loglevel = ENV.log_level.lower()
limit_request_line = 8190
forwarded_allow_ips = "127.0.0.1,::1" if ENV.behind_tls else ""
max_requests = 50_000  # a leak, ours or a library's, does not grow for ever
max_requests_jitter = 5_000


def post_worker_init(worker):
    """Open event streams would make a stop wait its whole grace: they watch an event that SIGTERM sets."""
    from apps.jobs.streams import STOPPING

    stop = signal.getsignal(signal.SIGTERM)

    def stop_streams(number, frame):
        STOPPING.set()
        stop(number, frame)

    signal.signal(signal.SIGTERM, stop_streams)
