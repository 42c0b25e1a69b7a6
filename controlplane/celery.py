"""The Celery app. It rings doorbells and runs housekeeping; no message carries a job."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
TRANSPORT_ALIASES["planefs"] = "controlplane.broker:AtomicFilesystemTransport"

app = Celery("controlplane")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.imports = ["workers.tasks", "workers.housekeeping", "workers.monitoring.drift"]
