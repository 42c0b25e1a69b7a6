"""Who ends a study and the end of its job take their rows in one order (apps/ml/federation/services/locks.py)."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection, transaction

from apps.core.errors import Conflict
from apps.ml.federation import services
from apps.ml.federation.models import SiteStudy
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]
BLOCKED_SECONDS = 0.3  # until the other thread waits for a row


def test_leaving_waits_for_the_end_of_the_job_and_not_the_other_way_round(approved, site_actor, worker_actor):
    if connection.vendor == "sqlite":
        pytest.skip("one writer at a time: nobody holds a row and waits for another")
    row = services.join_study(actor=site_actor, site_study=approved)
    holds_job, errors = threading.Event(), []

    def leave() -> None:
        holds_job.wait(60)
        try:
            services.leave_study(actor=site_actor, site_study=row)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=leave)
    thread.start()
    with transaction.atomic():  # as the worker ends a job
        Job.objects.select_for_update().get(pk=row.job_id)
        holds_job.set()
        time.sleep(BLOCKED_SECONDS)
        services.complete_site_study(actor=worker_actor, job=row.job, result={})
    thread.join(60)
    assert [type(error) for error in errors] == [Conflict]
    assert (errors[0].code, SiteStudy.objects.get().state) == ("study_state", "completed")
