"""What a refused request has stored goes at once, unless somebody else counts on it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.artifacts.garbage import rollback_uploads
from apps.platform.artifacts.models import Artifact, Collected, Holding
from apps.platform.artifacts.services import publish_upload
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobInput

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def put(folder, actor_for, engineer, project):
    """put(bytes) -> the artifact: uploaded by the engineer."""

    def send(data: bytes = b"of a refused push") -> Artifact:
        who = actor_for(engineer)
        return publish_upload(actor=who, project=project, stream=[data], name="it").artifact

    return send


@pytest.fixture
def back(actor_for, engineer, project):
    """back(artifact, since=...) -> the digests that went."""

    def take(artifact, since=None, who=None):
        since = since or timezone.now() - timedelta(minutes=1)
        actor = actor_for(who or engineer)
        return [one.digest for one in rollback_uploads(actor=actor, project=project, artifacts=[artifact], since=since)]

    return take


def test_bytes_rows_and_holding_go_and_the_trail_has_it(put, back):
    artifact = put()
    assert back(artifact) == [artifact.digest]
    assert not get_store().exists(artifact.digest)
    assert not Artifact.objects.exists()
    assert not Holding.objects.exists()
    assert Collected.objects.get().digest == artifact.digest
    assert artifact.digest in AuditRecord.objects.get(action="artifact.take_back").body
    assert put().digest == artifact.digest  # and they can come again


def test_what_was_there_before_stays(put, back):
    assert back(put(), since=timezone.now()) == []
    assert Artifact.objects.exists()


def test_what_came_again_stays(put, back):
    put()
    assert back(put()) == []


def test_what_is_cited_meanwhile_stays(put, back, project):
    artifact = put()
    job = Job.objects.create(
        project=project, kind="noop", spec="{}", spec_digest="", queue="cpu", time_limit_seconds=1, grant={}
    )
    JobInput.objects.create(job=job, slot="table", artifact=artifact)
    assert back(artifact) == []


def test_what_another_project_holds_stays(put, back, other_project):
    artifact = put()
    Holding.objects.create(project=other_project, artifact=artifact, created_by="x")
    assert back(artifact) == []


def test_bytes_that_another_writer_has_just_found_stay(put, back, stored):
    artifact = put()
    Artifact.objects.update(created_at=timezone.now() - timedelta(seconds=5))
    stored(get_store(), b"of a refused push")  # published again, and not registered yet
    assert back(artifact) == []
    assert get_store().exists(artifact.digest)


def test_who_may(put, back, viewer):
    with pytest.raises(Refused):
        back(put(), who=viewer)
