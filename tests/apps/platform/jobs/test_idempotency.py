"""Idempotent submission: which of its parts run, and what a database error in the insert means."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from apps.platform.jobs.models import Job
from apps.platform.jobs.services.idempotency import find_by_idempotency_key, submit_once

pytestmark = pytest.mark.django_db


def fail_if_called(*_):
    raise AssertionError("not to be called")


def test_the_first_row_is_returned_without_validating_again(submit):
    job = submit()
    found = submit_once(find_first=lambda: job, validate=fail_if_called, insert=fail_if_called)
    assert found == (job, False)


def test_a_new_row_is_inserted_from_what_was_validated(submit):
    made = submit_once(find_first=lambda: None, validate=lambda: "x" * 3, insert=lambda name: submit(name=name))
    assert made == (Job.objects.get(name="xxx"), True)


def test_who_loses_to_the_same_key_gets_the_first_row_and_leaves_nothing(submit):
    job = submit(idempotency_key="k")
    seen = iter([None, job])

    def insert(_):
        submit(name="mine")
        Job.objects.create(pk=job.pk)

    assert submit_once(find_first=lambda: next(seen), validate=lambda: None, insert=insert) == (job, False)
    assert Job.objects.get() == job


def test_an_error_of_the_database_that_no_key_explains_is_raised(submit):
    job = submit()
    with pytest.raises(IntegrityError):
        submit_once(find_first=lambda: None, validate=lambda: None, insert=lambda _: Job.objects.create(pk=job.pk))


def test_a_key_is_of_one_requester_in_one_project(submit, actor_for, engineer, viewer, project, other_project):
    job = submit(idempotency_key="k")
    jobs, actor = Job.objects.all(), actor_for(engineer)
    assert find_by_idempotency_key(jobs, actor=actor, project_id=project.pk, key="k") == job
    assert find_by_idempotency_key(jobs, actor=actor, project_id=project.pk, key="other") is None
    assert find_by_idempotency_key(jobs, actor=actor_for(viewer), project_id=project.pk, key="k") is None
    assert find_by_idempotency_key(jobs, actor=actor, project_id=other_project.pk, key="k") is None


def test_rows_without_a_key_are_never_the_first(submit, actor_for, engineer, project):
    submit()
    assert (
        find_by_idempotency_key(Job.objects.all(), actor=actor_for(engineer), project_id=project.pk, key=None) is None
    )
