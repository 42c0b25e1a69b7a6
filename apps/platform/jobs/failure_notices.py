"""Who is told that a job has failed: whoever submitted it, if they chose to be, and the project's webhooks."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.platform.jobs.models import Job
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices
from deepseek.messages import Message

FAILED = "job.failed"
FAILED_KIND = NoticeKind(
    label=_("Job failed"),
    description=_("A job that you submitted has failed. Off unless you choose it."),
    channels=frozenset(),
)


def notify_of_failure(job: Job) -> None:
    """In the transaction of the move. The jobs that fail with it are not told of: one cause is one notice."""
    project, person = job.project, job.grant.get("user")
    message = Message("Job {number} ({kind}) of {project} failed.", number=job.pk, kind=job.kind, project=project.slug)
    path = reverse("jobs:detail", args=[project.slug, job.pk])
    recipients = [person] if person else []
    queue_notices(kind=FAILED, message=message, path=path, recipients=recipients, subject=job, project=project)
