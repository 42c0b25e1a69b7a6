"""What a pipeline is said to be: read from the states of its jobs (reads.Summary), stored nowhere."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.platform.jobs.states import JobState


class PipelineState(models.TextChoices):
    RUNNING = "running", _("Running")  # a job of it may still move
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


MOVING: tuple[str, ...] = (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)
