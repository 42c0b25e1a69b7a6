from __future__ import annotations

import pytest

from apps.core.errors import NotFound, Refused
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.services import store_file


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "report.json"
    made.write_text("{}")
    return made


def test_a_local_file_is_stored_under_its_name(kept, worker_actor, project, path):
    artifact = store_file(actor=worker_actor, project=project, path=path, media_type="application/json")
    assert b"".join(kept.open(artifact.digest)) == b"{}"
    assert [(h.name, h.media_type) for h in Holding.objects.all()] == [("report.json", "application/json")]


def test_an_empty_file_is_a_file(kept, worker_actor, project, path):
    path.write_bytes(b"")
    assert store_file(actor=worker_actor, project=project, path=path, name="empty").size == 0


def test_twice_is_once(folder, worker_actor, project, path):
    assert store_file(actor=worker_actor, project=project, path=path) == store_file(
        actor=worker_actor, project=project, path=path
    )
    assert Holding.objects.count() == 1


def test_others_may_not(folder, viewer, stranger, actor_for, project, path):
    for who, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            store_file(actor=actor_for(who), project=project, path=path)
