"""Locks: taken once, listed, verified before a push, and given back by their owner or by an approver."""

from __future__ import annotations

import pytest

from apps.data.repositories.models import Lock
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def colleague(project):
    from apps.core.actors import ProjectRole
    from tests.conftest import member

    return member(project, "colleague", ProjectRole.ENGINEER)


def lock(asker, path="table.csv"):
    return asker.lfs("/locks", {"path": path, "ref": {"name": "refs/heads/main"}})


def test_a_path_is_locked_once(asker, engineer, colleague, dataset):
    answer = lock(asker(engineer))
    assert answer.status_code == 201
    made = answer.json()["lock"]
    assert (made["path"], made["owner"]) == ("table.csv", {"name": "engineer"})
    assert made["locked_at"].endswith("Z")
    again = lock(asker(colleague))
    assert (again.status_code, again.json()["lock"]) == (409, made)
    assert "locked by engineer" in again.json()["message"]
    assert "table.csv" in AuditRecord.objects.get(action="repository.lock").body


def test_locks_are_listed_in_pages(asker, engineer, viewer, dataset):
    made = [lock(asker(engineer), f"{name}.csv").json()["lock"] for name in "abc"]
    first = asker(viewer).get("/info/lfs/locks", data={"limit": 2}).json()
    assert first["locks"] == made[:2]
    rest = asker(viewer).get("/info/lfs/locks", data={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert rest == {"locks": made[2:]}
    assert asker(viewer).get("/info/lfs/locks", data={"path": "b.csv"}).json()["locks"] == made[1:2]
    assert asker(viewer).get("/info/lfs/locks", data={"id": made[2]["id"]}).json()["locks"] == made[2:]


def test_before_a_push_mine_are_told_from_others(asker, engineer, colleague, viewer, dataset):
    lock(asker(engineer), "mine.csv")
    lock(asker(colleague), "theirs.csv")
    found = asker(engineer).lfs("/locks/verify", {}).json()
    assert [[one["path"] for one in found[side]] for side in ("ours", "theirs")] == [["mine.csv"], ["theirs.csv"]]
    assert asker(viewer).lfs("/locks/verify", {}).status_code == 403


def test_the_owner_unlocks(asker, engineer, dataset):
    made = lock(asker(engineer)).json()["lock"]
    assert asker(engineer).lfs(f"/locks/{made['id']}/unlock", {}).json() == {"lock": made}
    assert asker(engineer).lfs(f"/locks/{made['id']}/unlock", {}).status_code == 404
    assert AuditRecord.objects.filter(action="repository.unlock").count() == 1


def test_another_unlocks_by_force_and_by_policy_alone(asker, engineer, colleague, approver, viewer, dataset):
    made = lock(asker(engineer)).json()["lock"]
    for who, force, status in (
        (colleague, True, 403),
        (viewer, True, 403),
        (approver, False, 403),
        (approver, True, 200),
    ):
        answer = asker(who).lfs(f"/locks/{made['id']}/unlock", {"force": force})
        assert answer.status_code == status
    assert not Lock.objects.exists()
    assert '"forced":true' in AuditRecord.objects.get(action="repository.unlock").body
    assert AuditRecord.objects.filter(action="dataset.force_unlock", result="refused").count() == 3


def test_wrong_paths_are_refused(asker, engineer, dataset):
    client, paths = asker(engineer), ["", "../up", "/etc/passwd", "a\\b", None, 7]
    assert {path: lock(client, path).status_code for path in paths} == dict.fromkeys(paths, 422)


def test_the_other_project_sees_no_locks(asker, engineer, stranger, dataset):
    made = lock(asker(engineer)).json()["lock"]
    assert asker(stranger).get("/info/lfs/locks").status_code == 404
    assert asker(stranger).lfs(f"/locks/{made['id']}/unlock", {"force": True}).status_code == 404


def test_wrong_limits_and_cursors_are_ignored(asker, engineer, dataset):
    client, answers = asker(engineer), {}
    lock(client)
    for odd in ("9" * 5000, 10**30, -1, "x", 1.5, True, [], None):
        answer = client.lfs("/locks/verify", {"limit": odd, "cursor": odd if odd is not True else None})
        answers[repr(odd)[:40]] = (answer.status_code, len(answer.json()["ours"]))
    assert answers == dict.fromkeys(answers, (200, 1))
