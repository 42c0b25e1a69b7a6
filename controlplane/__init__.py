"""The wiring: settings, addresses, the Celery app, the launcher. No logic."""

from controlplane.celery import app as celery_app

__all__ = ["celery_app"]
