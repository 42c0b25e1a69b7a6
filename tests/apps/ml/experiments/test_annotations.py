"""What people say of a run: note, tags, deleted and back; who may, what is refused, what is recorded."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.experiments.keys import NOTE_TAG, TAG_LIMIT
from apps.ml.experiments.models import Run
from apps.ml.experiments.services import annotations
from apps.platform.audit.models import AuditRecord
from apps.platform.holds.services import place_hold
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def ended(run, finish):
    finish(run)
    Job.objects.filter(pk=run.job_id).update(state="succeeded")
    return run


def tags(run) -> dict[str, str]:
    return dict(run.tags.values_list("key", "value"))


# -- the note -------------------------------------------------------------------------------------------------------
def test_a_note_is_the_tag_that_mlflow_shows(actor, run):
    annotations.set_note(actor=actor, run=run, text=" # Why\r\n\r\nwider ")
    assert tags(run) == {NOTE_TAG: "# Why\n\nwider"}
    body = json.loads(AuditRecord.objects.get(action="run.set_note").body)
    assert (body["before"], body["after"]) == ({}, {NOTE_TAG: "# Why\n\nwider"})


def test_the_same_note_again_changes_nothing(actor, run):
    for _ in range(2):
        annotations.set_note(actor=actor, run=run, text="one")
    assert AuditRecord.objects.filter(action="run.set_note").count() == 1


def test_an_empty_note_is_none(actor, run):
    annotations.set_note(actor=actor, run=run, text="one")
    annotations.set_note(actor=actor, run=run, text="  ")
    assert tags(run) == {}


@pytest.mark.parametrize("text", ["x" * (TAG_LIMIT + 1), "a\x00b"])
def test_a_note_that_cannot_be_kept(actor, run, text):
    with pytest.raises(Invalid) as refused:
        annotations.set_note(actor=actor, run=run, text=text)
    assert refused.value.field == "text"
    assert tags(run) == {}


# -- tags -----------------------------------------------------------------------------------------------------------
def test_a_tag_is_set_changed_and_removed(actor, run):
    annotations.set_run_tag(actor=actor, run=run, key="team", value="a")
    annotations.set_run_tag(actor=actor, run=run, key="team", value="b")
    assert tags(run) == {"team": "b"}
    annotations.delete_run_tag(actor=actor, run=run, key="team")
    assert tags(run) == {}
    assert AuditRecord.objects.filter(action__in=("run.set_tag", "run.delete_tag")).count() == 3


@pytest.mark.parametrize("key", ["", "x" * 251, "a\x00", " a", "mlflow.runName"])
def test_what_is_no_key(actor, run, key):
    with pytest.raises(Invalid) as refused:
        annotations.set_run_tag(actor=actor, run=run, key=key, value="1")
    assert refused.value.field == "key"


def test_a_tag_that_is_not_there(actor, run):
    with pytest.raises(NotFound):
        annotations.delete_run_tag(actor=actor, run=run, key="team\x00")


def test_tags_are_not_without_end(actor, run, monkeypatch):
    monkeypatch.setattr(annotations, "TAGS_LIMIT", 1)
    annotations.set_run_tag(actor=actor, run=run, key="a", value="1")
    annotations.set_run_tag(actor=actor, run=run, key="a", value="2")
    with pytest.raises(Invalid):
        annotations.set_run_tag(actor=actor, run=run, key="b", value="1")


# -- deleted and back -----------------------------------------------------------------------------------------------
def test_a_run_is_deleted_and_back(actor, ended):
    annotations.delete_run(actor=actor, run=ended, reason="a typo")
    ended.refresh_from_db()
    assert ended.deleted_at is not None
    assert json.loads(AuditRecord.objects.get(action="run.delete").body)["reason"] == "a typo"
    annotations.restore_run(actor=actor, run=ended)
    ended.refresh_from_db()
    assert ended.deleted_at is None


def test_not_twice(actor, ended):
    annotations.delete_run(actor=actor, run=ended)
    with pytest.raises(Conflict):
        annotations.delete_run(actor=actor, run=ended)
    annotations.restore_run(actor=actor, run=ended)
    with pytest.raises(Conflict):
        annotations.restore_run(actor=actor, run=ended)


def test_not_while_its_job_records_it(actor, run):
    with pytest.raises(Conflict) as refused:
        annotations.delete_run(actor=actor, run=run)
    assert "Cancel the job" in refused.value.hint


@pytest.mark.parametrize("kind", ["run", "experiment"])
def test_not_while_a_hold_keeps_it(actor, ended, auditor, actor_for, kind):
    of = {"run": ended.pk, "experiment": str(ended.experiment_id)}
    place_hold(actor=actor_for(auditor), project=ended.project, object_type=kind, object_id=of[kind], reason="case 12")
    with pytest.raises(Conflict, match="case 12"):
        annotations.delete_run(actor=actor, run=ended)
    ended.refresh_from_db()
    assert ended.deleted_at is None


def test_what_is_going_for_good_is_not_restored(actor, ended):
    Run.objects.filter(pk=ended.pk).update(deleted_at=timezone.now(), purging_at=timezone.now())
    with pytest.raises(Conflict) as refused:
        annotations.restore_run(actor=actor, run=ended)
    assert refused.value.code == "run_is_going"


def test_what_is_deleted_is_not_written(actor, ended):
    annotations.delete_run(actor=actor, run=ended)
    with pytest.raises(Conflict):
        annotations.set_note(actor=actor, run=ended, text="late")
    assert tags(ended) == {}


# -- who ------------------------------------------------------------------------------------------------------------
CALLS = [
    lambda actor, run: annotations.set_note(actor=actor, run=run, text="x"),
    lambda actor, run: annotations.set_run_tag(actor=actor, run=run, key="k", value="v"),
    lambda actor, run: annotations.delete_run_tag(actor=actor, run=run, key="k"),
    lambda actor, run: annotations.delete_run(actor=actor, run=run),
    lambda actor, run: annotations.restore_run(actor=actor, run=run),
]


def test_every_write_requires_a_role_in_the_project(actor_for, viewer, stranger, run):
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        actor = actor_for(user)
        for call in CALLS:
            with pytest.raises(error):
                call(actor, run)
    assert tags(run) == {}
