"""The worker of this machine: Celery with threads, listening to the doorbells of this node's queues."""

from __future__ import annotations

import os
from typing import Any

from celery import current_app as app
from django.conf import settings
from django.core.management.base import BaseCommand

from apps.platform.jobs.scheduling.doorbell import get_celery_queue
from apps.platform.nodes import hardware
from workers.startup_checks import refuse_unsound


class Command(BaseCommand):
    help = "Run jobs on this node until stopped."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        refuse_unsound()
        env = settings.ENV
        gpus = hardware.detect_gpus()[0]
        queues = [get_celery_queue(queue) for queue in env.node_queues if queue != "gpu" or gpus]
        # Threads: a prefork child never hears of a shutdown, and costs four times the memory. How many jobs a node
        # really runs is decided at the claim, by needs against capacity; the threads are only the ceiling.
        # Celery's command line takes BROKER_URL for its own and prefers it to the setting, which has the password.
        os.environ.pop("BROKER_URL", None)
        os.environ["CELERY_SKIP_CHECKS"] = "1"  # `make check` does them; they load every page, 1.5 s of each start
        app.worker_main(
            [
                "worker",
                "--pool=threads",
                f"--concurrency={env.worker_threads}",
                f"--queues={','.join([*queues, 'housekeeping'])}",
                f"--hostname=worker@{env.node}",
                f"--loglevel={env.log_level}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
