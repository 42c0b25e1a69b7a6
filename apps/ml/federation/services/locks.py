"""The order in which rows are locked: the job of a study first, then the study.

The end of a job holds the job's row when it completes the study (workers/runner.py). Who ends a study, which cancels
its job, takes the same order: the other way round the two would wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from apps.core.errors import StaleState
from apps.ml.federation.models import SiteStudy, Study
from apps.platform.jobs.models import Job
from deepseek.messages import N_


@contextmanager
def lock_job_of(study: Study | SiteStudy) -> Iterator[None]:
    """A transaction that holds the row of the study's job, where it has one; lock the study inside.

    Raises StaleState where the study was given a job meanwhile: it was started, or joined, at this moment.
    """
    model = type(study)
    with transaction.atomic():
        pk = model._default_manager.values_list("job", flat=True).get(pk=study.pk)
        if pk is not None:
            Job.objects.select_for_update(no_key=True).filter(pk=pk).first()
        if model._default_manager.select_for_update().values_list("job", flat=True).get(pk=study.pk) != pk:
            raise StaleState(
                "The study was started at this moment.", field="state", hint=N_("Read it again and decide anew.")
            )
        yield
