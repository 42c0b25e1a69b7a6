"""PROJECT_QUOTA_BYTES: what people send counts and is refused beyond it; what a job made is kept."""

from __future__ import annotations

import hashlib

import pytest

from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.services import OverQuota, adopt, get_free_quota, publish_upload, quota
from apps.platform.artifacts.stores import get_store

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def send(folder, settings, actor_for, engineer, project):
    settings.ENV = settings.ENV.model_copy(update={"project_quota_bytes": 100})

    def put(data, **more):
        return publish_upload(actor=actor_for(engineer), project=project, stream=iter([data]), **more)

    return put


def test_up_to_the_limit_and_not_beyond(send, project):
    send(b"a" * 60)
    assert get_free_quota(project) == 40
    send(b"b" * 40)
    with pytest.raises(OverQuota) as refused:
        send(b"c", expected_size=1)
    assert (refused.value.status, refused.value.code, refused.value.limit) == (507, "over_quota", 100)


def test_a_length_that_was_not_announced_is_counted_as_it_comes(send, project):
    with pytest.raises(OverQuota):
        send(b"x" * 101)
    assert not Holding.objects.exists()
    assert not list(get_store().staging.glob("*"))


def test_what_is_held_already_may_be_sent_again(send):
    send(b"a" * 100)
    digest = hashlib.sha256(b"a" * 100).hexdigest()
    assert not send(b"a" * 100, expected_digest=digest, expected_size=100).is_new


def test_each_project_has_its_own(send, other_project):
    send(b"a" * 100)
    assert get_free_quota(other_project) == 100


def test_what_a_job_made_is_kept(send, worker_actor, project):
    send(b"a" * 90)
    adopt(actor=worker_actor, project=project, digest="ab" * 32, size=500)
    assert get_free_quota(project) == 0


def test_over_rest(api, engineer, project, folder, settings):
    settings.ENV = settings.ENV.model_copy(update={"project_quota_bytes": 10})
    there = "/api/v1/projects/demo/artifacts"
    answer = api(engineer).post(there, b"x" * 11, content_type="application/octet-stream")
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "over_quota")


def test_a_project_may_hold_half_of_the_disk_by_default(
    send, settings, monkeypatch, django_assert_num_queries, project
):
    settings.ENV = settings.ENV.model_copy(update={"project_quota_bytes": -1, "upload_limit_bytes": 100})
    send(b"a" * 60)
    monkeypatch.setattr(quota, "get_store_space", lambda: (200, 150))
    assert (quota.get_quota_bytes(), get_free_quota(project)) == (100, 40)
    with pytest.raises(OverQuota):
        send(b"b" * 41)
    monkeypatch.setattr(quota, "get_store_space", lambda: (10_000, 150))
    with django_assert_num_queries(0):  # the whole disk holds less than one project may
        assert get_free_quota(project, wanted=100) == 4850
    monkeypatch.setattr(quota, "get_store_space", lambda: None)
    assert quota.get_quota_bytes() == quota.QUOTA_WITHOUT_DISK
    settings.ENV = settings.ENV.model_copy(update={"project_quota_bytes": 0})
    assert get_free_quota(project) is None
